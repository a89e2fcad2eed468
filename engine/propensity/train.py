"""Training of one propensity model on labelled rows of the past, and its measurement on later ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from engine.errors import DataError, IntegrityError
from engine.propensity.check_rows import candidate_rows, choose_rows
from engine.propensity.codes import fit_codes
from engine.propensity.matrix import column_problems, dtype_name, feature_matrix, unusable_columns
from engine.propensity.metrics import measure
from engine.propensity.model_text import canonical_text, feature_name, parse_model_text
from engine.propensity.predict import load_booster, load_scorer, predict_matrix
from engine.propensity.spec import ModelSpec, text_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from engine.config import Model, Target


_VALUES_PER_THREAD = 1_000_000


@dataclass(frozen=True)
class TrainedModel:
    """A model as it goes into a bundle: the text of its trees and everything else about it."""

    text: str
    spec: ModelSpec


def train(
    frame_train: pl.DataFrame,
    frame_valid: pl.DataFrame,
    features: Sequence[str],
    categorical: Sequence[str],
    target: Target,
    params: Model,
    seed: int,
    threads: int,
) -> TrainedModel:
    """A LightGBM model of `label`, and its quality on later rows.

    The same rows, in any order and with any number of threads, give the same text and spec. No row is weighted or drawn
    more than once, so the scores keep the scale of probabilities.

    Args:
        frame_train: One row per `user_id` and `anchor` with the features as of the anchor and `label`, whether the
            target's event happened in `[anchor, anchor + horizon_days)`. Nulls are missing values to LightGBM.
        frame_valid: The same for later anchors. Its rows are scored, never learned from.
        features: The columns to learn from, in the order of the model's columns.
        categorical: Those of `features` that are categories.
        target: What `label` says.
        params: Size and pace of the training.
        seed: Seed of everything LightGBM draws.
        threads: Threads LightGBM may use.

    Raises:
        DataError: A feature has a type no model can learn from or infinite values, or either frame has fewer than
            `params.min_positives` rows of one class.
        IntegrityError: A label is not 0 or 1, a row is repeated, or the training labels reach past a validation anchor.
    """
    _check_columns(frame_train, frame_valid, features, categorical, target)
    _check_rows(frame_train, frame_valid, target)
    _check_classes(frame_train, frame_valid, target, params)
    # LightGBM draws the rows for its histogram bins by position, and sums in row order.
    rows_train = frame_train.sort("anchor", "user_id")
    rows_valid = frame_valid.sort("anchor", "user_id")
    codes = fit_codes(rows_train, [name for name in features if name in categorical])
    matrix_train = feature_matrix(rows_train, features, codes)
    labels_train = rows_train.get_column("label").cast(pl.Int8).to_numpy()
    _check_finite(matrix_train, features, target)

    levels = {table.column: len(table.values) for table in codes}
    by_category = [name in levels for name in features]
    text, gains = _fit(matrix_train, labels_train, by_category, params, seed, _useful_threads(matrix_train, threads))
    trees = parse_model_text(text, by_category)
    booster = load_booster(text)
    candidates = candidate_rows(trees, [levels.get(name) for name in features], seed)
    leaves = np.asarray(booster.predict(candidates, pred_leaf=True, num_threads=threads))
    stored = candidates[choose_rows(leaves.reshape(len(candidates), -1))]
    matrix_valid = feature_matrix(rows_valid, features, codes)
    labels_valid = rows_valid.get_column("label").cast(pl.Int8).to_numpy()

    import lightgbm

    spec = ModelSpec(
        target=target,
        settings=params,
        seed=seed,
        features=tuple(features),
        dtypes=tuple(dtype_name(frame_train.schema[name]) for name in features),
        codes=codes,
        train_anchors=_anchors(frame_train),
        valid_anchors=_anchors(frame_valid),
        train_metrics=measure(labels_train, predict_matrix(booster, matrix_train, threads)),
        metrics=measure(labels_valid, predict_matrix(booster, matrix_valid, threads)),
        importance=tuple(sorted(zip(features, gains, strict=True), key=lambda entry: (-entry[1], entry[0]))),
        lightgbm_version=lightgbm.__version__,
        sha256=text_sha256(text),
        check_rows=tuple(tuple(None if np.isnan(value) else float(value) for value in row) for row in stored),
        check_scores=tuple(float(score) for score in predict_matrix(booster, stored, threads)),
    )
    load_scorer(text, spec)
    return TrainedModel(text=text, spec=spec)


def _useful_threads(matrix: NDArray[np.float64], threads: int) -> int:
    # Threads wait for each other at every split. With little data that gains nothing, and on busy cores it takes a
    # multiple of the time of one thread.
    return max(1, min(threads, matrix.size // _VALUES_PER_THREAD))


def _fit(
    matrix: NDArray[np.float64],
    labels: NDArray[np.int8],
    by_category: Sequence[bool],
    params: Model,
    seed: int,
    threads: int,
) -> tuple[str, list[float]]:
    import lightgbm

    settings: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": params.learning_rate,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.min_rows_per_leaf,
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
    data = lightgbm.Dataset(
        matrix,
        label=labels,
        feature_name=[feature_name(position) for position in range(len(by_category))],
        categorical_feature=[position for position, coded in enumerate(by_category) if coded],
        params=settings,
    )
    booster = lightgbm.train(settings, data, num_boost_round=params.trees)
    gains = [float(gain) for gain in booster.feature_importance("gain")]
    return canonical_text(booster.model_to_string()), gains


def _anchors(frame: pl.DataFrame) -> tuple[date, ...]:
    return tuple(frame.get_column("anchor").unique().sort())


def _check_columns(
    frame_train: pl.DataFrame,
    frame_valid: pl.DataFrame,
    features: Sequence[str],
    categorical: Sequence[str],
    target: Target,
) -> None:
    problems = unusable_columns(frame_train.schema, features, categorical)
    problems += [
        f"{name!r}: is categorical but not one of the features" for name in categorical if name not in features
    ]
    problems += [f"{name!r}: is listed more than once" for name in sorted({*features}) if features.count(name) > 1]
    if not features:
        problems.append("there is no feature to learn from")
    if not problems:
        expected = {name: dtype_name(frame_train.schema[name]) for name in features}
        problems = [f"{line} (validation)" for line in column_problems(frame_valid.schema, expected)]
    if problems:
        message = f"target {target.name!r} cannot be trained on these features:\n" + "\n".join(
            f"  - {line}" for line in problems
        )
        raise DataError(message, code="model-features", hint="leave the columns out, or convert them in the source")


def _check_rows(frame_train: pl.DataFrame, frame_valid: pl.DataFrame, target: Target) -> None:
    problems = []
    for name, frame in (("training", frame_train), ("validation", frame_valid)):
        labels = frame.get_column("label").cast(pl.Int64)
        if not labels.is_in([0, 1]).fill_null(value=False).all():
            problems.append(f"{name}: a label is not 0 or 1")
        if frame.select("anchor", "user_id").is_duplicated().any():
            problems.append(f"{name}: a user has two rows at one anchor")
    train_anchors, valid_anchors = _anchors(frame_train), _anchors(frame_valid)
    if train_anchors and valid_anchors:
        end = train_anchors[-1] + timedelta(days=target.horizon_days)
        if end > valid_anchors[0]:
            problems.append(f"training labels reach to {end}, past the validation anchor {valid_anchors[0]}")
    if problems:
        message = f"the rows of target {target.name!r} are wrong:\n" + "\n".join(f"  - {line}" for line in problems)
        raise IntegrityError(message, code="model-rows")


def _check_classes(frame_train: pl.DataFrame, frame_valid: pl.DataFrame, target: Target, params: Model) -> None:
    lines = []
    too_few = False
    for name, frame in (("training", frame_train), ("validation", frame_valid)):
        positives = int(frame.get_column("label").cast(pl.Int64).sum())
        negatives = frame.height - positives
        too_few |= min(positives, negatives) < params.min_positives
        lines.append(f"  - {name}: {frame.height} rows, {positives} positive, {negatives} negative")
    if too_few:
        message = (
            f"target {target.name!r} ({target.event!r} within {target.horizon_days} days) has too little to learn "
            f"from; expected at least {params.min_positives} positive and as many negative rows in each:\n"
        ) + "\n".join(lines)
        hint = "take a longer event log, a longer horizon_days or a more frequent event, or lower model.min_positives"
        raise DataError(message, code="model-too-few-positives", hint=hint)


def _check_finite(matrix: NDArray[np.float64], features: Sequence[str], target: Target) -> None:
    infinite = [name for name, column in zip(features, matrix.T, strict=True) if np.isinf(column).any()]
    if infinite:
        message = f"target {target.name!r}: infinite values in the features " + ", ".join(map(repr, infinite))
        raise DataError(message, code="model-features", hint="replace infinite contact attributes by null")
