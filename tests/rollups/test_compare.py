from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import Config
from engine.rollups.compare import UnitState, compare, day_text
from engine.rollups.index import Index, read_index
from tests.rollups.stores import DAY_ZERO, at, bring, config_of, found_in, label, put, source_of


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


def test_compare(made: tuple[Config, Path], tmp_path: Path) -> None:
    config, store = made
    put(tmp_path / "log", f"{label(1)}/late", ("u9", "buy", at(1), "late", 1.0))
    put(tmp_path / "log", f"{label(5)}/a", ("u9", "buy", at(5), "new", 1.0))
    (tmp_path / "more" / "y.parquet").unlink()
    index = read_index(store)
    found = {(config.sources[item.unit.source].name, item.unit.label): item for item in found_in(config)}
    states = compare(found, index)
    more = [str(tmp_path / "more" / f"{name}.parquet") for name in "xy"]
    assert [(unit.source, unit.label, unit.state) for unit in states] == [
        ("log", label(0), "current"),
        ("log", label(1), "changed"),
        ("log", label(2), "changed"),  # It looks back to the day that has changed.
        ("log", label(5), "new"),
        ("more", more[0], "current"),
        ("more", more[1], "gone"),
    ]
    entry = index.by_name()["log", label(0)]
    files = list(entry.files())
    assert states[0] == UnitState(
        source="log",
        label=label(0),
        state="current",
        days=(DAY_ZERO, DAY_ZERO),
        rows=5,
        kept=3,
        duplicates=1,
        merged=0,
        rejected=1,
        excluded=0,
        erased=0,
        files=len(files),
        bytes=sum((store / file.path).stat().st_size for file in files),
    )
    assert states[3] == UnitState("log", label(5), "new")
    # The event of a type that is not in use is a row, not an event.
    assert (states[4].rows, states[4].kept, states[4].days) == (2, 1, (DAY_ZERO + 1, DAY_ZERO + 1))


def test_an_empty_store_has_nothing_of_the_log(made: tuple[Config, Path]) -> None:
    config, _ = made
    found = {(config.sources[item.unit.source].name, item.unit.label): item for item in found_in(config)}
    assert {unit.state for unit in compare(found, Index())} == {"new"}
    assert compare({}, Index()) == ()


@pytest.mark.parametrize(("day", "text"), [(0, "1970-01-01"), (DAY_ZERO, label(0)), (1 << 24, "day 16777216")])
def test_day_text(day: int, text: str) -> None:
    assert day_text(day) == text
