from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from engine.events.record import IngestRecord, TypeCount
from engine.stages.accounting import ingest_counts, stage_table
from engine.tables.verify import verify_table

AS_OF = date(2026, 3, 1)


def test_types_that_are_too_many_to_name() -> None:
    types = [TypeCount(name, f"/page/{number:03d}", number, 0, 0) for name in ("web", "app") for number in range(1, 61)]
    counts = ingest_counts(IngestRecord(types=tuple(types), unlisted=7))
    assert counts["event_types"] == {f"/page/{number:03d}": 2 * number for number in range(11, 61)}
    assert list(counts["event_types"]) == sorted(counts["event_types"])
    assert counts["other_event_types"] == 2 * sum(range(1, 11)) + 7


def test_equally_frequent_types_are_chosen_by_name() -> None:
    counts = ingest_counts(
        IngestRecord(types=tuple(TypeCount("log", f"{number:02d}", 1, 0, 0) for number in range(51)))
    )
    assert counts["event_types"] == {f"{number:02d}": 1 for number in range(50)}
    assert counts["other_event_types"] == 1


def test_missing_types_are_told() -> None:
    assert ingest_counts(IngestRecord(missing_types=("open", "view")))["missing_types"] == ["open", "view"]
    assert set(ingest_counts(IngestRecord())) == {"sources", "rejected", "event_types"}


def test_a_small_table_is_one_file_below_its_folder(tmp_path: Path) -> None:
    frame = pl.DataFrame({"column": ["a", "b"], "bins": [3, 4]}, schema_overrides={"bins": pl.Int8})
    table = stage_table(frame, "drift", AS_OF, tmp_path, "m")
    assert table is not None
    [file] = table.records
    assert file.path.startswith("drift/as_of=2026-03-01/part-00000-m-")
    assert file.rows == table.rows == 2
    verify_table(tmp_path, table)
    found = pl.read_parquet(tmp_path / file.path, hive_partitioning=False)
    assert_frame_equal(found, frame.cast({"bins": pl.Int32}))


def test_a_small_table_without_rows_is_no_file(tmp_path: Path) -> None:
    assert stage_table(None, "drift", AS_OF, tmp_path, "m") is None
    assert stage_table(pl.DataFrame(schema={"column": pl.String}), "drift", AS_OF, tmp_path, "m") is None
    assert list(tmp_path.iterdir()) == []
