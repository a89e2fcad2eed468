"""Training of one propensity model on labelled rows of the past, its calibration and its judgement on later rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from engine.propensity.alarms import empty_features, feature_alarms, score_alarm, shift_alarm
from engine.propensity.backend import load_model, model_scores
from engine.propensity.baseline import baseline_scores, fit_baseline
from engine.propensity.boosting import Rows, boost
from engine.propensity.calibration import calibrate, fit_calibration, reliability
from engine.propensity.check_rows import candidate_rows, choose_rows
from engine.propensity.codes import cut_levels, fit_codes
from engine.propensity.gates import judge
from engine.propensity.importance import permutation_importance
from engine.propensity.intervals import bootstrap
from engine.propensity.matrix import column_problems, dtype_name, feature_matrix
from engine.propensity.metrics import measure
from engine.propensity.predict import load_scorer, predict
from engine.propensity.row_checks import anchors_of, check_finite, check_frames
from engine.propensity.spec import LEARNED_PARTS, ModelSpec, text_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm
    from numpy.typing import NDArray

    from engine.config import Model, Target
    from engine.propensity.codes import CodeTable
    from engine.propensity.spec import Trial


@dataclass(frozen=True)
class TrainedModel:
    """A model as it goes into a bundle: the text of its trees and everything else about it."""

    text: str
    spec: ModelSpec


@dataclass(frozen=True, eq=False)
class Frames:
    """Labelled rows of one target.

    Each has one row per `user_id` and `anchor` (Date) with the features as of the anchor and `label` (Boolean): what
    the target says of `[anchor, anchor + horizon_days)`. Users outside the target's population at an anchor have none.

    Attributes:
        train: The rows that trees and baseline learn from.
        valid: The rows that decide when to stop, and calibrate the scores.
        test: Rows of later anchors, which only measure.
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


def train(  # noqa: PLR0913 - rows, names, settings, and where the rows come from
    frames: Frames,
    features: Sequence[str],
    categorical: Sequence[str],
    target: Target,
    params: Model,
    seed: int,
    threads: int,
    *,
    incumbent: TrainedModel | None = None,
    apart: Literal["dates", "users"] = "dates",
    sampled: Sequence[tuple[str, int, int]] = (),
    tuned: Sequence[Trial] = (),
) -> TrainedModel:
    """A model of `label`, calibrated, and judged on the test rows; what was measured is what is returned.

    The same rows, in any order and with any number of threads, give the same text and spec.

    Args:
        frames: The rows. Nulls are missing values.
        features: The columns to learn from, in the order of the model's columns.
        categorical: Those of `features` that are categories.
        target: What `label` says.
        params: Size and pace of the training, and the least that it needs.
        seed: Seed of everything that is drawn.
        threads: Threads LightGBM may use.
        incumbent: The model in use for the same target, to compare with on the same rows.
        apart: What keeps validation rows from training rows: "dates" or "users".
        sampled: Parts of the rows that were too many: the part, its rows before and its rows in `frames`.
        tuned: The trials that `params` won.

    Raises:
        DataError: As `engine.propensity.row_checks.check_frames` and `check_finite`.
        IntegrityError: As `engine.propensity.row_checks.check_frames`.
    """
    check_frames(frames, features, categorical, target, params, apart)
    # LightGBM draws the rows for its histogram bins by position, and sums in row order.
    ordered = Frames(*(frame.sort("anchor", "user_id") for frame in (frames.train, frames.valid, frames.test)))
    codes = fit_codes(ordered.train, [name for name in features if name in categorical])
    fitting, holding, test = (_rows(frame, features, codes) for frame in (ordered.train, ordered.valid, ordered.test))
    matrices = {"training": fitting.matrix, "validation": holding.matrix, "test": test.matrix}
    check_finite(matrices, features, target)

    levels_of = {table.column: len(table.values) for table in codes}
    levels = [levels_of.get(name) for name in features]
    by_category = [count is not None for count in levels]
    boosted = boost(fitting, holding, features, by_category, params, seed, threads)
    model = load_model(boosted.text, by_category)
    stored = _stored_rows(model.booster, candidate_rows(model.trees, levels, seed), threads)
    calibration = fit_calibration(holding.labels, model_scores(model, holding.matrix, threads), params.calibration)

    def probabilities(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        return calibrate(calibration, model_scores(model, matrix, threads))

    scores = probabilities(test.matrix)
    known = np.concatenate((fitting.labels, holding.labels))
    opponent = _baseline_probabilities(fitting, holding, test, levels, params)
    in_use, not_compared = _incumbent_probabilities(incumbent, ordered.test, target, threads)
    import lightgbm

    spec = ModelSpec(
        target=target,
        settings=params,
        seed=seed,
        features=tuple(features),
        dtypes=tuple(dtype_name(frames.train.schema[name]) for name in features),
        codes=codes,
        train_anchors=anchors_of(frames.train),
        valid_anchors=anchors_of(frames.valid),
        test_anchors=anchors_of(frames.test),
        apart=apart,
        trees=boosted.trees,
        sampled=tuple(sampled),
        train_metrics=measure(fitting.labels, probabilities(fitting.matrix)),
        metrics=measure(test.labels, scores),
        intervals=tuple(bootstrap(test.labels, scores, seed).items()),
        baseline=measure(test.labels, opponent),
        reliability=reliability(test.labels, scores),
        learned=tuple(
            (part, rows.labels.size, int(np.count_nonzero(rows.labels)))
            for part, rows in zip(LEARNED_PARTS, (fitting, holding), strict=True)
        ),
        base_rate=int(np.count_nonzero(known)) / known.size,
        calibration=calibration,
        importance=tuple(sorted(zip(features, boosted.gains, strict=True), key=lambda entry: (-entry[1], entry[0]))),
        permutation=permutation_importance(
            lambda matrix: model_scores(model, matrix, threads),
            test.matrix,
            test.labels,
            features,
            seed,
            used={name for name, gain in zip(features, boosted.gains, strict=True) if gain > 0},
        ),
        cuts=(),
        verdict=judge(test.labels, scores, opponent, in_use, seed),
        alarms=(
            *feature_alarms(fitting.matrix, fitting.labels, features, params.leak_auc, categorical=categorical),
            *_score_alarms(target, known, test.labels, scores),
        ),
        notes=(*_empty(fitting, features), *cut_levels(ordered.train, codes), *not_compared),
        tuned=tuple(tuned),
        lightgbm_version=lightgbm.__version__,
        sha256=text_sha256(boosted.text),
        check_rows=tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in stored),
        check_scores=tuple(float(score) for score in model_scores(model, stored, threads)),
    )
    load_scorer(boosted.text, spec)
    return TrainedModel(text=boosted.text, spec=spec)


