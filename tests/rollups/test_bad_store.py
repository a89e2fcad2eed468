from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import Config
from engine.errors import DataError, IntegrityError, ResourceError
from engine.events import ingest
from engine.events.record import IngestRecord
from engine.execution.local import LocalExecutor
from engine.rollups.index import FORMAT, read_index
from engine.rollups.update import Wanted, open_index
from engine.tables import disk
from tests.rollups.stores import (
    BUYS,
    DAY_ZERO,
    at,
    bring,
    bucket_of,
    config_of,
    features,
    found_in,
    label,
    opened,
    partials,
    put,
    source_of,
    stored,
    totals,
)

FOOTERS_IN_A_CHILD = True

ROOT = Path(__file__).parents[2]
EVERYTHING = Wanted(BUYS.codes, ("buy",), ("order",))


def write_log(log: Path) -> Config:
    for day in range(4):
        # The first two users repeat an event every day.
        users = [(f"u{user}", "buy", at(day), f"{user if user < 2 else user + 3 * day}", 1.0) for user in range(5)]
        put(log, f"{label(day)}/a", *users, (None, "buy", at(day)))
    return config_of(source_of(log, dedup_days=2))


@dataclass(frozen=True)
class Begun:
    """A log and a store over it."""

    config: Config
    log: Path
    store: Path


@pytest.fixture(scope="module")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("begun")
    config = write_log(folder / "log")
    bring(config, folder / "everything", EVERYTHING)
    bring(config, folder / "buys")
    return Begun(config, folder / "log", folder)


@pytest.fixture
def begun(request: pytest.FixtureRequest, begun_once: Begun, tmp_path: Path) -> Iterator[Begun]:
    """A copy of the store of `EVERYTHING`, or of `BUYS` on demand; the log is the same, and loses what a test adds."""
    once = begun_once
    before = {*once.log.rglob("*.parquet")}
    shutil.copytree(once.store / getattr(request, "param", "everything"), tmp_path / "out")
    yield Begun(once.config, once.log, tmp_path / "out")
    for file in {*once.log.rglob("*.parquet")} - before:
        file.unlink()


NEW: dict[object, tuple[pl.DataFrame, IngestRecord]] = {}


def of_a_new_store(config: Config, store: Path) -> tuple[pl.DataFrame, IngestRecord]:
    """What a store from nothing holds, beside `store`; of a log that is the same, it is made once."""
    [source] = config.sources
    log = [(file, file.stat()) for file in sorted(Path(str(source.path)).rglob("*.parquet"))]
    key = (config.model_dump_json(), *((file, found.st_size, found.st_mtime_ns, found.st_ino) for file, found in log))
    if key not in NEW:
        new = store.with_name(f"new-{time.monotonic_ns()}")
        made = bring(config, new, EVERYTHING)
        NEW[key] = features(bucket_of(made, new)), totals(made)
    return NEW[key]


def check(config: Config, store: Path, damaged: int | None = None) -> None:
    """The store can be brought up to date, and then equals a new one."""
    updated = bring(config, store, EVERYTHING)
    expected, counted = of_a_new_store(config, store)
    assert_frame_equal(features(bucket_of(updated, store)), expected)
    assert totals(updated) == counted
    if damaged is not None:
        assert len(updated.damaged) == damaged
    files = {file.path for file in updated.index.files()}
    assert {name for name in stored(store) if name != "index.json"} == files
    assert bring(config, store, EVERYTHING).rolled == 0


# ----------------------------------------------------------------------------------------------------------- the index


def other_format(text: str) -> str:
    return json.dumps({**json.loads(text), "format": FORMAT + 1})


def without_a_key(text: str) -> str:
    plain = json.loads(text)
    del plain["entries"][0]["fingerprint"]
    return json.dumps(plain)


BAD_INDEXES: dict[str, Callable[[str], str]] = {
    "another version": other_format,
    "an unknown key": lambda text: json.dumps({**json.loads(text), "more": 1}),
    "a missing key": without_a_key,
    "a number as text": lambda text: text.replace('"read": 6', '"read": "6"', 1),
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "not JSON": lambda _: "tamis",
    "not UTF-8": lambda _: "\udcff",
    "a list": lambda _: "[]",
}


