"""Gradient boosting of one binary label by LightGBM, stopped where the validation rows stop gaining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.propensity.model_text import canonical_text, feature_name
from engine.stable_math import exp, log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.config import Model

_VALUES_PER_THREAD: Final = 1_000_000
_STEPS, _NEAR, _SMALL = 20, 1e-6, 1e-300
_SIGNS: Final = {"increasing": 1, "decreasing": -1}


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded features (one row per row, one column per feature, NaN is missing) and a label of 0 or 1 per row."""

    matrix: NDArray[np.float64]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class Boosted:
    """A boosted model, cut after its best round.

    Attributes:
        text: The canonical text of its trees.
        gains: Gain of every feature, summed over the splits of the trees kept.
        trees: Trees kept.
        loss: Mean log loss (nats) of the validation rows with these trees.
    """

    text: str
    gains: tuple[float, ...]
    trees: int
    loss: float


def boost(
    train: Rows,
    valid: Rows,
    features: Sequence[str],
    categorical: Sequence[bool],
    params: Model,
    seed: int,
    threads: int,
) -> Boosted:
    """Trees learned from `train`, as many as lower the log loss of `valid`.

    The same rows in the same order give the same text for any number of threads. No row is weighted or drawn more than
    once, however rare the label is, so scores keep the scale of probabilities (resampling would have to be undone:
    Pozzolo et al. 2015, "Calibrating probability with undersampling for unbalanced classification").

    Args:
        train: The rows learned from.
        valid: The rows that decide how many trees are kept; `params.early_stopping_rounds` without a better loss end
            the training. With 0 of them every tree is kept.
        features: Names of the columns, as `params.monotone` knows them.
        categorical: One entry per feature: whether its values are codes of categories.
        params: Size and pace of the training.
        seed: Seed of everything LightGBM draws.
        threads: Threads LightGBM may use.
    """
    import lightgbm

    settings = _settings(features, params, seed, useful_threads(train.matrix, threads))
    data = lightgbm.Dataset(
        train.matrix,
        label=train.labels,
        feature_name=[feature_name(position) for position in range(len(features))],
        categorical_feature=[position for position, coded in enumerate(categorical) if coded],
        params=settings,
    )
    booster = lightgbm.Booster(settings, data)
    booster.add_valid(lightgbm.Dataset(valid.matrix, label=valid.labels, reference=data, params=settings), "valid")

    odds = 1.0

    def loss(probabilities: NDArray[np.float64], _: object) -> tuple[str, float, bool]:
        nonlocal odds
        shifted = probabilities
        if params.calibration != "none":
            # The best factor moves little from round to round: where the last one stood, few steps are left.
            odds = best_odds(valid.labels, probabilities, odds)
            shifted = at_odds(probabilities, odds)
        return "loss", mean_log_loss(valid.labels, shifted), False

    best_trees, best_loss = 0, math.inf
    waited = 0
    for _ in range(params.trees):
        exhausted = booster.update()
        # Other features may be drawn for the next tree; with all of them, nothing would change any more.
        if exhausted and best_trees and params.feature_share == 1:
            break
        now = float(booster.eval_valid(feval=loss)[0][2])
        waited += 1
        if not best_trees or params.early_stopping_rounds == 0 or now < best_loss:
            best_trees, best_loss, waited = booster.current_iteration(), now, 0
        elif waited >= params.early_stopping_rounds:
            break
    # A tree of one leaf is written in another way by the booster that made it than by one that has read it.
    read = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best_trees))
    return Boosted(
        text=canonical_text(read.model_to_string()),
        gains=tuple(float(gain) for gain in booster.feature_importance("gain", iteration=best_trees)),
        trees=best_trees,
        loss=best_loss,
    )


def best_odds(labels: NDArray[np.int8], probabilities: NDArray[np.float64], start: float) -> float:
    """The factor on the odds of all rows with the least log loss; it makes the mean probability the rate of the rows.

    Newton's method on its logarithm, from `start`; in sums over the rows in their order.
    """
    factor, positives = start, float(np.count_nonzero(labels))
    for _ in range(_STEPS):
        shifted = at_odds(probabilities, factor)
        slope = _total(shifted) - positives
        step = slope / max(_total(shifted * (1.0 - shifted)), _SMALL)
        factor *= float(exp(-min(max(step, -1.0), 1.0)))
        if abs(step) < _NEAR:
            break
    return factor


def at_odds(probabilities: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Probabilities whose odds are `factor` times those given (Saerens et al. 2002)."""
    favourable = probabilities * factor
    return favourable / (1.0 - probabilities + favourable)


def mean_log_loss(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log likelihood in nats, summed in row order.

    LightGBM's own figure is summed in one part per thread; its last bits would decide between equal rounds.
    """
    likelihood = np.where(labels == 1, probabilities, 1.0 - probabilities)
    eps = np.finfo(np.float64).eps
    return -_total(log(np.clip(likelihood, eps, 1.0))) / labels.size


def _total(values: NDArray[np.float64]) -> float:
    return float(np.bincount(np.zeros(values.size, dtype=np.int8), weights=values)[0])


def useful_threads(matrix: NDArray[np.float64], threads: int) -> int:
    """Threads, up to `threads`, that make the training of so many values faster.

    Threads wait for each other at every split. With little data that gains nothing, and on busy cores it takes a
    multiple of the time of one thread.
    """
    return max(1, min(threads, matrix.size // _VALUES_PER_THREAD))


def _settings(features: Sequence[str], params: Model, seed: int, threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "objective": "binary",
        "metric": "none",
        "learning_rate": params.learning_rate,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.min_rows_per_leaf,
        "feature_fraction": params.feature_share,
        "lambda_l2": params.l2,
        "seed": seed,
        "num_threads": threads,
        "verbosity": -1,
        "deterministic": True,
        # A histogram by column is summed by one thread in row order; histograms by row, and those of features bundled
        # into one, are summed in one part per thread.
        "force_col_wise": True,
        "enable_bundle": False,
        "feature_pre_filter": False,
    }
    if params.monotone:
        settings["monotone_constraints"] = [_SIGNS.get(params.monotone.get(name, ""), 0) for name in features]
    return settings
