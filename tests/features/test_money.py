from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.money import major_units, minor_units


@given(
    minor=st.lists(st.none() | st.integers(-(10**15), 10**15), min_size=1, max_size=50),
    digits=st.integers(0, 6),
)
def test_the_quotient_is_the_nearest_float(minor: list[int | None], digits: int) -> None:
    frame = pl.DataFrame({"minor": pl.Series(minor, dtype=pl.Int64)})
    expected = [None if value is None else value / 10**digits for value in minor]
    lazily = frame.lazy().select(major_units(pl.col("minor"), digits)).collect()
    assert lazily.to_series().to_list() == expected
    assert frame.select(major_units(pl.col("minor"), digits)).to_series().to_list() == expected
    assert lazily.schema["minor"] == pl.Float64


@pytest.mark.parametrize("cents", [35, 41, 57, 69])
def test_cents_equal_the_number_as_it_is_written(cents: int) -> None:
    frame = pl.DataFrame({"minor": [cents]})
    [found] = frame.select(major_units(pl.col("minor"), 2)).to_series()
    assert found == float(f"0.{cents}")


@given(
    minor=st.lists(st.none() | st.integers(1 - 2**51, 2**51 - 1) | st.sampled_from([2**51 - 1]), min_size=1),
    digits=st.integers(0, 6),
)
def test_minor_units_come_back(minor: list[int | None], digits: int) -> None:
    frame = pl.DataFrame({"minor": pl.Series(minor, dtype=pl.Int64)})
    back = frame.select(minor_units(major_units(pl.col("minor"), digits), digits))
    assert back.equals(frame)
