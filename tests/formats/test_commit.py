from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError, TamisError
from engine.formats.commit import check_format, commit_published, commit_run, open_tables, publish_again
from engine.formats.failures import store_errors
from engine.formats.receipts import receipts_path
from tests.formats.reading import parquet_files, read_table, versions
from tests.formats.samples import DAY, NAMES, NEXT, config_of, publish_date, published

ROOT = Path(__file__).parents[2]
SEGMENTS = {name: range(10 * place, 10 * place + 4) for place, name in enumerate(NAMES)}


class Killed(BaseException):
    pass


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "à 2 #1?" / "out"


@pytest.fixture
def config(out: Path, kind: str) -> Config:
    return config_of(out, kind)


def same(config: Config, *days: date) -> bool:
    wanted = pl.concat([published(Path(config.out), day) for day in days]).sort("as_of", "segment", "user_id")
    found = read_table(config)
    return found.select(wanted.columns).equals(wanted)


def test_what_is_published_is_in_the_tables(out: Path, config: Config) -> None:
    for day in (DAY, NEXT):
        publish_date(out, day, SEGMENTS)
    outcome = commit_published(config)
    assert [(one.table, one.as_of, one.rows, one.files) for one in outcome.committed] == [
        (table, day, 16, files) for day in (DAY, NEXT) for table, files in (("memberships", 1), ("segments", 4))
    ]
    assert same(config, DAY, NEXT)
    assert read_table(config, "memberships")["as_of"].unique().sort().to_list() == [DAY, NEXT]
    # Nothing is beside the output root, whatever its name.
    assert [*out.parent.iterdir(), *out.parents[1].iterdir()] == [out, out.parent]


