from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.reporting.masking import OTHERS, hidden_cells, hidden_rows, merge_small, without

LIMIT = 4


def others_with_the_sum(places: int, total: int) -> Iterator[tuple[int, ...]]:
    """Numbers from 1 on that add up to a total: what is hidden is not 0, for that is shown."""
    if places == 1:
        yield from ([(total,)] if total >= 1 else [])
        return
    for first in range(1, total):
        yield from ((first, *rest) for rest in others_with_the_sum(places - 1, total - first))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_no_hidden_number_follows_from_the_total(users: list[int]) -> None:
    hidden = hidden_rows(users, LIMIT)
    assert all(hidden[place] for place, count in enumerate(users) if 0 < count < LIMIT)
    assert not any(hidden[place] for place, count in enumerate(users) if count == 0)
    secret = [count for count, gone in zip(users, hidden, strict=True) if gone]
    everything = [count for count in users if count]
    if not secret or len(secret) == len(everything):
        # Where all are hidden the total is of few people, or it says nothing of two and more.
        assert not secret or sum(secret) < 2 * LIMIT + 9
        return
    worlds = list(others_with_the_sum(len(secret), sum(secret)))
    for place in range(len(secret)):
        assert len({world[place] for world in worlds}) > 1


@pytest.mark.parametrize(
    ("users", "hidden"),
    [
        ([100, 50, 3], "011"),
        ([100, 50, 3, 2, 8], "00111"),
        ([100, 50, 9, 8], "0011"),
        ([100, 50, 0], "000"),
        ([100, None, 50], "000"),
        ([3, 100], "11"),
        ([3], "1"),
        ([], ""),
        ([1] * 10 + [30, 40], "1" * 11 + "0"),
    ],
)
def test_the_next_smallest_is_hidden_too(users: list[int | None], hidden: str) -> None:
    assert hidden_rows(users, 10) == [mark == "1" for mark in hidden]


def test_each_group_has_its_own_total() -> None:
    assert hidden_rows([3, 50, 60, 70, 90], 10, ["a", "a", "a", "b", "b"]) == [True, True, False, False, False]
    assert hidden_rows([3, 50], 10, totals=False) == [True, False]


def test_hidden_rows_lose_their_numbers() -> None:
    frame = pl.DataFrame({"name": ["a", "b"], "users": [3, 50], "value": [1.5, 2.5]})
    assert without(frame, [True, False], ["users", "value"]).rows() == [("a", None, None), ("b", 50, 2.5)]


@pytest.mark.parametrize(
    ("users", "most", "expected"),
    [
        ({"a": 50, "b": 40}, 5, {"a": 50, "b": 40}),
        ({"a": 50, "b": 4, "c": 7}, 5, {"a": 50, OTHERS: 11}),
        ({"a": 50, "b": 40, "c": 7}, 5, {"a": 50, OTHERS: 47}),
        ({"a": 50, "b": 40, "c": 30, "d": 20}, 3, {"a": 50, "b": 40, OTHERS: 50}),
        ({"a": 50, "b": 0}, 5, {"a": 50}),
        ({"a": 5, "b": 4}, 5, {}),
        ({"a": 5, "b": 6}, 5, {OTHERS: 11}),
        ({}, 5, {}),
    ],
)
def test_rows_of_few_people_are_merged(users: dict[str, int], most: int, expected: dict[str, int]) -> None:
    frame = (
        pl.DataFrame(
            {
                "name": list(users),
                "users": list(users.values()),
                "spent": [2 * count for count in users.values()],
                "x": 1.0,
            },
            {"name": pl.String, "users": pl.Int64, "spent": pl.Int64, "x": pl.Float64},
        )
        if users
        else pl.DataFrame(schema={"name": pl.String, "users": pl.Int64, "spent": pl.Int64, "x": pl.Float64})
    )
    merged = merge_small(frame, "name", "users", ["spent"], min_cell=10, most=most)
    assert dict(merged.select("name", "users").rows()) == expected
    assert merged["spent"].to_list() == [2 * count for count in expected.values()]
    assert [row[0] for row in merged.filter(pl.col("x").is_null()).rows()] == [OTHERS] * (OTHERS in expected)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=9),
    st.integers(1, 12),
    st.integers(2, 9),
)
def test_nothing_merged_is_small_or_lost(users: list[int], min_cell: int, most: int) -> None:
    frame = pl.DataFrame({"name": [f"n{place}" for place in range(len(users))], "users": users})
    merged = merge_small(frame, "name", "users", (), min_cell=min_cell, most=most)
    assert merged.height <= most
    assert all(count >= min_cell for count in merged["users"])
    assert merged["users"].sum() == (sum(users) if sum(users) >= min_cell else 0)
    # One row alone is never behind the others: its number would be theirs.
    shown = merged.filter(pl.col("name") != OTHERS).height
    assert OTHERS not in merged["name"] or len([count for count in users if count]) - shown >= 2


def worlds(
    cells: dict[tuple[str, str], int], hidden: set[tuple[str, str]], *, first_row_open: bool
) -> Iterator[dict[tuple[str, str], int]]:
    """Every way to fill the hidden cells of two rows that has the known totals."""
    columns = sorted({column for _, column in cells})
    totals = {column: cells["a", column] + cells["b", column] for column in columns}
    for values in product(*(range(totals[column] + 1) for column in columns)):
        filled = {("a", column): value for column, value in zip(columns, values, strict=True)}
        filled |= {("b", column): totals[column] - filled["a", column] for column in columns}
        same = all(filled[place] == cells[place] for place in cells.keys() - hidden)
        if same and (first_row_open or sum(values) == sum(cells["a", column] for column in columns)):
            yield filled


@given(st.lists(st.sampled_from([0, 0, 1, 2, 5, 6, 9]), min_size=8, max_size=8), st.booleans())
def test_no_hidden_cell_follows_from_the_totals(values: list[int], is_open: bool) -> None:
    cells = dict(zip(product("ab", "wxyz"), values, strict=True))
    open_rows = ["a"] if is_open else []
    hidden = hidden_cells(cells, 3, open_rows=open_rows)
    small = [cell for cell, count in cells.items() if 0 < count < 3]
    assert {cell for cell, count in cells.items() if count < 3} <= hidden
    if not small or len(hidden) == len(cells):
        return
    found = list(worlds(cells, hidden, first_row_open=is_open))
    for cell in small:
        assert len({world[cell] for world in found}) > 1


def test_a_lone_small_cell_takes_others_with_it() -> None:
    cells = {("a", "x"): 90, ("a", "y"): 3, ("b", "x"): 80, ("b", "y"): 70}
    assert hidden_cells(cells, 10) == set(cells)
    assert hidden_cells({**cells, ("a", "y"): 30}, 10) == set()
    # Of a row and a column whose totals are not known, nothing follows.
    assert hidden_cells(cells, 10, open_rows=["a", "b"], open_columns=["x", "y"]) == {("a", "y")}


def test_a_column_of_nobody_protects_nothing() -> None:
    cells = {("a", "x"): 3, ("a", "y"): 0, ("a", "z"): 50, ("b", "x"): 40, ("b", "y"): 0, ("b", "z"): 60}
    assert hidden_cells(cells, 10) == set(cells)


def test_what_must_not_be_worked_out_is_safe_too() -> None:
    cells = {(row, column): 50 for row in "abc" for column in "abc"} | {("a", "a"): 90}
    hidden = hidden_cells(cells, 10, also=[("a", "a")])
    assert ("a", "a") in hidden
    assert len(hidden) == 4
