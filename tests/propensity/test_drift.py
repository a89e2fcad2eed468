from __future__ import annotations

import json
import math
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.codes import MAX_LEVELS
from engine.propensity.drift import ColumnReference, Counts, Reference, add, count, fit_reference

NUMBERS = st.lists(st.one_of(st.none(), st.integers(-3, 12)), max_size=60)
WORDS = st.lists(st.one_of(st.none(), st.sampled_from("aàbcé")), max_size=40)


def numeric(values: list[Any], bins: int = 10, dtype: Any = pl.Float64) -> ColumnReference:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    [column] = fit_reference(frame, ["x"], [], bins).columns
    return column


def categorical(values: list[Any], dtype: Any = pl.String) -> ColumnReference:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    [column] = fit_reference(frame, [], ["x"], 10).columns
    return column


@pytest.fixture
def frame() -> pl.DataFrame:
    generator = np.random.default_rng(5)
    rows = 500
    return pl.DataFrame(
        {
            "orders": pl.Series(generator.poisson(1, rows)),
            "rate": pl.Series(np.where(generator.random(rows) < 0.2, np.nan, generator.random(rows))),
            "new": generator.random(rows) < 0.3,
            "city": pl.Series([[None, "Évry", "Lyon", "Paris"][k] for k in generator.integers(0, 4, rows)]),
            "propensity_buys": pl.Series([None if p < 0.1 else p for p in generator.random(rows)]),
        }
    )


@pytest.fixture
def reference(frame: pl.DataFrame) -> Reference:
    return fit_reference(frame, ["orders", "rate", "new"], ["city"], 5, ["propensity_buys"])


def test_different_numbers_fall_into_bins_of_equal_share() -> None:
    column = numeric([float(value) for value in range(100)])
    assert column.counts == (10,) * 10
    assert column.edges == tuple(float(edge) for edge in range(9, 99, 10))


@given(values=NUMBERS, bins=st.integers(2, 12))
def test_bins_are_those_of_the_definition(values: list[int | None], bins: int) -> None:
    column = numeric(values, bins, pl.Int64)
    known = sorted(value for value in values if value is not None)
    if len(set(known)) > 1:
        quantiles = {known[math.ceil(Fraction(k * len(known), bins)) - 1] for k in range(1, bins)} - {known[-1]}
        assert column.edges == tuple(sorted(quantiles))
        assert min(column.counts) > 0
    limits = [-math.inf, *column.edges, math.inf]
    assert column.counts == tuple(sum(low < value <= high for value in known) for low, high in pairwise(limits))
    assert column.nulls == len(values) - len(known)
    assert len(column.counts) <= max(bins, 3)


def test_equal_values_share_a_bin_and_leave_fewer_bins() -> None:
    column = numeric([0.0] * 80 + [float(value) for value in range(1, 21)])
    assert column.edges == (0.0, 10.0)
    assert column.counts == (80, 10, 10)


def test_one_single_value_has_a_bin_of_its_own() -> None:
    column = numeric([5.0] * 7 + [None])
    assert (column.counts, column.nulls) == ((0, 7, 0), 1)
    counted = count(
        pl.DataFrame({"x": [4.999, 5.0, 5.001, None, 5.0]}),
        Reference(8, (column,)),
    )
    assert counted == Counts(5, ((1, 2, 1),), (1,))


@pytest.mark.parametrize("values", [[], [None, None]])
def test_nothing_known_gives_one_bin_for_what_may_come(values: list[None]) -> None:
    column = numeric(values)
    assert (column.edges, column.counts, column.nulls) == ((), (0,), len(values))
    assert categorical(values).counts == (0,)


def test_what_is_no_ordinary_number() -> None:
    column = numeric([math.nan, None, -math.inf, math.inf, -0.0, 0.0, 1.0, 2.0], bins=2)
    assert (column.nulls, sum(column.counts)) == (2, 6)
    assert all(math.isfinite(edge) for edge in column.edges)
    assert "-0.0" not in Reference(8, (numeric([-0.0, 1.0], bins=2),)).to_json()
    assert numeric([True, False, True, None], dtype=pl.Boolean).counts == (1, 2)
    highest = math.nextafter(math.inf, 0)
    assert numeric([-highest, -highest]).edges == (-highest,)


