from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import TamisError
from engine.formats import erasure_delta, erasure_iceberg
from engine.formats.commit import commit_published, open_tables
from engine.formats.compact import optimize_tables
from engine.formats.erasure import erase_in_formats, find_in_formats, rows_in_formats
from engine.formats.people import People, Place
from tests.formats.reading import read_table
from tests.formats.samples import DAY, NAMES, NEXT, config_of, publish_date

SEGMENTS = {name: range(1000 + 10 * place, 1004 + 10 * place) for place, name in enumerate(NAMES)}
GONE = "canary-1002"
PEOPLE = pl.Series([GONE, "canary-1013", "never-there"])
ERASED = {"canary-1002", "canary-1013"}


class Killed(BaseException):
    pass


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def config(out: Path, kind: str) -> Config:
    return config_of(out, kind)


def texts(value: Any) -> Iterator[str]:
    """Every text in nested values."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif value is not None:
        yield str(value)


def contents(name: str, content: bytes) -> Iterator[bytes]:
    """The bytes of a file, and all that is compressed in it."""
    yield content
    if name.endswith(".parquet"):
        from pyarrow.parquet import ParquetFile

        with ParquetFile(io.BytesIO(content)) as source:
            yield "\0".join(texts(source.read().to_pylist())).encode()
            yield str(source.metadata.to_dict()).encode()
    if name.endswith(".avro"):
        # Blocks of Avro: whatever begins a stream of deflate is tried.
        for start in range(len(content)):
            with_it = zlib.decompressobj(-15)
            try:
                found = with_it.decompress(content[start:])
            except zlib.error:
                continue
            if with_it.eof and len(found) > 50:
                yield found


def naming(place: Place, people: Sequence[str]) -> set[str]:
    """Files below a place in which somebody is found, by whatever way."""
    words = [one.encode() for one in people]
    return {
        name
        for name in place.files()
        if any(word in content for content in contents(name, place.read(name)) for word in words)
    }


def where(config: Config, table: str = "segments") -> Place:
    with open_tables(config) as tables:
        return Place.at(tables.uri(table))


def commit_three_states(out: Path, config: Config) -> None:
    """Two dates, of which one was published twice, and a file of an attempt that came to no commit."""
    for day in (DAY, NEXT):
        publish_date(out, day, SEGMENTS, parts=2)
        commit_published(config)
    publish_date(out, NEXT, {**SEGMENTS, "new": [1002, 1003]}, note="b")
    commit_published(config)
    place = where(config)
    left = next(name for name in place.files() if name.endswith(".parquet") and place.read(name).count(b"canary-1002"))
    (Path(place.root) / left).with_name("part-left.parquet").write_bytes(place.read(left))
    (Path(place.root) / left).with_name("part-cut.parquet").write_bytes(place.read(left)[:400])


def without(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~pl.col("user_id").is_in(ERASED))


def test_gd05_nothing_of_erased_people_is_left_in_any_version_log_or_file(out: Path, config: Config) -> None:
    commit_three_states(out, config)
    before = {name: read_table(config, name) for name in ("segments", "memberships")}
    # The control: they are found where they are.
    for name in before:
        assert len(naming(where(config, name), [GONE])) >= 2
    found = find_in_formats(config, PEOPLE)
    done = erase_in_formats(config, PEOPLE)
    assert {(one.table, one.rows) for one in done.tables} == {("segments", 5), ("memberships", 5)}
    assert {(one.table, one.rows) for one in found.tables} == {("segments", 5), ("memberships", 5)}
    for name, rows in before.items():
        assert naming(where(config, name), sorted(ERASED)) == set()
        assert read_table(config, name).equals(without(rows))
        assert rows.height - 5 == without(rows).height
    assert find_in_formats(config, PEOPLE).tables == ()


@pytest.mark.slow
def test_gd05_erasing_again_changes_no_byte(out: Path, config: Config) -> None:
    commit_three_states(out, config)
    erase_in_formats(config, PEOPLE)
    place = where(config)
    before = {name: place.read(name) for name in place.files()}
    assert erase_in_formats(config, PEOPLE).tables == ()
    assert erase_in_formats(config, pl.Series(["nobody-at-all"])).tables == ()
    assert erase_in_formats(config, pl.Series([], dtype=pl.String)).tables == ()
    assert {name: place.read(name) for name in place.files()} == before


def test_a_person_of_no_version_leaves_the_versions_alone(out: Path, config: Config) -> None:
    publish_date(out, NEXT, {"loyal": [2001, 2002]}, note="c")
    commit_published(config)
    publish_date(out, NEXT, {"loyal": [2001]}, note="d")
    commit_published(config)
    files = where(config).files()
    assert erase_in_formats(config, pl.Series(["never-there"])).tables == ()
    assert where(config).files() == files
    # Somebody whom only an older version holds goes, and that version with them.
    done = erase_in_formats(config, pl.Series(["canary-2002"]))
    assert {(one.table, one.rows, one.rewritten) for one in done.tables} == {("segments", 0, 0), ("memberships", 0, 0)}
    assert naming(where(config), ["canary-2002"]) == set()


@pytest.mark.slow
def test_runs_go_on_afterwards(out: Path, config: Config) -> None:
    commit_three_states(out, config)
    erase_in_formats(config, PEOPLE)
    assert commit_published(config).committed == ()
    after = {name: [one for one in ids if one not in (1002, 1013)] for name, ids in SEGMENTS.items()}
    publish_date(out, DAY, after, note="later")
    assert len(commit_published(config).committed) == 2
    optimize_tables(config)
    found = read_table(config).filter(pl.col("as_of") == DAY)
    assert sorted(found["user_id"]) == sorted(f"canary-{one}" for ids in after.values() for one in ids)
    assert naming(where(config), sorted(ERASED)) == set()
    assert erase_in_formats(config, PEOPLE).tables == ()


@pytest.mark.slow
def test_a_date_that_is_erased_locally_is_committed_first(out: Path, config: Config) -> None:
    commit_three_states(out, config)
    after = {name: [one for one in ids if one not in (1002, 1013)] for name, ids in SEGMENTS.items()}
    publish_date(out, NEXT, {**after, "new": [1003]}, note="b")
    erase_in_formats(config, PEOPLE)
    assert commit_published(config).committed == ()
    assert naming(where(config), sorted(ERASED)) == set()
    assert read_table(config).filter(pl.col("as_of") == NEXT).height == 15


def test_a_file_in_which_nobody_is_left_goes(out: Path, config: Config) -> None:
    publish_date(out, DAY, {"loyal": [1002], "lost": [1003]})
    commit_published(config)
    erase_in_formats(config, PEOPLE)
    assert read_table(config)["user_id"].to_list() == ["canary-1003"]
    erase_in_formats(config, pl.Series(["canary-1003"]))
    assert read_table(config).height == 0
    publish_date(out, NEXT, {"loyal": [1004]})
    publish_date(out, DAY, {"loyal": [1005]}, note="b")
    commit_published(config)
    assert sorted(read_table(config)["user_id"]) == ["canary-1004", "canary-1005"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 1, 2, 3, 5])
def test_gd05_an_erasure_that_is_killed_goes_on(
    out: Path, config: Config, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_three_states(out, config)
    before = read_table(config)
    calls = 0

    def dies(call: Any) -> Any:
        def instead(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise Killed
            return call(*arguments, **named)

        return instead

    with monkeypatch.context() as patch:
        if config.publish.format == "delta":
            patch.setattr(Place, "remove", dies(Place.remove))
            for name in ("_commit", "_without", "_forget"):
                patch.setattr(erasure_delta, name, dies(getattr(erasure_delta, name)))
        else:
            for name in ("replace_files", "_without", "_forget", "remove_unneeded"):
                patch.setattr(erasure_iceberg, name, dies(getattr(erasure_iceberg, name)))
        with pytest.raises(Killed):
            erase_in_formats(config, PEOPLE)
    rows = read_table(config)
    assert rows.equals(before) or rows.equals(without(before))
    erase_in_formats(config, PEOPLE)
    assert naming(where(config), sorted(ERASED)) == set()
    assert read_table(config).equals(without(before))


def test_everything_held_of_a_person_is_found_in_all_versions(out: Path, config: Config) -> None:
    commit_three_states(out, config)
    held = list(rows_in_formats(config, pl.Series([GONE])))
    assert {one.table for one in held} == {"segments", "memberships"}
    assert all(set(one.rows["user_id"]) == {GONE} for one in held)
    current = [one for one in held if one.is_current and one.table == "segments"]
    older = [one for one in held if not one.is_current and one.table == "segments"]
    assert (sum(one.rows.height for one in current), len(older)) == (3, 2)
    assert {"orders", "score", "tags"} <= set(current[0].rows.columns)


@pytest.mark.slow
def test_readers_read_the_table_afterwards(
    out: Path, config: Config, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    duckdb = pytest.importorskip("duckdb")
    commit_three_states(out, config)
    before = read_table(config)
    erase_in_formats(config, PEOPLE)
    wanted = without(before)
    with open_tables(config) as tables:
        table: Any = tables.open("segments")  # type: ignore[attr-defined]
        if kind == "delta":
            scanned = pl.scan_delta(tables.uri("segments")).collect()  # type: ignore[attr-defined]
            arrow = table.to_pyarrow_dataset()
        else:
            scanned = pl.scan_iceberg(table).collect()
            arrow = table.scan().to_arrow()  # noqa: F841 - DuckDB finds it by its name
        assert duckdb.sql("SELECT count(*), count(DISTINCT user_id), sum(orders) FROM arrow").fetchall()[0] == (
            wanted.height,
            wanted["user_id"].n_unique(),
            wanted["orders"].sum(),
        )
    assert scanned.select(wanted.columns).sort("as_of", "segment", "user_id").equals(wanted)


def test_ids_that_are_numbers(tmp_path: Path, kind: str) -> None:
    config, out = config_of(tmp_path / "out", kind), tmp_path / "out"
    number = pl.col("orders").cast(pl.Int64)
    publish_date(out, DAY, SEGMENTS, more={"user_id": number}, memberships=False)
    commit_published(config)
    done = erase_in_formats(config, pl.Series([1002, 1013]))
    assert [(one.table, one.rows) for one in done.tables] == [("segments", 2)]
    assert not set(read_table(config)["user_id"]) & {1002, 1013}
    assert read_table(config).height == 14


@pytest.mark.slow
def test_tables_that_the_configuration_does_not_name_any_more(out: Path, config: Config, kind: str) -> None:
    commit_three_states(out, config)
    fewer = config_of(out, kind, tables=("segments",))
    erase_in_formats(fewer, PEOPLE)
    assert naming(where(config, "memberships"), sorted(ERASED)) == set()
    # And none at all: what is under the output root is still found.
    publish_date(out, DAY, {"loyal": [1777]}, note="z")
    commit_published(config)
    plain = config.model_copy(update={"publish": config.publish.model_copy(update={"format": "parquet"})})
    assert erase_in_formats(plain, pl.Series(["canary-1777"])).tables
    assert naming(where(config), ["canary-1777"]) == set()


def test_ids_are_not_told(out: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_three_states(out, config)
    assert GONE not in repr(People.of(PEOPLE))
    module = erasure_delta if config.publish.format == "delta" else erasure_iceberg
    monkeypatch.setattr(module, "_forget", lambda *_: 0)
    with pytest.raises(TamisError) as caught:
        erase_in_formats(config, PEOPLE)
    assert caught.value.code == "erasure-incomplete"
    assert "canary" not in caught.value.message + caught.value.hint


def test_no_statistics_of_users_in_logs_and_manifests(out: Path, config: Config, kind: str) -> None:
    commit_three_states(out, config)
    optimize_tables(config)
    place = where(config)
    for name in place.files():
        if name.endswith(".json"):
            assert b"canary" not in place.read(name)
    with open_tables(config) as tables:
        table: Any = tables.open("segments")  # type: ignore[attr-defined]
        if kind == "delta":
            assert table.metadata().configuration["delta.dataSkippingNumIndexedCols"] == "0"
        else:
            assert table.properties["write.metadata.metrics.column.user_id"] == "none"
            for task in table.scan().plan_files():
                assert not task.file.lower_bounds
                assert not task.file.upper_bounds


def test_a_table_with_statistics_is_told_to_keep_none(out: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    config = config_of(out, "delta")
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    with open_tables(config) as tables:
        uri = tables.uri("segments")  # type: ignore[attr-defined]
    deltalake.DeltaTable(uri).alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "32"})
    deltalake.DeltaTable(uri).optimize.compact()
    deltalake.DeltaTable(uri).delete("user_id = 'canary-1031'")
    log = b"".join(path.read_bytes() for path in Path(uri, "_delta_log").glob("*.json"))
    assert b"canary-1031" in log
    erase_in_formats(config, pl.Series([GONE, "canary-1031"]))
    assert naming(where(config), [GONE, "canary-1031"]) == set()
    assert deltalake.DeltaTable(uri).metadata().configuration["delta.dataSkippingNumIndexedCols"] == "0"
    assert json.loads(next(Path(uri, "_delta_log").glob("_last_checkpoint")).read_text())["version"] >= 4
