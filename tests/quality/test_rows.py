from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Columns, Config, Source
from engine.errors import DataError
from engine.events.ingest import Piece, Reading, Rows, read_rows
from engine.quality.mapped import KnownEmpty
from engine.quality.rows import MOST_DAYS
from engine.stages.input import open_units
from tests.rollups.stores import config_of, found_in

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 20_513
SCHEMA = {
    "who": pl.String,
    "kind": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "got": pl.Datetime("us", "UTC"),
    "total": pl.Float64,
    "shop": pl.String,
}
MAPPED = {"user_id": "who", "event_type": "kind", "event_time": "at"}


def write(folder: Path, *rows: tuple[object, ...]) -> str:
    filled = [(*row, *[None] * (len(SCHEMA) - len(row))) for row in rows]
    pl.DataFrame(filled, SCHEMA, orient="row").write_parquet(folder / "log.parquet", row_group_size=2)
    return str(folder / "log.parquet")


def source(path: str, columns: dict[str, Any] | None = None, **fields: Any) -> Source:
    return Source(name="log", path=path, columns=Columns(**{**MAPPED, **(columns or {})}), **fields)


def read(one: Source, *pieces: Piece, columns: tuple[str, ...] = ("amount",), **fields: Any) -> Rows:
    whole = Piece(0, str(one.path), 0, pl.read_parquet(str(one.path)).height)
    how = Reading(source=one, timezone="UTC", currency_digits=2, codes=(("a", 0), ("b", 1)), columns=columns, **fields)
    return read_rows(how, pieces or [whole])


# -------------------------------------------------------------------------------------------------------- completeness


def test_dq01_rows_without_a_value_are_counted_by_column(tmp_path: Path) -> None:
    file = write(tmp_path, ("u", "a", NOON, None, 1.0, ""), ("", "a", NOON, None, None, "x"), (None, "", NOON))
    one = source(file, {"amount": "total", "category": "shop", "page": {"sql": "UPPER(shop)"}, "channel": {"value": 1}})
    assert dict(read(one).quality.empty) == {
        "user_id": 2,
        "event_type": 1,
        "event_time": 0,
        "amount": 2,
        "category": 2,
        "page": 2,
    }


def test_columns_that_a_file_lacks_are_empty_in_it(tmp_path: Path) -> None:
    file = write(tmp_path, ("u", "a", NOON), ("u", "a", NOON))
    one = source(file, {"item_id": "item"}, optional=("item_id",))
    assert dict(read(one).quality.empty)["item_id"] == 2


def test_what_the_footer_tells_is_added_with_the_first_piece_alone(tmp_path: Path) -> None:
    file = write(tmp_path, *[("u", "a", NOON, None, None, "x")] * 4)
    one = source(file, {"amount": "total", "category": "shop"})
    known = (KnownEmpty("total", 4), KnownEmpty("shop", 0))
    first, second = (Piece(0, file, start, 2, empty=known) for start in (0, 2))
    assert dict(read(one, first).quality.empty)["amount"] == 4
    assert dict(read(one, second).quality.empty)["amount"] == 0
    assert read(one, first, second).quality == read(one).quality


texts = st.sampled_from([None, "", "x", "y"])
logs = st.lists(
    st.tuples(texts, texts, st.none() | st.just(NOON), st.none(), st.none() | st.just(1.0), texts), min_size=1
)


