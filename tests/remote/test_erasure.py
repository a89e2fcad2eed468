from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.config_privacy import Retention
from engine.formats import erasure_uploaded
from engine.formats.commit import commit_published
from engine.formats.erasure import erase_in_formats, find_in_formats, rows_in_formats
from engine.formats.people import Place
from engine.retention.kept import find_old, remove_old
from engine.tables.layout import manifest_path
from engine.tables.manifest import manifest_from_json
from engine.tables.workspace import workspace
from tests.formats.reading import read_table
from tests.formats.samples import DAY, NAMES, NEXT, config_of, publish_date
from tests.formats.test_erasure import naming
from tests.remote.conftest import Bucket

SEGMENTS = {name: range(1000 + 10 * place, 1004 + 10 * place) for place, name in enumerate(NAMES[:2])}
GONE = ["canary-1002", "canary-1013"]


def config_in(bucket: Bucket, tmp_path: Path, kind: str, *tables: str) -> Config:
    catalog = {"catalog": f"sqlite:///{tmp_path}/catalog.db"} if kind == "iceberg" else {}
    return config_of(
        tmp_path / "out", kind, url=f"{bucket.url}/tables", tables=tables or ("memberships", "segments"), **catalog
    )


def _dies(*_: object) -> int:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_gd05_erased_people_are_in_no_object_of_a_format(
    bucket: Bucket, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[kind])
    # One table: each costs as many requests, and a second one takes no other way.
    config, out = config_in(bucket, tmp_path, kind, "segments"), tmp_path / "out"
    for day, note in ((DAY, "a"), (NEXT, "a"), (NEXT, "b")):
        publish_date(out, day, SEGMENTS, note=note, memberships=False)
        commit_published(config)
    place = Place.at(config.publish.url or "")
    before = read_table(config)
    assert len(naming(place, GONE)) >= 3
    assert erase_in_formats(config, pl.Series(GONE)).rows == 4
    assert naming(place, GONE) == set()
    assert read_table(config).equals(before.filter(~pl.col("user_id").is_in(GONE)))
    assert erase_in_formats(config, pl.Series(GONE)).tables == ()
    publish_date(out, DAY, {"loyal": [1001]}, note="later", memberships=False)
    assert len(commit_published(config).committed) == 1
    assert read_table(config).filter(pl.col("as_of") == DAY)["user_id"].to_list() == ["canary-1001"]


@pytest.mark.slow
def test_gd05_erased_people_are_in_no_uploaded_file(bucket: Bucket, tmp_path: Path) -> None:
    config, out = config_in(bucket, tmp_path, "parquet"), tmp_path / "out"
    for day, note in ((DAY, "a"), (NEXT, "a"), (NEXT, "b")):
        publish_date(out, day, {**SEGMENTS, "alone": [1013]}, note=note)
        commit_published(config)
    # One date is no longer published locally, but still in the store.
    with workspace(out, "gc"):
        manifest_path(out, DAY).unlink()
    place = Place.at(config.publish.url or "")
    assert len(naming(place, GONE)) >= 6
    held = list(rows_in_formats(config, pl.Series(GONE)))
    assert sum(one.rows.height for one in held if one.is_current) == 12
    assert {one.table for one in find_in_formats(config, pl.Series(GONE)).tables} == {"segments", "memberships"}
    done = erase_in_formats(config, pl.Series(GONE))
    assert {(one.table, one.rows) for one in done.tables} == {("segments", 6), ("memberships", 6)}
    assert naming(place, GONE) == set()
    for day in (DAY, NEXT):
        name = manifest_path(Path(), day).as_posix()
        manifest = manifest_from_json(place.read(name), name)
        for table in manifest.tables:
            assert table.rows == 6 == sum(record.rows for record in table.records)
            for record in table.records:
                frame = pl.read_parquet(place.read(record.path))
                assert (frame.height, place.size(record.path)) == (record.rows, record.bytes)
    assert erase_in_formats(config, pl.Series(GONE)).tables == ()


@pytest.mark.slow
def test_gd10_tables_that_are_too_old_go_from_the_bucket_too(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = config_in(bucket, tmp_path, "parquet"), tmp_path / "out"
    days = (DAY, NEXT, NEXT + timedelta(days=1))
    for day in days:
        publish_date(out, day, {"loyal": [1001]})
        commit_published(config)
    retention = Retention(tables={"memberships": 1})
    with workspace(out, "retention"), monkeypatch.context() as patch:
        patch.setattr(erasure_uploaded, "remove_tables", _dies)
        with pytest.raises(KeyboardInterrupt):
            remove_old(config, find_old(out, retention, NEXT))
    # What was killed goes on, though no manifest names the table any more.
    with workspace(out, "retention"):
        remove_old(config, find_old(out, retention, NEXT))
    there = Place.at(config.publish.url or "").files()
    assert {name.split("/")[1] for name in there if name.startswith("memberships/")} == {
        f"as_of={day}" for day in days[1:]
    }
    assert {name.split("/")[1] for name in there if name.startswith("segments/")} == {f"as_of={day}" for day in days}
