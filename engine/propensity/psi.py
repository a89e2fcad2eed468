"""The population stability index: how far the users of a run are from the users of the fit, column by column.

    PSI = Σ (now − then) · ln(now / then)        over the shares of rows in each bin

Siddiqi 2006, *Credit Risk Scorecards*: below 0.1 little has changed, from 0.25 on much has. Nulls are a bin of their
own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from engine.stable_math import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.propensity.drift import ColumnReference, Counts, Reference

PSI_SCHEMA: Final = pl.Schema(
    {
        "column": pl.String(),
        "kind": pl.String(),
        "psi": pl.Float64(),
        "chance": pl.Float64(),
        "null_share_then": pl.Float64(),
        "null_share_now": pl.Float64(),
        "unseen": pl.Int64(),
        "unseen_share": pl.Float64(),
        "unseen_share_then": pl.Float64(),
        "rows": pl.Int64(),
    }
)
"""Columns of `psi_table`."""

# Rows that an empty bin counts as where the other side has some: the index would be infinite.
_FLOOR: Final = 0.5
# Normal quantile at 99.9 %: of a hundred columns without drift, one in ten runs has one above `chance`.
_NORMAL_999: Final = 3.090232306167813


def psi_table(reference: Reference, counts: Counts) -> pl.DataFrame:
    """How far every column has moved since the fit.

    A bin that is empty on one side counts as half a row there; one that is empty on both sides does not count. Of few
    users the index is large without any drift: about (bins − 1) · (1/rows then + 1/rows now), distributed as chi-square
    (Yurdakul 2018, *Statistical Properties of Population Stability Index*). `chance` is its 99.9 % point, by the
    approximation of Wilson and Hilferty (1931); a smaller `psi` says nothing.

    Args:
        reference: The users of the fit.
        counts: The users of the run, counted with this reference.

    Returns:
        One row per column, key `column`, the greatest `psi` first; see `PSI_SCHEMA`. `unseen` are rows with a category
        that is none of the reference's (null for numbers and scores), shares are of all `rows`. Figures that need rows
        which are not there are null.

    Raises:
        ValueError: The counts are of another reference.
    """
    shapes = [len(column.counts) for column in reference.columns]
    if [len(bins) for bins in counts.bins] != shapes or len(counts.nulls) != len(shapes):
        message = f"expected counts of {len(shapes)} columns with {shapes} bins, got {[len(b) for b in counts.bins]}"
        raise ValueError(message)
    rows = [
        _compare(column, reference.rows, bins, nulls, counts.rows)
        for column, bins, nulls in zip(reference.columns, counts.bins, counts.nulls, strict=True)
    ]
    table = pl.DataFrame(rows, PSI_SCHEMA, orient="row")
    return table.sort("psi", "column", descending=[True, False], nulls_last=True)


def stability_index(then: Sequence[int], now: Sequence[int]) -> tuple[float, float] | tuple[None, None]:
    """The index of two histograms with the same bins, and its `chance`, as `psi_table` explains them.

    Args:
        then: Rows per bin.
        now: The same of the rows that are compared with them.

    Returns:
        Two nulls when there are no rows on one side.
    """
    rows_then, rows_now = sum(then), sum(now)
    if not rows_then or not rows_now:
        return None, None
    both = np.array([then, now], dtype=np.float64)
    used = both[:, both.any(axis=0)]
    shares_then, shares_now = np.maximum(used, _FLOOR) / np.array([[rows_then], [rows_now]])
    psi = math.fsum((shares_now - shares_then) * log(shares_now / shares_then))
    return psi, _chi_square_999(used.shape[1] - 1) * (1 / rows_then + 1 / rows_now)


def _compare(
    column: ColumnReference, rows_then: int, bins: tuple[int, ...], nulls: int, rows: int
) -> tuple[str | float | None, ...]:
    psi, chance = stability_index((*column.counts, column.nulls), (*bins, nulls))
    unseen = bins[-1] if column.kind == "categorical" else None
    unseen_then = column.counts[-1] if column.kind == "categorical" else None
    return (
        column.column,
        column.kind,
        psi,
        chance,
        _share(column.nulls, rows_then),
        _share(nulls, rows),
        unseen,
        _share(unseen, rows),
        _share(unseen_then, rows_then),
        rows,
    )


def _chi_square_999(freedom: int) -> float:
    if freedom < 1:
        return 0.0
    part = 2 / (9 * freedom)
    root = 1 - part + _NORMAL_999 * math.sqrt(part)
    return freedom * root * root * root


def _share(count: int | None, rows: int) -> float | None:
    return None if count is None or not rows else count / rows
