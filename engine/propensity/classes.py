"""What a probability means among the users: percentile, decile and class, beside the score itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from engine.propensity.spec import ModelSpec

UNLIKELY: Final = "unlikely"
"""The class below all those of the settings."""

_PERCENTILES = 100
_DECILES = 10


def score_cuts(scores: ArrayLike) -> tuple[float, ...]:
    """The 99 scores that cut users into hundredths: type-1 quantiles (Hyndman and Fan 1996), ascending.

    Each is the score of a user, so nothing is interpolated. Where many users share a score, neighbours are equal.

    Args:
        scores: One probability per user, in any order.

    Returns:
        99 scores; none without users.

    Raises:
        ValueError: A score is not between 0 and 1.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if not ((ordered >= 0) & (ordered <= 1)).all():
        message = "expected scores between 0 and 1"
        raise ValueError(message)
    if not ordered.size:
        return ()
    ranks = -(-np.arange(1, _PERCENTILES) * ordered.size // _PERCENTILES)
    return tuple(float(score) for score in ordered[ranks - 1])


def rank_columns(target_name: str, scores: pl.Series, spec: ModelSpec) -> list[pl.Series]:
    """Percentile, decile and class of each score; null where the score is null.

    The percentile is the number of `spec.cuts` below the score, which is the whole per cent of the users of the fit who
    scored lower: 99 for the top hundredth, 0 for the bottom one. The decile follows from it. Users of equal score are
    never parted: isotonic calibration gives one probability to many users (a plateau), and all of them get the
    percentile of the lowest of them. So deciles need not be of equal size, and with a plateau at the top nobody has
    decile 1.

    The class is the highest one whose multiple of `spec.base_rate` the score reaches. A class that would need a
    probability above 1 has no users.

    Args:
        target_name: Part of the names of the columns.
        scores: Calibrated probabilities (Float64), null where there is none.
        spec: The cuts, the base rate and, in its settings, the classes.

    Returns:
        `propensity_<t>_percentile` (Int8, 0 to 99), `propensity_<t>_decile` (Int8, 1 is the highest) and
        `propensity_<t>_class` (String); the first two are null when the model has no cuts.
    """
    known = pl.DataFrame({"known": scores.is_not_null()})
    values = scores.fill_null(0.0).to_numpy()
    percentile = np.searchsorted(np.array(spec.cuts, dtype=np.float64), values, side="left").astype(np.int8)
    names, multiples = _ascending(spec.settings.classes)
    reached = np.searchsorted(multiples * spec.base_rate, values, side="right")
    ranked = {
        "percentile": pl.Series(percentile),
        "decile": pl.Series(_DECILES - percentile // _DECILES, dtype=pl.Int8),
        "class": pl.Series([UNLIKELY, *names], dtype=pl.String).gather(reached),
    }
    unknown = () if spec.cuts else ("percentile", "decile")
    columns = known.select(
        pl.when("known" if name not in unknown else pl.lit(value=False))
        .then(pl.lit(column))
        .otherwise(None)
        .alias(f"propensity_{target_name}_{name}")
        for name, column in ranked.items()
    )
    return columns.get_columns()


def _ascending(classes: Mapping[str, float]) -> tuple[list[str], NDArray[np.float64]]:
    ordered = sorted(classes.items(), key=lambda item: (item[1], item[0]))
    return [name for name, _ in ordered], np.array([multiple for _, multiple in ordered], dtype=np.float64)
