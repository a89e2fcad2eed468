from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.ledger.history import membership_intervals
from tests.ledger.publishing import Day, Defined, publish_day

DATES = [date(2018, month, 1) for month in (1, 2, 3, 4)]
SETS = [{1: ["a"], 2: ["a"]}, {1: ["b"]}, {1: ["a"], 2: ["b"]}, {1: ["a"], 2: ["b"]}]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for as_of, sets in zip(DATES, SETS, strict=True):
        publish_day(tmp_path, Day(as_of, {1: {}, 2: {}, 3: {}}, sets, [Defined("a"), Defined("b")], 2))
    return tmp_path


def test_intervals_are_those_of_all_dates_so_far(out: Path) -> None:
    january, february, march, _ = DATES
    assert membership_intervals(out, DATES[3]).collect().rows() == [
        (1, "a", "primary", january, february, "v1"),
        (1, "a", "primary", march, None, "v1"),
        (1, "b", "primary", february, march, "v1"),
        (2, "a", "primary", january, february, "v1"),
        (2, "b", "primary", march, None, "v1"),
    ]
    assert membership_intervals(out, february, "a").collect().rows() == [
        (1, "a", "primary", january, february, "v1"),
        (2, "a", "primary", january, february, "v1"),
    ]
    assert membership_intervals(out, january).collect()["valid_to"].to_list() == [None, None]


def test_every_date_lies_in_the_intervals_of_its_members(out: Path) -> None:
    rows = membership_intervals(out, DATES[3]).collect().rows()
    for as_of, sets in zip(DATES, SETS, strict=True):
        inside = {row[:2] for row in rows if row[3] <= as_of and (row[4] is None or as_of < row[4])}
        assert inside == {(user, name) for user, names in sets.items() for name in names}


def test_a_date_that_is_not_published(out: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        membership_intervals(out, date(2018, 1, 2))
    assert refused.value.code == "not-published"
