from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.errors import TamisError
from engine.formats.commit import commit_published, open_tables, tables_url
from engine.formats.compact import list_tables, optimize_tables, table_history, vacuum_tables
from engine.tables import effects
from tests.formats.reading import parquet_files, read_table, versions
from tests.formats.samples import DAY, NEXT, config_of, publish_date

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def config(tmp_path: Path, kind: str) -> Config:
    config = config_of(tmp_path / "out", kind, keep_days=0, keep_versions=1)
    publish_date(tmp_path / "out", DAY, {"loyal": [1, 2, 3, 4], "lost / gone": [7]}, parts=2)
    commit_published(config)
    return config


def at_version(config: Config, back: int) -> pl.DataFrame:
    with open_tables(config) as tables:
        table = tables.open("segments")
        if config.publish.format == "delta":
            table.load_as_version(table.version() - back)
            arrow = table.to_pyarrow_table()
        else:
            snapshots = sorted(table.snapshots(), key=lambda one: one.sequence_number)
            arrow = table.scan(snapshot_id=snapshots[-1 - back].snapshot_id).to_arrow()
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    return frame.sort("as_of", "segment", "user_id")


def test_the_table_as_it_was(config: Config) -> None:
    before = read_table(config)
    publish_date(Path(config.out), DAY, {"loyal": [9]}, note="b")
    commit_published(config)
    assert read_table(config).height == 1
    assert at_version(config, 1).equals(before)


def test_history_names_the_runs(config: Config) -> None:
    publish_date(Path(config.out), NEXT, {"loyal": [9]}, note="b")
    commit_published(config)
    found = table_history(config, "segments", 2)
    assert [one.run_id for one in found[:1]] == ["score-2026-02-01-b"]
    assert found[0].as_of == "2026-02-01"
    assert found[0].at.tzinfo is UTC
    assert len(table_history(config, "segments", 1)) == 1


def test_what_tables_hold(config: Config) -> None:
    publish_date(Path(config.out), NEXT, {"loyal": [9]}, note="b", memberships=False)
    commit_published(config)
    states = {state.table: state for state in list_tables(config)}
    segments = states["segments"]
    assert (segments.dates, segments.last, segments.rows, segments.files) == (2, "2026-02-01", 6, 4)
    assert states["memberships"].dates == 1
    assert segments.bytes > 0


def test_small_files_are_put_together_and_no_row_changes(config: Config) -> None:
    before, count = read_table(config), versions(config)
    done = {one.table: (one.removed, one.added) for one in optimize_tables(config)}
    assert done == {"memberships": (0, 0), "segments": (2, 1)}
    assert read_table(config).equals(before)
    assert versions(config) == count + 1
    assert at_version(config, 1).equals(before)
    # The order within the partition is that of the published files.
    with open_tables(config) as tables:
        table = tables.open("segments")
        arrow = table.to_pyarrow_table() if config.publish.format == "delta" else table.scan().to_arrow()
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    assert frame.filter(pl.col("segment") == "loyal")["orders"].to_list() == [1, 2, 3, 4]
    # What a date holds is still known.
    assert commit_published(config, days=[DAY]).committed == ()
    assert optimize_tables(config, ["segments"])[0].removed == 0


def test_what_is_committed_is_on_stable_storage(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path / "out", kind, keep_days=0, keep_versions=1)
    publish_date(tmp_path / "out", DAY, {"loyal": [1, 2, 3, 4]}, parts=2)
    synced: set[Path] = set()
    sync = effects.sync_file
    monkeypatch.setattr(effects, "sync_file", lambda handle: (sync(handle), synced.add(Path(handle.name))))

    def unsynced(*_: object) -> list[Path]:
        files = {
            path for path in Path(tables_url(config)).rglob("*") if path.is_file() and "catalog.db" not in path.name
        }
        return sorted(files - synced)

    early: list[Path] = []
    if kind == "iceberg":
        from sqlalchemy import Engine, event

        # Once the catalogue has its commit, it points to what must be there.
        event.listen(Engine, "commit", lambda connection: early.extend(unsynced(connection)))
    for step in (commit_published, optimize_tables, lambda one: vacuum_tables(one, LATER, dry_run=False)):
        step(config)
        assert (early, unsynced()) == ([], [])
    if kind == "iceberg":
        with open_tables(config) as tables, tables.catalog.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3


def test_vacuum_removes_what_no_version_needs(config: Config) -> None:
    folder = Path(list_tables(config)[1].url.removeprefix("file://"))
    stray = folder / "as_of=2026-01-31" / "left-by-a-killed-attempt.parquet"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"PAR1")
    publish_date(Path(config.out), DAY, {"loyal": [9]}, note="b")
    commit_published(config)
    before, files = read_table(config), parquet_files(config)
    planned = vacuum_tables(config, LATER, dry_run=True)
    assert parquet_files(config) == files
    assert len([name for one in planned if one.table == "segments" for name in one.files if "part-" in name]) >= 3
    vacuum_tables(config, LATER, dry_run=False)
    assert len(parquet_files(config)) == 1
    assert read_table(config).equals(before)
    assert commit_published(config, days=[DAY]).committed == ()
    assert not stray.exists()


def test_vacuum_keeps_the_last_versions(config: Config) -> None:
    kept = config.model_copy(update={"publish": config.publish.model_copy(update={"keep_versions": 10})})
    before = read_table(config)
    publish_date(Path(config.out), DAY, {"loyal": [9]}, note="b")
    commit_published(config)
    vacuum_tables(kept, LATER, dry_run=False)
    assert len(parquet_files(config)) == 4
    assert at_version(config, 1).equals(before)


def test_a_table_that_is_not_there(config: Config) -> None:
    with pytest.raises(TamisError, match=r"no table 'segment' \(did you mean 'segments'") as caught:
        optimize_tables(config, ["segment"])
    assert caught.value.code == "format-table-unknown"