@pytest.mark.parametrize("name", BAD_INDEXES)
def test_an_index_that_cannot_be_used(begun: Begun, name: str) -> None:
    config, store = begun.config, begun.store
    file = store / "index.json"
    bad = BAD_INDEXES[name](file.read_text())
    assert bad != file.read_text()
    file.write_bytes(bad.encode(errors="surrogateescape"))
    with pytest.raises(IntegrityError, match=str(file)) as caught:
        read_index(store)
    assert caught.value.code == "rollup-index"
    assert caught.value.hint
    index, problem = open_index(store)
    assert (index.entries, problem) == ((), caught.value.message)
    check(config, store)
    read_index(store)


# ----------------------------------------------------------------------------------------------------------- the files


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit": flip,
    "truncated": lambda file: os.truncate(file, file.stat().st_size - 1),
    "empty": lambda file: os.truncate(file, 0),
    "missing": lambda file: file.unlink(),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "another file": lambda file: pl.DataFrame({"user_key": [1]}).write_parquet(file),
}


@pytest.mark.parametrize(
    ("grain", "name"),
    [
        *(("daily", name) for name in DAMAGE),
        ("events", "one bit"),
        ("ids", "missing"),
        ("rejects", "empty"),
        ("users", "one bit"),
        ("users", "missing"),
    ],
)
def test_a_file_that_is_not_what_was_written(begun: Begun, name: str, grain: str) -> None:
    config, store = begun.config, begun.store
    file = max((store / grain).iterdir())
    DAMAGE[name](file)
    # Without the ids of users no unit can be read.
    check(config, store, damaged=4 if grain == "users" else 1)


@pytest.mark.parametrize("grain", ["daily", "ids", "users"])
def test_a_damaged_file_and_a_new_day_at_once(begun: Begun, grain: str) -> None:
    config, store = begun.config, begun.store
    flip(max((store / grain).iterdir()))
    put(begun.log, f"{label(4)}/a", *[(f"u{user}", "buy", at(4), f"{user + 9}", 1.0) for user in range(7)])
    check(config, store)


def test_files_of_others_in_the_store_are_swept(tmp_path: Path) -> None:
    config, store = write_log(tmp_path / "log"), tmp_path / "out" / "_rollups"
    beside = tmp_path / "out" / "mine.txt"
    beside.parent.mkdir()
    beside.write_text("mine")
    bring(config, store, EVERYTHING)
    for name in ("notes.txt", "daily/other.parquet", "more/x", ".x.parquet.0123.tmp"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_text("foreign")
    check(config, store, damaged=0)
    assert beside.read_text() == "mine"


def test_an_older_copy_of_the_store_is_brought_up_to_date(tmp_path: Path) -> None:
    config, store = write_log(tmp_path / "log"), tmp_path / "out"
    bring(config, store, EVERYTHING)
    before = stored(store)
    put(tmp_path / "log", f"{label(2)}/b", ("u0", "buy", at(2), "new", 9.0))
    bring(config, store, EVERYTHING)
    # As a backup by files may be: some of them old, some new.
    for name, content in before.items():
        (store / name).write_bytes(content)
    check(config, store)


# ------------------------------------------------------------------------------------------------------------ the disk


@pytest.mark.parametrize("nth", [1, 4, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (2, 7))])
@pytest.mark.parametrize("effect", ["create_temporary", "sync_file", "rename"])
def test_a_disk_that_is_full(begun: Begun, monkeypatch: pytest.MonkeyPatch, effect: str, nth: int) -> None:
    config, store = begun.config, begun.store
    before = stored(store)
    put(begun.log, f"{label(1)}/b", ("new", "buy", at(1), "new", 9.0))
    real, calls = getattr(disk, effect), []

    def fail(*given: Any) -> Any:
        calls.append(given)
        if len(calls) < nth:
            return real(*given)
        with disk.storage_errors(store.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(disk, effect, fail)
        with pytest.raises(ResourceError) as caught:
            bring(config, store, EVERYTHING)
    assert caught.value.code == "disk-full"
    assert {name: stored(store)[name] for name in before} == before
    assert set(stored(store)) == set(before)
    check(config, store, damaged=0)


KILLED = """
import os, sys
from pathlib import Path
from engine.tables import disk
from tests.rollups import test_bad_store as module
real, calls = disk.rename, []
def rename(*given):
    calls.append(given)
    if len(calls) == int(sys.argv[2]):
        os._exit(9)
    real(*given)
disk.rename = rename
folder = Path(sys.argv[1])
module.bring(module.config_of(module.source_of(folder / "log", dedup_days=2)), folder / "out", module.EVERYTHING)
"""


@pytest.mark.parametrize("nth", [5, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (1, 12))])
def test_an_update_that_is_killed(tmp_path: Path, nth: int) -> None:
    config, store = write_log(tmp_path / "log"), tmp_path / "out"
    bring(config, store, EVERYTHING)
    before = stored(store)
    put(tmp_path / "log", f"{label(1)}/b", ("new", "buy", at(1), "new", 9.0))
    put(tmp_path / "log", f"{label(4)}/b", ("new", "buy", at(1), "new", 9.0))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, str(nth)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 9
    left = stored(store)
    assert len(left) > len(before)
    assert {name: left[name] for name in before} == before
    check(config, store, damaged=0)


