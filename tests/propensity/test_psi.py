from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.drift import ColumnReference, Counts, Reference, count, fit_reference
from engine.propensity.psi import PSI_SCHEMA, psi_table

BINS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=8)


def row_of(then: list[int], now: list[int], nulls: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    edges = tuple(float(edge) for edge in range(len(then) - 1))
    column = ColumnReference("x", "numeric", edges, (), tuple(then), nulls[0])
    counts = Counts(sum(now) + nulls[1], (tuple(now),), (nulls[1],))
    return psi_table(Reference(sum(then) + nulls[0], (column,)), counts).row(0, named=True)


def index(then: list[int], now: list[int]) -> float:
    rows_then, rows_now = sum(then), sum(now)
    total = 0.0
    for before, after in zip(then, now, strict=True):
        if before or after:
            share_then, share_now = max(before, 0.5) / rows_then, max(after, 0.5) / rows_now
            total += (share_now - share_then) * math.log(share_now / share_then)
    return total


def test_the_index_by_hand() -> None:
    # (0.4 − 0.5) ln 0.8 + (0.6 − 0.5) ln 1.2
    row = row_of([50, 50], [80, 120])
    assert row["psi"] == pytest.approx(0.0405465, abs=1e-7)
    assert row["rows"] == 200


@given(pairs=BINS, nulls=st.tuples(st.integers(0, 50), st.integers(0, 50)))
def test_the_index_is_that_of_the_definition(pairs: list[tuple[int, int]], nulls: tuple[int, int]) -> None:
    then, now = [before for before, _ in pairs], [after for _, after in pairs]
    row = row_of(then, now, nulls)
    if sum(then) + nulls[0] and sum(now) + nulls[1]:
        assert row["psi"] == pytest.approx(index([*then, nulls[0]], [*now, nulls[1]]), rel=1e-12, abs=1e-14)
        assert row["null_share_then"] == nulls[0] / (sum(then) + nulls[0])
        assert row["null_share_now"] == nulls[1] / (sum(now) + nulls[1])
    else:
        assert row["psi"] is None
        assert row["chance"] is None


def test_the_same_shares_have_an_index_of_zero() -> None:
    assert row_of([10, 30, 0], [100, 300, 0], (5, 50))["psi"] == 0.0


def test_a_bin_that_is_empty_on_one_side_is_half_a_row() -> None:
    expected = 0.3 * 0 + (0.1 - 0.005) * math.log(0.1 / 0.005) + (0.9 - 1.0) * math.log(0.9)
    assert row_of([100, 0], [90, 10])["psi"] == pytest.approx(expected)
    assert math.isfinite(row_of([0, 1], [1, 0])["psi"])


def test_nulls_are_a_bin() -> None:
    assert row_of([100], [50], (0, 50))["psi"] > 2
    assert row_of([0], [10], (10, 0))["psi"] > 2


@pytest.mark.parametrize(("bins", "percentile"), [(2, 10.828), (3, 13.816), (10, 27.877), (20, 43.820)])
def test_chance_is_a_percentile_of_chi_square(bins: int, percentile: float) -> None:
    row = row_of([40] * bins, [20] * bins)
    scale = 1 / (40 * bins) + 1 / (20 * bins)
    assert row["chance"] == pytest.approx(percentile * scale, rel=0.04)
    assert row_of([100], [50])["chance"] == 0.0


def test_users_drawn_as_those_of_the_fit_stay_below_chance() -> None:
    generator = np.random.default_rng(11)
    frame = pl.DataFrame({f"x{number}": generator.normal(size=3000) for number in range(60)})
    reference = fit_reference(frame.head(1000), frame.columns, [], 10)
    table = psi_table(reference, count(frame.tail(150), reference))
    assert (table["psi"] < table["chance"]).mean() > 0.95
    moved = psi_table(reference, count(frame.tail(150) + 1, reference))
    assert (moved["psi"] > moved["chance"]).all()
    assert (moved["psi"] > 0.25).all()


def test_one_row_per_column_the_greatest_index_first() -> None:
    frame = pl.DataFrame(
        {
            "b": list(range(100)),
            "a": list(range(100)),
            "city": ["Évry"] * 60 + ["Paris"] * 39 + [None],
            "propensity_buys": [step / 100 for step in range(90)] + [None] * 10,
        }
    )
    reference = fit_reference(frame, ["b", "a"], ["city"], 4, ["propensity_buys"])
    now = frame.with_columns(city=pl.col("city").str.replace("Paris", "Nîmes"))
    table = psi_table(reference, count(now.with_columns(b=pl.col("b") + 50), reference))
    assert table.schema == PSI_SCHEMA
    assert table["column"].to_list() == ["city", "b", "a", "propensity_buys"]
    assert table["kind"].to_list() == ["categorical", "numeric", "numeric", "score"]
    assert table["psi"].to_list() == sorted(table["psi"], reverse=True)
    assert table["unseen"].to_list() == [39, None, None, None]
    assert table["unseen_share"].to_list() == [0.39, None, None, None]
    assert table["unseen_share_then"].to_list() == [0.0, None, None, None]
    assert table["null_share_now"].to_list() == [0.01, 0.0, 0.0, 0.1]


def test_a_run_of_nobody_has_no_figures() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]})
    reference = fit_reference(frame, ["x"], ["c"], 10)
    table = psi_table(reference, count(frame.clear(), reference))
    assert table.schema == PSI_SCHEMA
    assert table.select("psi", "null_share_now", "unseen_share").null_count().row(0) == (2, 2, 2)
    assert table["rows"].to_list() == [0, 0]
    assert psi_table(Reference(0, ()), Counts(0, (), ())).schema == PSI_SCHEMA


@pytest.mark.parametrize("counts", [Counts(1, ((1,),), (0,)), Counts(1, (), ()), Counts(1, ((1, 0),), ())])
def test_counts_of_another_reference_are_refused(counts: Counts) -> None:
    reference = Reference(2, (ColumnReference("x", "numeric", (0.0,), (), (1, 1), 0),))
    with pytest.raises(ValueError, match="expected counts of 1 columns"):
        psi_table(reference, counts)