@given(values=WORDS)
def test_categories_are_counted_as_they_are(values: list[str | None]) -> None:
    column = categorical(values)
    known = [value for value in values if value is not None]
    assert column.values == tuple(sorted(set(known)))
    assert column.counts == (*(known.count(value) for value in column.values), 0)
    assert column.nulls == len(values) - len(known)


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        ([3, 1, 10, 3], pl.Int64, ("1", "10", "3")),
        ([True, False], pl.Boolean, ("false", "true")),
        ([date(2026, 1, 2), None], pl.Date, ("2026-01-02",)),
        (["b", "a"], pl.Categorical, ("a", "b")),
    ],
)
def test_categories_of_every_type_are_text(values: list[Any], dtype: Any, texts: tuple[str, ...]) -> None:
    assert categorical(values, dtype).values == texts


def test_only_the_most_frequent_categories_are_kept() -> None:
    words = [f"w{number:03d}" for number in range(MAX_LEVELS + 5)]
    column = categorical([*words, *words[5:]])
    assert column.values == tuple(words[5:])
    assert column.counts[-1] == 5


def test_categories_that_were_never_seen_are_counted(frame: pl.DataFrame, reference: Reference) -> None:
    moved = frame.with_columns(city=pl.lit("Nîmes")).head(9)
    city = [column.column for column in reference.columns].index("city")
    assert count(moved, reference).bins[city] == (0, 0, 0, 9)


def test_the_users_of_the_fit_count_as_they_did(frame: pl.DataFrame, reference: Reference) -> None:
    counted = count(frame.reverse(), reference)
    assert counted.rows == reference.rows
    assert counted.bins == tuple(column.counts for column in reference.columns)
    assert counted.nulls == tuple(column.nulls for column in reference.columns)
    assert [column.kind for column in reference.columns] == ["numeric"] * 3 + ["categorical", "score"]


@given(cuts=st.lists(st.integers(0, 500), max_size=4))
def test_counts_add_up_over_any_cut_of_the_users(cuts: list[int]) -> None:
    values = [None if row % 7 == 0 else (row * 37) % 101 for row in range(500)]
    frame = pl.DataFrame({"x": values, "c": [None if v is None else f"{v % 9}" for v in values]})
    reference = fit_reference(frame.head(200), ["x"], ["c"], 10)
    limits = [0, *sorted(cuts), frame.height]
    total = count(frame.clear(), reference)
    for start, end in pairwise(limits):
        total = add(total, count(frame[start:end], reference))
    assert total == count(frame, reference)


def test_counts_of_different_references_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="zip"):
        add(Counts(1, ((1, 0),), (0,)), Counts(1, ((1,),), (0,)))


def test_a_reference_survives_json(reference: Reference) -> None:
    text = reference.to_json()
    again = Reference.from_json(text)
    assert again == reference
    assert again.to_json() == text
    assert len(text.splitlines()) == len(reference.columns) + 2
    assert Reference.from_json(Reference(0, ()).to_json()) == Reference(0, ())


def damaged(path: tuple[Any, ...], value: Any) -> str:
    columns = [
        {"column": "n", "kind": "numeric", "edges": [1.0, 2.0], "values": [], "counts": [1, 2, 3], "nulls": 0},
        {"column": "c", "kind": "categorical", "edges": [], "values": ["a", "b"], "counts": [1, 2, 0], "nulls": 3},
    ]
    document: dict[str, Any] = {"rows": 6, "columns": columns}
    Reference.from_json(json.dumps(document))
    *parents, last = path
    part: Any = document
    for key in parents:
        part = part[key]
    part[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows",), 7),
        (("rows",), "6"),
        (("rows",), 6.5),
        (("more",), 1),
        (("columns", 1, "column"), "n"),
        (("columns", 0, "kind"), "other"),
        (("columns", 0, "edges"), [2.0, 1.0]),
        (("columns", 0, "edges"), [1.0, 1.0]),
        (("columns", 0, "edges"), [1.0]),
        (("columns", 0, "edges"), [1.0, float("nan")]),
        (("columns", 0, "edges"), [1.0, float("inf")]),
        (("columns", 0, "values"), ["a"]),
        (("columns", 0, "counts"), [1, 2, 2]),
        (("columns", 0, "counts"), [1, 6, -1]),
        (("columns", 0, "counts"), [1.5, 2.5, 2]),
        (("columns", 0, "nulls"), None),
        (("columns", 1, "values"), ["b", "a"]),
        (("columns", 1, "values"), ["a", "a"]),
        (("columns", 1, "edges"), [1.0]),
        (("columns", 1, "nulls"), -3),
    ],
)
def test_a_damaged_reference_is_refused(path: tuple[Any, ...], value: Any) -> None:
    text = damaged(path, value)
    with pytest.raises(ValueError, match=r".+"):
        Reference.from_json(text)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"rows": 1}'])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Reference.from_json(text)