class Backwards(LocalExecutor):
    """A cluster may take the last task first."""

    def map(self, function: Any, tasks: Sequence[Any], *, on_done: Any = None, **more: Any) -> list[Any]:
        return super().map(function, tasks[::-1], on_done=on_done)[::-1]


def test_what_a_killed_update_left_is_not_trusted(tmp_path: Path) -> None:
    write_log(tmp_path / "log")
    for day in (2, 3):
        put(tmp_path / "log", f"{label(day)}/b", ("w", "buy", at(day), "w"))
    config, store = config_of(source_of(tmp_path / "log"), rows_per_task=7), tmp_path / "out"
    bring(config, store, EVERYTHING)
    # Killed before it wrote its index; and what it wrote were files of other types under the same numbers.
    (store / "index.json").unlink()
    for file in (store / "ids").iterdir():
        pl.read_parquet(file).with_columns(pl.col("id") ^ 1).sort("id").write_parquet(file)
    for file in (store / "users").iterdir():
        pl.read_parquet(file).with_columns(user_id=pl.lit("nobody")).write_parquet(file)
    updated = bring(config, store, EVERYTHING, executor=Backwards("backwards", 1))
    made = bring(config, tmp_path / "new", EVERYTHING)
    assert totals(updated).duplicates == totals(made).duplicates == 7
    assert_frame_equal(features(bucket_of(updated, store)), features(bucket_of(made, tmp_path / "new")))


# ------------------------------------------------------------------------------------------------------------- the log


@pytest.mark.parametrize("begun", ["buys"], indirect=True)
@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        flip,
        lambda file: pl.read_parquet(file).head(1).write_parquet(file),
        lambda file: os.utime(file, ns=(1, 1)),
    ],
)
def test_a_source_file_that_changes_while_it_is_read(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], when: str
) -> None:
    config, store = begun.config, begun.store
    before = stored(store)
    file = put(begun.log, f"{label(2)}/b", ("u0", "buy", at(2), "new", 9.0), ("u1", "buy", at(2), "new", 9.0))
    found = [opened(one) if file.name in str(one.unit.files) else one for one in found_in(config)]
    if when == "before":
        change(file)
    else:
        real = ingest.scan

        def scan(path: str) -> pl.LazyFrame:
            frame = real(path)
            if path == str(file):
                change(file)
            return frame

        monkeypatch.setattr(ingest, "scan", scan)
    with pytest.raises(IntegrityError, match=r"b\.parquet was") as caught:
        bring(config, store, found=found)
    assert caught.value.code == "input-changed"
    assert stored(store) == before
    monkeypatch.undo()
    file.unlink(missing_ok=True)
    check(config, store, damaged=0)


def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    config, store = write_log(tmp_path / "log"), tmp_path / "out"
    bring(config, store)
    before = stored(store)
    file = put(tmp_path / "log", f"{label(2)}/b", *[(f"u{user}", "buy", at(2), f"{user}") for user in range(500)])
    content = bytearray(file.read_bytes())
    content[4:204] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(DataError, match=str(file)) as caught:
        bring(config, store)
    assert caught.value.code == "input-unreadable"
    assert stored(store) == before


