"""Drift of a whole score run: the counts of its buckets together, compared with the fit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING

from engine.propensity.drift import Counts, Reference, add
from engine.propensity.psi import psi_table

if TYPE_CHECKING:
    import polars as pl


def compare(reference: Reference | None, buckets: Iterable[Counts | None]) -> pl.DataFrame | None:
    """The users of all buckets beside the users of the fit; None when the bundle has nothing to compare with.

    Args:
        reference: The bundle's.
        buckets: `ScoreRecord.drift` of every bucket.

    Returns:
        What `engine.propensity.psi.psi_table` gives: one row per feature and score, the greatest PSI first.
    """
    counts = [bucket for bucket in buckets if bucket is not None]
    if reference is None or not counts:
        return None
    return psi_table(reference, reduce(add, counts))
