from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.ledger.shown import shown


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([29, None, -3], dtype=pl.Int8), ["29", "none", "-3"]),
        (pl.Series([0.5, 31.0, -0.0, 1 / 3, float("nan"), None]), ["0.5", "31", "0", "0.333333", "none", "none"]),
        (pl.Series([1.5e-7, 1234567.25, 3e12, 0.1 + 0.2]), ["1.5e-7", "1234567.25", "3000000000000", "0.3"]),
        (pl.Series([True, False, None]), ["true", "false", "none"]),
        (pl.Series([date(2018, 1, 31), None]), ["2018-01-31", "none"]),
        (pl.Series(["Évry", "l'an", None, ""]), ["'Évry'", "'l''an'", "none", "''"]),
        (pl.Series(["x" * 61]), ["'" + "x" * 60 + "…'"]),
        (pl.Series([], dtype=pl.Float64), []),
    ],
)
def test_values_are_short_and_stable(values: pl.Series, expected: list[str]) -> None:
    assert shown(values).to_list() == expected