def _rows(frame: pl.DataFrame, features: Sequence[str], codes: Sequence[CodeTable]) -> Rows:
    return Rows(feature_matrix(frame, features, codes), frame.get_column("label").cast(pl.Int8).to_numpy())


def _stored_rows(booster: lightgbm.Booster, candidates: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    leaves = np.asarray(booster.predict(candidates, pred_leaf=True, num_threads=threads))
    return candidates[choose_rows(leaves.reshape(len(candidates), -1))]


def _score_alarms(
    target: Target, known: NDArray[np.int8], labels: NDArray[np.int8], scores: NDArray[np.float64]
) -> list[str]:
    before, after = int(np.count_nonzero(known)), int(np.count_nonzero(labels))
    alarms = (score_alarm(scores), shift_alarm(target.name, before, known.size, after, labels.size))
    return [alarm for alarm in alarms if alarm is not None]


def _empty(rows: Rows, features: Sequence[str]) -> tuple[str, ...]:
    empty = empty_features(rows.matrix, features)
    return (f"no training row has a value of: {', '.join(map(repr, empty))}",) if empty else ()


def _baseline_probabilities(
    fitting: Rows, holding: Rows, test: Rows, levels: Sequence[int | None], params: Model
) -> NDArray[np.float64]:
    """Probabilities of the test rows from a baseline that was fitted and calibrated on the rows that the model was."""
    baseline = fit_baseline(fitting, levels)
    calibration = fit_calibration(holding.labels, baseline_scores(baseline, holding.matrix), params.calibration)
    return calibrate(calibration, baseline_scores(baseline, test.matrix))


def _incumbent_probabilities(
    incumbent: TrainedModel | None, test: pl.DataFrame, target: Target, threads: int
) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Probabilities of the test rows from the model in use, or why there are none."""
    if incumbent is None:
        return None, ()
    spec = incumbent.spec
    if spec.target != target:
        return None, ("the model in use is of another definition of the target and was not compared with",)
    problems = column_problems(test.schema, dict(zip(spec.features, spec.dtypes, strict=True)))
    if problems:
        return None, (f"the model in use needs other features and was not compared with: {'; '.join(problems)}",)
    return predict(test, load_scorer(incumbent.text, spec), threads), ()
