from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.erasure.named import Known
from engine.erasure.people import People
from engine.formats.commit import commit_published
from engine.formats.erasure import erase_in_formats, find_in_formats, rows_in_formats
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import Manifest, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace
from tests.formats.reading import read_table
from tests.formats.samples import DAY, NEXT, config_of
from tests.formats.test_erasure import naming, where

GONE = "canary-1002"
ADDRESS = "family@example.org"
NAMES = (GONE, ADDRESS)
TABLES = ("segment_composition", "features")
COMPOSITION = pl.DataFrame({"column": ["referrer", "household", "region"], "bin": [GONE, ADDRESS, "nord"], "users": 5})
FEATURES = pl.DataFrame(
    {
        "user_id": ["canary-1001", GONE, "canary-1003"],
        "referrer": [GONE, None, "canary-1013"],
        "household": [ADDRESS, ADDRESS, "other@example.org"],
        "orders": [1, 2, 3],
    }
)


@pytest.fixture
def config(tmp_path: Path, kind: str) -> Config:
    return config_of(tmp_path / "out", kind, tables=TABLES)


def publish_tables(out: Path, as_of: date, note: str) -> None:
    with workspace(out, f"score-{as_of}-{note}") as work:
        tables = []
        for name, frame in zip(TABLES, (COMPOSITION, FEATURES), strict=True):
            rows = frame.with_columns(run=pl.lit(note))
            file = durable_parquet(rows, table_folder(work, name, as_of), f"part-00000-{note}", root=work)
            tables.append(table_record(name, as_of, dtypes_of(rows.schema), [file]))
        publish(work, out, Manifest(f"score-{as_of}-{note}", as_of, None, {"config": "ab"}, {}, tuple(tables)))


def test_gd05_values_of_attributes_that_name_somebody_go_from_every_version(config: Config) -> None:
    out = Path(config.out)
    for day, note in ((DAY, "a"), (NEXT, "a"), (NEXT, "b")):
        publish_tables(out, day, note)
        commit_published(config)
    assert len(naming(where(config, "segment_composition"), NAMES)) >= 3
    people, known = pl.Series([GONE]), Known(People((GONE,), addresses=(ADDRESS,)))
    # What is handed out of a table of people are their own rows; those of others are nobody else's to see.
    held = [one for one in rows_in_formats(config, people, known) if one.table == "features"]
    assert {user for one in held for user in one.rows["user_id"]} == {GONE}
    done = erase_in_formats(config, people, known)
    assert {(one.table, one.rows) for one in done.tables} == {("segment_composition", 4), ("features", 4)}
    for name in TABLES:
        assert naming(where(config, name), NAMES) == set()
    assert set(read_table(config, "segment_composition")["bin"]) == {"nord"}
    rows = read_table(config, "features").filter(as_of=NEXT).sort("user_id")
    assert rows["user_id"].to_list() == ["canary-1001", "canary-1003"]
    assert rows["referrer"].to_list() == [None, "canary-1013"]
    assert rows["household"].to_list() == [None, "other@example.org"]
    assert rows["orders"].to_list() == [1, 3]
    assert find_in_formats(config, people, known).tables == ()
    assert erase_in_formats(config, people, known).tables == ()


def test_ids_of_a_few_letters_are_not_taken_for_parts_of_other_words(config: Config) -> None:
    publish_tables(Path(config.out), DAY, "a")
    commit_published(config)
    somebody = pl.Series(["part", "user_id"])
    assert find_in_formats(config, somebody, Known(People(("part", "er_id")))).tables == ()
