"""Why a user has a score: what each feature adds to the log-odds (SHAP), and the greatest of it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from engine.errors import IntegrityError
from engine.propensity.matrix import feature_matrix
from engine.propensity.predict import load_scorer
from engine.propensity.sentences import plain_value, sentence

if TYPE_CHECKING:
    import lightgbm
    from numpy.typing import NDArray

    from engine.propensity.train import TrainedModel
    from engine.propensity.wording import Wording

TOLERANCE: Final = 1e-9
"""Log-odds by which the sum of the contributions may miss the raw score."""


def reasons_schema(user_dtype: pl.DataType) -> dict[str, pl.DataType]:
    """Name and type of the columns of `reasons`."""
    return {
        "user_id": user_dtype,
        "target": pl.String(),
        "rank": pl.Int32(),
        "feature": pl.String(),
        "value": pl.String(),
        "direction": pl.String(),
        "contribution": pl.Float64(),
        "sentence": pl.String(),
    }


def reasons(frame: pl.DataFrame, model: TrainedModel, wording: Wording, *, top: int, threads: int) -> pl.DataFrame:
    """The features that move each user's score the most.

    Contributions are those to the log-odds of the trees, before calibration, against the mean of the training rows.
    Calibration is monotone: it changes the size of an effect, never its direction.

    Args:
        frame: One row per user: `user_id` and the features of the model in the types they had in training.
        model: The model that scored them.
        wording: The words for the features.
        top: Features per user at most; those that add nothing are left out.
        threads: Threads LightGBM may use; they change no number.

    Returns:
        One row per user and rank (1 is the greatest by size, equal ones in the order of the model's columns) in the
        order of `frame`: `user_id`, `target`, `rank`, `feature`, `value` (as text, a category by its name, null when
        missing), `direction` (`raises` or `lowers`), `contribution` (log-odds), `sentence`.

    Raises:
        IntegrityError: The model is damaged, or the contributions do not add up to the raw score.
    """
    spec = model.spec
    booster = load_scorer(model.text, spec).booster
    parts, _ = contributions(booster, feature_matrix(frame, spec.features, spec.codes), threads)
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :top]
    rows: list[tuple[object, ...]] = []
    for row, user in enumerate(frame.get_column("user_id")):
        for rank, position in enumerate(order[row].tolist(), start=1):
            added = float(parts[row, position])
            if added == 0:
                break
            name = spec.features[position]
            value = frame[row, name]
            raises = added > 0
            rows.append(
                (
                    *(user, spec.target.name, rank, name, plain_value(value), "raises" if raises else "lowers", added),
                    sentence(name, value, wording, raises=raises),
                )
            )
    return pl.DataFrame(rows, reasons_schema(frame.schema["user_id"]), orient="row")


def contributions(
    booster: lightgbm.Booster, matrix: NDArray[np.float64], threads: int
) -> tuple[NDArray[np.float64], float]:
    """What each feature adds to the log-odds of each row, and the log-odds that all rows start from.

    Tree SHAP (Lundberg, Erion and Lee, 2018, Consistent individualized feature attribution for tree ensembles).

    Args:
        booster: The model.
        matrix: Encoded features in the model's order, one row per user.
        threads: Threads LightGBM may use.

    Returns:
        A matrix of the same shape, and the base value.

    Raises:
        IntegrityError: A row's contributions and the base value do not add up to its raw score within `TOLERANCE`.
    """
    if not len(matrix):
        return np.zeros_like(matrix), 0.0
    found = np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=threads), dtype=np.float64)
    raw = np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads), dtype=np.float64)
    missed = np.abs(found.sum(axis=1) - raw)
    wrong = np.flatnonzero(~(missed <= TOLERANCE))
    if wrong.size:
        message = (
            f"the contributions of {wrong.size} of {len(matrix)} rows do not add up to their raw scores: "
            f"row {wrong[0]} misses {raw[wrong[0]]} by {missed[wrong[0]]}"
        )
        raise IntegrityError(message, code="explanation-sum", hint="report it; the scores themselves are not affected")
    return found[:, :-1], float(found[0, -1])
