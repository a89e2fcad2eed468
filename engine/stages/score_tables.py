"""The tables that tell the scores of a whole run in a few rows, from the counts of its buckets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

from engine.segments import rfm_grid, score_bins
from engine.stages.scoring import ScoreRecord

if TYPE_CHECKING:
    import polars as pl


def score_tables(buckets: Sequence[ScoreRecord], currency_digits: int) -> dict[str, pl.DataFrame | None]:
    """`rfm_grid`, None without RFM scores, and `score_distribution`.

    Args:
        buckets: What became of the buckets.
        currency_digits: Decimals of the minor unit.
    """
    cells = [bucket.rfm for bucket in buckets if bucket.rfm is not None]
    bins = reduce(score_bins.add, (bucket.score_bins for bucket in buckets))
    return {
        "rfm_grid": rfm_grid.rfm_grid(reduce(rfm_grid.add, cells), currency_digits) if cells else None,
        "score_distribution": score_bins.score_distribution(bins),
    }
