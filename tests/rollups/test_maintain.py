from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from engine.config import Config
from engine.errors import ConfigError, ConflictError, IntegrityError
from engine.progress import ProgressEvent
from engine.rollups.index import INDEX_NAME, Checkpoint, Index, read_index, write_index
from engine.rollups.maintain import (
    Dropped,
    Selection,
    check_selection,
    drop,
    to_drop,
    verify_store,
    without,
)
from tests.rollups.stores import (
    at,
    bring,
    bucket_of,
    config_of,
    features,
    label,
    put,
    source_of,
    stored,
)

JAN = Selection(start=date(2026, 1, 1), end=date(2026, 2, 1))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Config, Path]:
    """A store of three days and two undated files of another source."""
    for day in range(3):
        name = f"{label(day)}/a"
        rows = [(f"u{user}", "buy", at(day, user), f"{day} {user}", 1.0) for user in range(3)]
        put(tmp_path / "log", name, *rows, ("u0", "buy", at(day, 0), f"{day} 0", 1.0), (None, "buy", at(day)))
    put(tmp_path / "more", "x", ("u7", "buy", at(1)), ("u7", "view", at(4)))
    put(tmp_path / "more", "y", ("u8", "buy", at(2)))
    config = config_of(source_of(tmp_path / "log"), source_of(tmp_path / "more", "more", {"event_id": None}))
    bring(config, tmp_path / "store")
    return config, tmp_path / "store"


# ----------------------------------------------------------------------------------------------------------- selecting


@pytest.mark.parametrize(
    ("selection", "name", "belongs"),
    [
        (Selection(), ("log", "2026-01-01"), True),
        (Selection(), ("log", ""), True),
        (Selection("log"), ("log", ""), True),
        (Selection("log"), ("log", "/data/all.parquet"), True),
        (Selection("log"), ("more", "2026-01-01"), False),
        (JAN, ("log", "2026-01-01"), True),
        (JAN, ("log", "2026-01-31"), True),
        (JAN, ("log", "2026-02-01"), False),
        (JAN, ("log", "2025-12-31"), False),
        (JAN, ("log", ""), False),
        (JAN, ("log", "/data/all.parquet"), False),
        (replace(JAN, end=None), ("log", "2099-01-01"), True),
        (replace(JAN, start=None), ("log", "1999-01-01"), True),
        (replace(JAN, source="more"), ("log", "2026-01-01"), False),
    ],
)
def test_what_belongs_to_a_selection(selection: Selection, name: tuple[str, str], belongs: bool) -> None:
    assert selection.has(name) == belongs


@pytest.mark.parametrize(
    ("selection", "code", "words"),
    [
        (Selection("lag"), "rollup-source", "did you mean 'log'"),
        (replace(JAN, end=date(2026, 1, 1)), "rollup-range", "[2026-01-01, 2026-01-01)"),
        (replace(JAN, end=date(2025, 1, 1)), "rollup-range", "[2026-01-01, 2025-01-01)"),
    ],
)
def test_selections_that_can_have_no_unit(selection: Selection, code: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_selection(selection, ["log", "more"])
    assert caught.value.code == code
    assert words in caught.value.message


def test_selections_that_can_have_units() -> None:
    for selection in (Selection(), Selection("log"), JAN, replace(JAN, end=None)):
        check_selection(selection, ["log"])


# ----------------------------------------------------------------------------------------------------------- verifying


def test_a_whole_store(made: tuple[Config, Path]) -> None:
    _, store = made
    files = stored(store)
    found = verify_store(store)
    assert (found.units, found.files, found.unindexed) == (5, len(files) - 1, ())
    assert found.bytes == sum(len(content) for name, content in files.items() if name != INDEX_NAME)
    (store / "daily" / ".killed.tmp").write_bytes(b"half")
    assert verify_store(store).unindexed == ("daily/.killed.tmp",)


def test_no_store_is_whole(tmp_path: Path) -> None:
    assert verify_store(tmp_path / "store").files == 0


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "bytes expected": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "other bytes than were written": flip,
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_a_damaged_file(made: tuple[Config, Path], problem: str) -> None:
    config, store = made
    entry = read_index(store).by_name()["log", label(1)]
    DAMAGES[problem](store / entry.daily[0].path)
    with pytest.raises(IntegrityError) as caught:
        verify_store(store)
    assert caught.value.code == "rollup-damaged"
    assert "1 of " in caught.value.message
    assert f"log {label(1)}: {entry.daily[0].path}: " in caught.value.message
    assert problem in caught.value.message
    assert "tamis rollup rebuild" in caught.value.hint
    assert bring(config, store).damaged == (("log", label(1)),)
    verify_store(store)


def test_all_damages_at_once(made: tuple[Config, Path]) -> None:
    _, store = made
    index = read_index(store)
    checkpoint = Checkpoint(0, (), (), (), None, (), (replace(index.users[0], path="standing/x.parquet"),))
    links = replace(index.users[0], path="links/x.parquet")
    write_index(replace(index, checkpoint=checkpoint, links=links), store)
    flip(store / index.users[0].path)
    entries = index.by_name()
    for day in (0, 2):
        (store / entries["log", label(day)].daily[0].path).unlink()
    with pytest.raises(IntegrityError) as caught:
        verify_store(store)
    lines = caught.value.message.splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "user ids of all units",
        "links of ids",
        "totals of the last run",
        f"log {label(0)}",
        f"log {label(2)}",
    ]


