from __future__ import annotations

from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.quality.unit import ValueBins
from engine.quality.values import FEWEST, PER_OCTAVE, far_out, value_bins


def bin_of(value: int) -> int:
    frame = pl.DataFrame({"type": [0], "amount": [value]}, {"type": pl.UInt16, "amount": pl.Int64})
    [one] = value_bins(frame, ["amount"], {0: "buy"})
    [(place, rows)] = one.bins
    assert rows == 1
    return place


@given(st.integers(1, 2**53) | st.integers(0, 62).map(lambda octave: 2**octave))
def test_a_bin_is_four_times_the_binary_logarithm(value: int) -> None:
    octave = value.bit_length() - 1
    part = int((Fraction(value, 2**octave) - 1) * PER_OCTAVE)
    assert bin_of(value) == bin_of(-value) == PER_OCTAVE * octave + part


def test_the_ends_of_64_bits_have_a_bin() -> None:
    assert bin_of(2**63 - 1) == bin_of(-(2**63)) == 4 * 63


def test_values_are_counted_by_type_and_column_without_zeros_and_nulls() -> None:
    frame = pl.DataFrame(
        {"type": [1, 1, 0, 0, 1], "amount": [8, 9, None, 0, 16], "quantity": [1, None, 2, 2, 0]},
        {"type": pl.UInt16, "amount": pl.Int64, "quantity": pl.Int64},
    )
    assert value_bins(frame, ["amount", "quantity"], {0: "b", 1: "a"}) == (
        ValueBins("a", "amount", ((12, 2), (16, 1))),
        ValueBins("a", "quantity", ((0, 1),)),
        ValueBins("b", "quantity", ((4, 2),)),
    )


@pytest.mark.parametrize(
    ("bins", "rows"),
    [
        # All alike: only what is eight times as large, or an eighth, is far out.
        (((40, 100), (40 + 12, 1)), 0),
        (((40, 100), (40 + 13, 1)), 1),
        (((40 - 13, 2), (40, 100)), 2),
        # Quartiles eight bins apart: three times that from them.
        (((36, 30), (40, 40), (44, 30), (44 + 24, 1)), 0),
        (((36, 30), (40, 40), (44, 30), (44 + 25, 1)), 1),
    ],
)
def test_dq06_what_is_far_out(bins: tuple[tuple[int, int], ...], rows: int) -> None:
    found = far_out(bins)
    assert found is not None
    assert (found.rows, found.values) == (rows, sum(number for _, number in bins))


def test_of_few_values_nothing_is_told() -> None:
    assert far_out(((40, FEWEST - 1),)) is None
    assert far_out(()) is None