def test_new_content_of_the_same_name_size_and_age(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    file = put(log, label(0), ("u", "buy", at(0), None, 1.0))
    other = put(log.with_name("other"), label(0), ("v", "buy", at(0), None, 2.0))
    assert file.stat().st_size == other.stat().st_size
    for path in (file, other):
        os.utime(path, ns=(7, 7))
    config = config_of(source_of(log))
    bring(config, store)
    other.replace(file)
    assert partials(bucket_of(bring(config, store), store)) == {("v", "buy", 0): (1, 200)}


# -------------------------------------------------------------------------------------------------------- strange rows


def test_events_that_come_400_days_late_or_are_years_ahead(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    put(log, label(0), ("u", "buy", at(0), "1", 1.0))
    bring(config, store)
    put(
        log,
        label(1),
        ("u", "buy", at(-400), "2", 2.0),
        ("u", "buy", at(5), "3", 4.0),
        ("u", "buy", at(4_000), "4", 8.0),
    )
    updated = bring(config, store)
    assert partials(bucket_of(updated, store)) == {
        ("u", "buy", -400): (1, 200),
        ("u", "buy", 0): (1, 100),
        ("u", "buy", 5): (1, 400),
    }
    total = totals(updated)
    assert (total.kept, total.after_as_of) == (3, 1)
    assert (total.first_day, total.last_day) == (DAY_ZERO - 400, DAY_ZERO + 5)


def test_ids_of_one_byte_and_of_ten_thousand(tmp_path: Path) -> None:
    users = ["x", "x" * 10_000, "x" * 9_999 + "y", " ", "\0", "é" * 5_000, "𝄞"]
    put(tmp_path / "log", label(0), *[(user, "buy", at(0), user, 1.0) for user in users])
    updated = bring(config_of(source_of(tmp_path / "log")), tmp_path / "out")
    assert set(partials(bucket_of(updated, tmp_path / "out"))) == {(user, "buy", 0) for user in users}


def test_times_at_the_ends_of_64_bits_are_counted_as_rejects(tmp_path: Path) -> None:
    file = put(tmp_path / "log", label(0), *[("u", "buy", at(0))] * 4)
    ends = pl.Series([-(2**63) + 1, 2**63 - 1, 253_402_214_400_000_000, 0])
    pl.read_parquet(file).with_columns(time=ends.cast(pl.Datetime("us", "UTC"))).write_parquet(file)
    updated = bring(config_of(source_of(tmp_path / "log")), tmp_path / "out")
    assert totals(updated).rejected == {("log", "event_time_out_of_range"): 3}
    assert bucket_of(updated, tmp_path / "out").daily.height == 1
    [rejects] = [file for file in stored(tmp_path / "out") if file.startswith("rejects/")]
    assert pl.read_parquet(tmp_path / "out" / rejects)["row"].to_list() == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("same_id", [pytest.param("duplicate", marks=pytest.mark.slow), "lines"])
def test_a_user_with_a_million_events(tmp_path: Path, same_id: str) -> None:
    size = 1_000_000
    file = put(tmp_path / "log", label(0))
    number = pl.int_range(size, dtype=pl.Int64)
    pl.select(
        user=pl.repeat("u", size),
        type=pl.repeat("buy", size),
        time=(DAY_ZERO * 86_400_000_000 + number % 200_000 * 1_000_000).cast(pl.Datetime("us", "UTC")),
        id=(number // 2).cast(pl.String),
        amount=pl.repeat(1.0, size),
        category=pl.repeat(None, size, dtype=pl.String),
    ).write_parquet(file)
    config = config_of(source_of(tmp_path / "log", same_id=same_id), rows_per_task=600_000)
    updated = bring(config, tmp_path / "out")
    daily = bucket_of(updated, tmp_path / "out").daily
    amount = 100 * size if same_id == "lines" else 50 * size
    assert (daily["events"].sum(), daily["amount_minor"].sum(), daily.height) == (size // 2, amount, 3)
