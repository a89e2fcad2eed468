"""Scores of users from a stored model, and the checks that stand between the two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import IntegrityError
from engine.propensity.matrix import column_problems, feature_matrix
from engine.propensity.model_text import parse_model_text
from engine.propensity.spec import ModelSpec, text_sha256

if TYPE_CHECKING:
    import lightgbm
    import polars as pl
    from numpy.typing import NDArray

_TOLERANCE = 1e-12
_RESTORE = "restore the bundle from a copy, or make a new one with `tamis fit`"


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model that passed every check and is ready to predict."""

    spec: ModelSpec
    booster: lightgbm.Booster


@lru_cache(maxsize=32)
def load_scorer(model_text: str, spec: ModelSpec) -> Scorer:
    """The model of a text and its spec; kept, so that the tasks of one process load it once.

    The text reaches LightGBM only after its checksum and every line of it were checked, and the loaded model is
    believed only after it gave the stored scores of the stored rows.

    Raises:
        IntegrityError: The checksum, the text or the scores do not fit.
    """
    digest = text_sha256(model_text)
    if digest != spec.sha256:
        message = f"the propensity model {spec.target.name!r} is damaged: sha256 {digest}, expected {spec.sha256}"
        raise IntegrityError(message, code="model-sha256", hint=_RESTORE)
    parse_model_text(model_text, spec.categorical)
    booster = load_booster(model_text)
    _check_stored_scores(booster, spec)
    return Scorer(spec=spec, booster=booster)


def load_booster(model_text: str) -> lightgbm.Booster:
    """LightGBM's model of a text that `parse_model_text` has accepted."""
    import lightgbm

    return lightgbm.Booster(model_str=model_text)


def _check_stored_scores(booster: lightgbm.Booster, spec: ModelSpec) -> None:
    rows = np.array(spec.check_rows, dtype=np.float64)
    scores = predict_matrix(booster, rows, threads=1)
    expected = np.array(spec.check_scores)
    wrong = np.flatnonzero(~(np.abs(scores - expected) <= _TOLERANCE))
    if wrong.size:
        row = int(wrong[0])
        message = (
            f"the propensity model {spec.target.name!r} gives other scores than when it was trained for "
            f"{wrong.size} of {expected.size} stored rows: row {row} scores {scores[row]}, expected {expected[row]}"
        )
        raise IntegrityError(message, code="model-scores", hint=_RESTORE)


def predict(frame: pl.DataFrame, scorer: Scorer, threads: int) -> NDArray[np.float64]:
    """The propensity of each row of `frame`, in its order: a probability in `[0, 1]`.

    Columns are found by name, whatever their order; others than the model's features are ignored. The result is the
    same for any number of threads and any way of cutting the rows into frames.

    Args:
        frame: One row per user, with the features of `scorer.spec` in the types they had in training.
        scorer: From `load_scorer`.
        threads: Threads LightGBM may use.

    Raises:
        IntegrityError: Features are missing or have another type (all are named), or a score is not a probability.
    """
    spec = scorer.spec
    problems = column_problems(frame.schema, dict(zip(spec.features, spec.dtypes, strict=True)))
    if problems:
        message = f"the features do not fit the propensity model {spec.target.name!r}:\n" + "\n".join(
            f"  - {line}" for line in problems
        )
        hint = "the bundle was made with another configuration or other contacts; make a new one with `tamis fit`"
        raise IntegrityError(message, code="model-columns", hint=hint)
    scores = predict_matrix(scorer.booster, feature_matrix(frame, spec.features, spec.codes), threads)
    wrong = int(np.count_nonzero(~((scores >= 0) & (scores <= 1))))
    if wrong:
        message = f"the propensity model {spec.target.name!r} gave {wrong} scores that are not between 0 and 1"
        raise IntegrityError(message, code="model-scores", hint=_RESTORE)
    return scores


def predict_matrix(booster: lightgbm.Booster, matrix: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    """Probabilities for rows of encoded features in the model's order."""
    if not len(matrix):
        return np.empty(0, dtype=np.float64)
    # Without num_threads LightGBM takes every core, or as many as it was trained with.
    return np.asarray(booster.predict(matrix, num_threads=threads), dtype=np.float64)
