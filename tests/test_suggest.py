from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.suggest import did_you_mean, nearest, some_of


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("horizon_day", ["horizon_days", "name", "event"], ["horizon_days"]),
        ("CUSTOMERID", ["customer_id", "CustomerID"], ["CustomerID", "customer_id"]),
        ("eté", ["été", "hiver"], ["été"]),
        ("open", ["opem", "opeb", "opea"], ["opea", "opeb", "opem"]),
        ("xyz", ["horizon_days"], []),
        ("", ["a"], []),
        ("a", [], []),
    ],
)
def test_nearest(name: str, candidates: list[str], expected: list[str]) -> None:
    assert nearest(name, candidates) == expected


def test_nearest_is_limited_and_keeps_no_repeats() -> None:
    assert nearest("open", ["open1", "open2", "open3", "open1"], n=2) == ["open1", "open2"]


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (["purchase"], " (did you mean 'purchase'?)"),
        (["purchase", "purchased"], " (did you mean 'purchase' or 'purchased'?)"),
        (["purchase", "purchased", "purchaser"], " (did you mean 'purchase', 'purchased' or 'purchaser'?)"),
        (["click"], ""),
    ],
)
def test_did_you_mean(candidates: list[str], expected: str) -> None:
    assert did_you_mean("purchase", candidates) == expected


@given(st.lists(st.text(min_size=1)), st.text(min_size=1))
def test_a_name_that_exists_comes_first_whatever_the_order(others: list[str], name: str) -> None:
    found = nearest(name, [*others, name])
    assert found == nearest(name, [name, *reversed(others)])
    assert not found or set(found) <= {*others, name}


def test_more_names_than_are_shown_are_counted() -> None:
    assert some_of("ab", 2, command="tamis segments list") == "a, b"
    assert some_of("abc", 2) == "a, b and 1 more"
    assert some_of("abc", 2, command="tamis segments list") == "a, b and 1 more: `tamis segments list` shows them"
