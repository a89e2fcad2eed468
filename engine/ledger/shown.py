"""Values as they stand in a reason: short, the same on every machine."""

from __future__ import annotations

from typing import Final

import polars as pl

NONE: Final = "none"
"""A value that is not there."""
UNKNOWN: Final = "unknown"
"""A value that the tables of the date do not have."""

_DECIMALS: Final = 6
_LARGE: Final = 1e9
_SMALL: Final = 1e-3
_TEXT_LENGTH: Final = 60


def shown(values: pl.Series) -> pl.Series:
    """Each value as text: numbers without trailing zeros, with 6 decimals at most; days as `YYYY-MM-DD`; text quoted.

    Null and NaN are `none`; Boolean values `true` and `false`; text of more than 60 letters is cut.
    """
    dtype, value = values.dtype, pl.col("value")
    if dtype.is_float():
        magnitude = value.abs()
        # Rounding to decimals would take all digits of the smallest numbers; the largest have none to lose.
        rounded = (
            pl.when(magnitude >= _LARGE)
            .then(value)
            .when((magnitude < _SMALL) & (magnitude > 0))
            .then(value.round_sig_figs(_DECIMALS))
            .otherwise(value.round(_DECIMALS))
        )
        # −0 is 0.
        unsigned = pl.when(rounded == 0).then(pl.lit(0.0, dtype)).otherwise(rounded.fill_nan(None))
        text = unsigned.cast(pl.String).str.strip_suffix(".0")
    elif dtype == pl.String:
        cut = pl.when(value.str.len_chars() > _TEXT_LENGTH).then(value.str.head(_TEXT_LENGTH) + "…").otherwise(value)
        text = pl.lit("'") + cut.str.replace_all("'", "''", literal=True) + pl.lit("'")
    elif dtype == pl.Date:
        text = value.dt.to_string("%Y-%m-%d")
    else:
        text = value.cast(pl.String)
    return values.alias("value").to_frame().select(text.fill_null(NONE).alias("text"))["text"]