def test_committing_again_does_nothing(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    before, files = versions(config), parquet_files(config)
    assert commit_published(config).committed == ()
    # Without the note, the tables themselves are asked.
    receipts_path(out).unlink()
    assert commit_published(config).committed == ()
    receipts_path(out).write_text('{"version": 1, "url": 7')
    assert publish_again(config, DAY).committed == ()
    assert (versions(config), parquet_files(config)) == (before, files)


def test_tables_that_were_removed_are_made_anew(out: Path, config: Config, kind: str) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    if kind == "delta":
        (out / "_delta").rename(out.parent / "moved")
    else:
        (out / "_iceberg").rename(out.parent / "moved")
    assert len(commit_published(config).committed) == 2
    assert same(config, DAY)


def test_a_run_replaces_its_date_alone(out: Path, config: Config) -> None:
    for day in (DAY, NEXT):
        publish_date(out, day, SEGMENTS)
    commit_published(config)
    before = versions(config)
    publish_date(out, DAY, {"loyal": [1, 2], "new": [3]}, note="b")
    found = commit_run(config, DAY)["formats"]
    assert found["commits"] == {"memberships": ["2026-01-31"], "segments": ["2026-01-31"]}
    assert same(config, DAY, NEXT)
    assert versions(config) == before + 1


def test_dates_that_earlier_runs_left_are_caught_up(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    publish_date(out, NEXT, SEGMENTS)
    commits = commit_run(config, NEXT)["formats"]["commits"]
    assert sorted(commits["segments"]) == ["2026-01-31", "2026-02-01"]
    assert same(config, DAY, NEXT)


def test_a_date_that_somebody_took_back_is_committed_when_it_is_asked_for(out: Path, config: Config, kind: str) -> None:
    for day in (DAY, NEXT):
        publish_date(out, day, SEGMENTS)
    commit_published(config)
    with open_tables(config) as tables:
        table = tables.open("segments")
        if kind == "delta":
            table.restore(1)
        else:
            table.manage_snapshots().set_current_snapshot(table.history()[0].snapshot_id).commit()
    assert same(config, DAY)
    # A run leaves it as it was made.
    assert commit_published(config).committed == ()
    assert [(one.table, one.rows) for one in publish_again(config, NEXT).committed] == [("segments", 16)]
    assert same(config, DAY, NEXT)
    assert publish_again(config, NEXT).committed == ()


def test_a_corrected_table_is_committed_and_the_others_are_not(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    # The same run with other memberships, as after a correction of the ledger.
    publish_date(out, DAY, SEGMENTS, memberships=False)
    assert [(one.table, one.rows) for one in commit_published(config).committed] == [("memberships", 0)]
    assert read_table(config, "memberships").is_empty()
    assert commit_published(config).committed == ()


def test_a_table_without_rows_from_the_beginning_is_not_made(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS, memberships=False)
    assert [one.table for one in commit_published(config).committed] == ["segments"]
    assert commit_published(config).committed == ()


def test_a_new_column_is_null_in_earlier_dates(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    publish_date(out, NEXT, SEGMENTS, more={"city": pl.lit("Lyon")})
    commit_published(config)
    cities = read_table(config).group_by("as_of").agg(pl.col("city").unique()).sort("as_of")["city"].to_list()
    assert cities == [[None], ["Lyon"]]
    # And back: a date without the column.
    publish_date(out, NEXT, SEGMENTS, note="b")
    commit_published(config)
    assert read_table(config)["city"].null_count() == 32


def test_a_column_of_another_type_is_refused(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config)
    before = versions(config)
    publish_date(out, NEXT, SEGMENTS, more={"orders": pl.col("orders").cast(pl.String)})
    with pytest.raises(TamisError, match=r"orders: .* in the table, .* on 2026-02-01") as caught:
        commit_run(config, NEXT)
    assert caught.value.code == "schema-changed"
    assert versions(config) == before
    assert same(config, DAY)
    # A date in the past holds nothing up.
    assert len(commit_published(config).refused) == 1


def test_a_column_that_the_format_does_not_have_is_named(out: Path, config: Config, kind: str) -> None:
    odd = (
        {"at": pl.lit(time(7, 30)), "As_of": pl.lit(1)} if kind == "delta" else {"at": pl.struct(pl.lit(1).alias("a"))}
    )
    publish_date(out, DAY, SEGMENTS, more=odd)
    with pytest.raises(ConfigError, match="segments has columns that") as caught:
        commit_published(config)
    assert caught.value.code == "format-type"
    assert "\n  at: " in caught.value.message
    assert ("'As_of' and 'as_of'" in caught.value.message) == (kind == "delta")
    # Iceberg has times of day, of microseconds.
    if kind == "iceberg":
        publish_date(out, DAY, SEGMENTS, more={"at": pl.lit(time(7, 30))})
        commit_published(config)
        assert read_table(config)["at"].to_list() == [time(7, 30)] * 16


def test_a_new_table_version_begins_new_tables(out: Path, kind: str) -> None:
    publish_date(out, DAY, SEGMENTS)
    commit_published(config_of(out, kind))
    second = config_of(out, kind, table_version=2)
    publish_date(out, NEXT, SEGMENTS, more={"orders": pl.col("orders").cast(pl.String)}, counts={"table_version": 2})
    assert [one.table for one in commit_published(second).committed] == ["memberships_v2", "segments_v2"]
    assert read_table(second, "segments_v2")["orders"].dtype == pl.String
    assert same(second, DAY)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("database or disk is full", "disk-full"),
        ("Kernel error: No space left on device (os error 28)", "disk-full"),
        ('FATAL:  password authentication failed for user "x"', "format-denied"),
        ("Connection refused", "format-unreachable"),
    ],
)
def test_what_libraries_say_is_told_as_what_it_is(said: str, code: str) -> None:
    with (
        pytest.raises(TamisError, match="cannot read or write the tables in out/_delta") as caught,
        store_errors("out/_delta"),
    ):
        raise OSError(said)
    assert caught.value.code == code


def test_a_damaged_file_is_not_committed(out: Path, config: Config) -> None:
    publish_date(out, DAY, SEGMENTS)
    file = next((out / "segments").rglob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(TamisError, match="changed or removed after it was published") as caught:
        commit_published(config)
    assert caught.value.code == "format-source-damaged"
    assert read_table(config).is_empty()


def steps(monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> list[str]:
    """Count what a commit does to the world; die before or after one of it."""
    import engine.formats.commit
    import engine.formats.delta
    import engine.formats.iceberg

    done: list[str] = []

    def watch(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            number = len(done)
            done.append(name)
            if number == at and not after:
                raise Killed
            result = real(*arguments, **named)
            if number == at:
                raise Killed
            return result

        monkeypatch.setattr(owner, name, watched)

    watch(engine.formats.delta.DeltaTables, "_create")
    watch(engine.formats.delta.DeltaTables, "put")
    watch(engine.formats.delta, "_write")
    watch(engine.formats.delta.DeltaTables, "sync_log")
    watch(engine.formats.iceberg.IcebergTables, "_create")
    watch(engine.formats.iceberg.IcebergTables, "_widen")
    watch(engine.formats.iceberg, "write_batches")
    watch(engine.formats.iceberg, "replace_files")
    watch(engine.formats.commit, "write_receipts")
    return done


@pytest.mark.slow
def test_a_death_at_any_step_is_mended_by_the_next_commit(tmp_path: Path, kind: str) -> None:
    def prepared(name: str) -> Config:
        out = tmp_path / name
        publish_date(out, DAY, {"loyal": [1, 2], "lost / gone": [3]})
        return config_of(out, kind)

    with pytest.MonkeyPatch.context() as patch:
        done = steps(patch, -1, after=False)
        commit_published(prepared("undisturbed"))
        total = len(done)
    assert total >= 8
    for after in (False, True):
        for at in range(total):
            config = prepared(f"{at}-{after}")
            with pytest.MonkeyPatch.context() as patch:
                steps(patch, at, after=after)
                with pytest.raises(Killed):
                    commit_published(config)
            commit_published(config)
            assert same(config, DAY), (at, after)
            assert versions(config) == 1, (at, after)
            assert commit_published(config).committed == ()


WRITER = """
import sys
from datetime import date, time
from pathlib import Path
from engine.formats.commit import commit_published
from tests.formats.samples import config_of

out, url, kind, gate = sys.argv[1:]
while not Path(gate).exists():
    pass
catalog = {"catalog": f"sqlite:///{url}/catalog.db"} if kind == "iceberg" else {}
config = config_of(Path(out), kind, url=url, **catalog)
print(len(commit_published(config).committed))
"""


@pytest.mark.slow
@pytest.mark.parametrize("second", [NEXT, DAY], ids=["two dates", "one date"])
def test_two_writers_at_once(tmp_path: Path, kind: str, second: date) -> None:
    url, gate = tmp_path / "tables", tmp_path / "go"
    url.mkdir()
    outs = [tmp_path / "one", tmp_path / "two"]
    for out, day in zip(outs, (DAY, second), strict=True):
        publish_date(out, day, SEGMENTS)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(out), str(url), kind, str(gate)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for out in outs
    ]
    gate.touch()
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    catalog = {"catalog": f"sqlite:///{url}/catalog.db"} if kind == "iceberg" else {}
    days = {DAY, second}
    config = config_of(outs[0], kind, url=str(url), **catalog)
    wanted = pl.concat([published(out, day) for out, day in zip(outs, sorted(days), strict=False)])
    found = read_table(config).select(wanted.columns)
    assert found.equals(wanted.sort("as_of", "segment", "user_id"))
    assert versions(config) == len(days)


def test_no_value_of_a_user_is_in_the_metadata(out: Path, config: Config, kind: str) -> None:
    from engine.formats.compact import optimize_tables

    for note in "ab":
        publish_date(out, DAY, SEGMENTS, note=note)
        commit_published(config)
    optimize_tables(config)
    if kind == "delta":
        with open_tables(config) as tables:
            tables.open("segments").create_checkpoint()
    logged = [path for path in (out / f"_{kind}").rglob("*") if path.is_file() and _is_metadata(path)]
    assert len(logged) > 3
    for path in logged:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = json.dumps(pl.read_parquet(path).to_dicts(), default=str).encode()
        if path.suffix == ".avro":
            content = _avro(path)
        assert b"canary" not in content, path


def _is_metadata(path: Path) -> bool:
    return bool({"_delta_log", "metadata"} & set(path.parts)) or path.suffix == ".db"


def _avro(path: Path) -> bytes:
    from pyiceberg.avro.file import AvroFile
    from pyiceberg.io.pyarrow import PyArrowFileIO

    with AvroFile(PyArrowFileIO().new_input(str(path))) as reader:
        return " ".join(str(vars(record) if hasattr(record, "__dict__") else record) for record in reader).encode()


def test_parquet_has_nothing_to_commit_to(out: Path) -> None:
    config = config_of(out, "parquet")
    publish_date(out, DAY, SEGMENTS)
    check_format(config)
    assert commit_run(config, DAY) == {}
    with pytest.raises(TamisError, match="nothing to commit to") as caught:
        commit_published(config)
    assert caught.value.code == "format-none"


def test_a_date_that_is_not_published(out: Path, config: Config) -> None:
    with pytest.raises(TamisError, match="no folder") as caught:
        publish_again(config)
    assert caught.value.code == "format-not-published"
    publish_date(out, DAY, SEGMENTS)
    with pytest.raises(TamisError, match="nothing is published for 2026-02-01") as caught:
        publish_again(config, NEXT)
    assert "2026-01-31" in caught.value.hint


@pytest.mark.parametrize("place", ["", "segments", "segments/delta", "tables", "_work", "_runs/x", ".."])
def test_tables_among_the_published_ones(tmp_path: Path, kind: str, place: str) -> None:
    out = tmp_path / "segments" if place == ".." else tmp_path / "out"
    with pytest.raises(ConfigError, match="overlap") as caught:
        check_format(config_of(out, kind, url=str(out / place)))
    assert caught.value.code == "out-overlap"
    for fine in (None, str(out / "_lake"), str(tmp_path / "beside")):
        check_format(config_of(out, kind, url=fine))


def test_a_package_that_is_missing(out: Path, config: Config, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.formats.failures.find_spec", lambda package: None)
    with pytest.raises(TamisError, match="not installed") as caught:
        check_format(config)
    assert caught.value.code == "format-not-installed"
    assert caught.value.hint == f"pip install 'tamis[{kind}]'"
    assert not out.exists()


@pytest.mark.parametrize(
    ("catalog", "code", "said"),
    [
        ("u:swordfish@", "format-catalog", "not a database that can be opened"),
        ("nosuch://u:sword@fish@host/x", "format-catalog", "can be opened: host/x"),
        ("sqlite:////no folder/catalog.db", "format-catalog", "can be opened: sqlite:////no folder/catalog.db"),
        ("postgresql+nodriver://u:swordfish@host/x", "format-catalog", "can be opened: host/x"),
        ("oracle+cx_oracle://u:swordfish@host/x", "format-not-installed", "needs the package cx_Oracle"),
    ],
)
def test_a_catalogue_that_cannot_be(out: Path, catalog: str, code: str, said: str) -> None:
    pytest.importorskip("pyiceberg")
    with pytest.raises(ConfigError, match=said) as caught:
        check_format(config_of(out, "iceberg", catalog=catalog))
    assert caught.value.code == code
    assert "sword" not in caught.value.message
    assert not out.exists()