@pytest.mark.slow
@settings(max_examples=25)
@given(logs, st.booleans())
def test_footers_and_rows_tell_the_same(tmp_path_factory: pytest.TempPathFactory, log: Any, statistics: bool) -> None:
    folder = tmp_path_factory.mktemp("log")
    file = write(folder, *log)
    if not statistics:
        pl.read_parquet(file).write_parquet(file, statistics=False)
    one = source(str(folder), {"amount": "total", "category": "shop", "page": {"sql": "shop || 'x'"}})
    config: Config = config_of(one)
    [opened] = open_units(config, found_in(config))
    assert statistics or not any(piece.empty for piece in opened.pieces)
    expected = {
        "user_id": sum(not row[0] for row in log),
        "event_type": sum(not row[1] for row in log),
        "event_time": sum(row[2] is None for row in log),
        "amount": sum(row[4] is None for row in log),
        "category": sum(not row[5] for row in log),
        "page": sum(row[5] is None for row in log),
    }
    halves = [
        Piece(0, file, start, rows, empty=opened.pieces[0].empty)
        for start, rows in ((0, len(log) // 2), (len(log) // 2, len(log) - len(log) // 2))
        if rows
    ]
    how = one.model_copy(update={"path": file})
    assert dict(read(how, *opened.pieces).quality.empty) == dict(read(how, *halves).quality.empty) == expected


# ---------------------------------------------------------------------------------------------------------------- late


def test_lateness_is_whole_days_from_the_event_to_its_receipt(tmp_path: Path) -> None:
    gaps = [timedelta(0), timedelta(hours=23), timedelta(days=1), timedelta(days=-2), timedelta(days=4000)]
    file = write(tmp_path, *[("u", "a", NOON, NOON + gap) for gap in gaps], ("u", "a", NOON), ("u", "a", None, NOON))
    one = source(file, {"received_time": "got"})
    assert read(one).quality.late == ((0, 3), (1, 1), (MOST_DAYS, 1))
    # By the clock of the file, whatever clock the engine goes by.
    assert read(source(file, {"received_time": "got"}, clock="received")).quality.late == read(one).quality.late
    assert read(source(file)).quality.late == ()


def test_rows_that_do_not_count_are_not_late(tmp_path: Path) -> None:
    late = NOON + timedelta(days=2)
    file = write(tmp_path, ("u", "a", NOON, late), ("v", "a", NOON, late), ("w", "a", NOON, late))
    one = source(file, {"received_time": "got"}, where="who <> 'v'", exclude="who = 'w'")
    assert read(one).quality.late == ((2, 1),)


# --------------------------------------------------------------------------------------------------------------- rules

RULES = [
    {"name": "priced", "holds": "total > 0 OR kind <> 'a'"},
    {"name": "shop_known", "holds": "shop IN ('x', 'y')", "action": "quarantine"},
    {"name": "cheap", "holds": "total < 100", "action": "quarantine"},
]


def test_dq07_rules_count_and_quarantine(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        ("u", "a", NOON, None, 1.0, "x"),
        ("u", "a", NOON, None, -1.0, "x"),
        ("u", "a", NOON, None, -1.0, "z"),
        ("u", "b", NOON, None, 500.0, "z"),
        # Null breaks no rule.
        ("u", "b", NOON, None, None, None),
        # Broken by a rule of every source first.
        (None, "a", NOON, None, 500.0, "z"),
        # Not looked at.
        ("out", "a", NOON, None, -1.0, "z"),
        ("gone", "a", NOON, None, -1.0, "z"),
    )
    one = source(file, {"amount": "total"}, rules=RULES, where="who <> 'out' OR who IS NULL", exclude="who = 'gone'")
    found = read(one)
    assert found.quality.broken == (("cheap", 2), ("priced", 2), ("shop_known", 3))
    assert found.rejects.select("row", "rule", "reason").rows() == [
        (2, "shop_known", "breaks the rule 'shop_known': shop IN ('x', 'y')"),
        (3, "shop_known", "breaks the rule 'shop_known': shop IN ('x', 'y')"),
        (5, "user_id_missing", "user_id is null or empty, and no anonymous_id stands for it"),
    ]
    assert found.good.height == 3
    assert found.read == found.left_out + found.excluded + found.rejects.height + found.good.height
    assert found.quality.lost == (("excluded", DAY, 1), ("left_out", DAY, 1), ("rejected", DAY, 3))


def test_rules_that_do_not_fit_are_told_all_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, ("u", "a", NOON))
    rules = [
        {"name": "one", "holds": "totel > 0"},
        {"name": "two", "holds": "total + 1"},
        {"name": "three", "holds": "SUM(total) > 0"},
        {"name": "four", "holds": "shop > 5"},
    ]
    with pytest.raises(DataError) as caught:
        read(source(file, {"amount": "nosuch"}, rules=rules))
    assert caught.value.code == "events-columns"
    for said in (
        "amount: no column 'nosuch'",
        "rules.one: no column 'totel' in the files (did you mean 'total'?)",
        "rules.two: expected a condition (true or false), got Float64",
        "rules.three: ",
        "rules.four: ",
    ):
        assert said in caught.value.message


def test_rows_are_lost_on_the_day_of_the_zone(tmp_path: Path) -> None:
    night = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    file = write(tmp_path, ("u", "", night), ("u", "a", None))
    how = Reading(source=source(file), timezone="Europe/Paris", currency_digits=2, codes=(("a", 0),), columns=())
    assert read_rows(how, [Piece(0, file, 0, 2)]).quality.lost == (("rejected", None, 1), ("rejected", DAY + 1, 1))
