"""Scores of users from a stored model, and the checks that stand between the two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.errors import IntegrityError
from engine.propensity.backend import LoadedModel, load_model, model_scores
from engine.propensity.calibration import calibrate
from engine.propensity.matrix import column_problems, feature_matrix
from engine.propensity.spec import ModelSpec, text_sha256

if TYPE_CHECKING:
    import lightgbm
    import polars as pl
    from numpy.typing import NDArray

_TOLERANCE = 1e-12
# Rows that are made into numbers at a time: a fraction of the memory that the numbers of all of them would take.
_SLICE = 65_536
_RESTORE = "restore the bundle from a copy, or make a new one with `tamis fit`"


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model that passed every check and is ready to predict."""

    spec: ModelSpec
    model: LoadedModel

    @property
    def booster(self) -> lightgbm.Booster:
        """The model in LightGBM."""
        return self.model.booster

    @property
    def backend(self) -> Literal["kernel", "lightgbm"]:
        """What predicts: `kernel` once it paid to load it, else `lightgbm`. The scores are the same, bit for bit."""
        return self.model.backend

    @property
    def note(self) -> str:
        """Why LightGBM predicts where the kernel would have been faster; empty otherwise."""
        return self.model.note


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
    scorer = Scorer(spec=spec, model=load_model(model_text, spec.categorical))
    _check_stored_scores(scorer)
    return scorer


def _check_stored_scores(scorer: Scorer) -> None:
    spec = scorer.spec
    scores = raw_scores(scorer, np.array(spec.check_rows, dtype=np.float64), threads=1)
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
    """The propensity of each row of `frame`, in its order: a calibrated probability in `[0, 1]`.

    Columns are found by name, whatever their order; others than the model's features are ignored. The result is the
    same for any number of threads and any way of cutting the rows into frames.

    Args:
        frame: One row per user, with the features of `scorer.spec` in the types they had in training.
        scorer: From `load_scorer`.
        threads: Threads that may be used.

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
    scores = np.empty(frame.height, dtype=np.float64)
    for start in range(0, frame.height, _SLICE):
        part = frame.slice(start, _SLICE)
        matrix = feature_matrix(part, spec.features, spec.codes)
        scores[start : start + part.height] = raw_scores(scorer, matrix, threads)
    scores = calibrate(spec.calibration, scores)
    wrong = int(np.count_nonzero(~((scores >= 0) & (scores <= 1))))
    if wrong:
        message = f"the propensity model {spec.target.name!r} gave {wrong} scores that are not between 0 and 1"
        raise IntegrityError(message, code="model-scores", hint=_RESTORE)
    return scores


def raw_scores(scorer: Scorer, matrix: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    """The model's probability for each row of encoded features, before calibration."""
    return model_scores(scorer.model, matrix, threads)