def test_a_file_with_other_rows_than_the_index_says(made: tuple[Config, Path]) -> None:
    _, store = made
    index = read_index(store)
    first = index.entries[0]
    wrong = replace(first, daily=(replace(first.daily[0], rows=99),))
    write_index(replace(index, entries=(wrong, *index.entries[1:])), store)
    with pytest.raises(IntegrityError, match="99 rows expected, 3 found"):
        verify_store(store)


def test_a_run_that_writes_meanwhile_is_no_damage(made: tuple[Config, Path]) -> None:
    _, store = made

    def write(event: ProgressEvent) -> None:
        if event.done == 0:
            drop(store, Selection("log"))

    with pytest.raises(ConflictError) as caught:
        verify_store(store, progress=write)
    assert caught.value.code == "rollup-busy"


def test_progress(made: tuple[Config, Path]) -> None:
    events: list[ProgressEvent] = []
    files = verify_store(made[1], progress=events.append).files
    assert [event.done for event in events] == list(range(files + 1))


# ------------------------------------------------------------------------------------------------------------ dropping


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection("more"), [("log", label(day)) for day in range(3)]),
        (Selection(start=at(1).date(), end=at(2).date()), [("log", label(0)), ("log", label(2)), "x", "y"]),
        (Selection("log", start=at(1).date()), [("log", label(0)), "x", "y"]),
        (Selection(start=at(9).date()), [*[("log", label(day)) for day in range(3)], "x", "y"]),
    ],
)
def test_drop(
    made: tuple[Config, Path], tmp_path: Path, selection: Selection, left: list[tuple[str, str] | str]
) -> None:
    config, store = made
    index = read_index(store)
    full = features(bucket_of(bring(config, store), store))
    names = [("more", str(tmp_path / "more" / f"{name}.parquet")) if isinstance(name, str) else name for name in left]
    before = stored(store)
    promised = to_drop(store, selection)
    assert stored(store) == before
    assert drop(store, selection) == promised
    assert [entry.name for entry in read_index(store).entries] == names
    assert list(promised.units) == [entry.name for entry in index.entries if entry.name not in names]
    after = stored(store)
    gone = [len(content) for name, content in before.items() if name not in after]
    assert (len(gone), sum(gone)) == (promised.files, promised.bytes)
    assert all(after[name] == before[name] for name in after if name != INDEX_NAME)
    assert {file.path for file in index.users} <= set(after)
    verify_store(store)
    again = bring(config, store)
    assert again.rolled == len(promised.units)
    assert_frame_equal(features(bucket_of(again, store)), full)


@pytest.mark.parametrize("selections", [[Selection()], [Selection("log"), Selection("more")]])
def test_nothing_stays_of_an_empty_store(made: tuple[Config, Path], selections: list[Selection]) -> None:
    _, store = made
    sizes = {name: len(content) for name, content in stored(store).items()}
    (store / "daily" / ".killed.tmp").write_bytes(b"")
    gone = [drop(store, selection) for selection in selections]
    assert not store.exists()
    assert sum(len(dropped.units) for dropped in gone) == 5
    # The index counts where all goes at once, and a file that nobody knows of.
    assert sum(dropped.files for dropped in gone) == len(sizes) + (1 if len(gone) == 1 else -1)


def test_a_drop_leaves_the_totals_of_an_earlier_run_only_where_they_hold(made: tuple[Config, Path]) -> None:
    index = replace(read_index(made[1]), checkpoint=Checkpoint(0, (), (), (), None, (), ()))
    assert without(index, Selection(start=at(9).date())) == index
    assert without(index, Selection("more")).checkpoint is None
    assert without(index, Selection("more")).users == index.users
    assert without(index, Selection()) == Index(codes=index.codes)


def test_drop_from_a_store_whose_index_is_damaged(made: tuple[Config, Path]) -> None:
    _, store = made
    (store / INDEX_NAME).write_text("{", encoding="utf-8")
    before = stored(store)
    for call in (to_drop, drop):
        with pytest.raises(IntegrityError) as caught:
            call(store, Selection("log"))
        assert caught.value.code == "rollup-index"
    assert stored(store) == before
    assert drop(store, Selection()) == Dropped((), len(before), sum(map(len, before.values())))
    assert not store.exists()


def test_drop_from_no_store(tmp_path: Path) -> None:
    for selection in (Selection(), Selection("log")):
        assert drop(tmp_path / "store", selection) == Dropped((), 0, 0)
    assert not (tmp_path / "store").exists()
