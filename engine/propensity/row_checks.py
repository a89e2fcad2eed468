"""What is checked of labelled rows before a model learns from them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from engine.errors import DataError, IntegrityError
from engine.propensity.matrix import column_problems, dtype_name, unusable_columns
from engine.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from engine.config import Model, Target
    from engine.propensity.train import Frames

_PARTS: Final = ("training", "validation", "test")


def check_frames(
    frames: Frames, features: Sequence[str], categorical: Sequence[str], target: Target, params: Model, apart: str
) -> None:
    """Stop unless the rows can teach and judge a model of `target`.

    Args:
        frames: One row per `user_id` and `anchor`, with `label` and the features.
        features: The columns to learn from.
        categorical: Those of them that are categories.
        target: What `label` says.
        params: The least numbers of rows, and what share of the users is kept for the test.
        apart: "dates" or "users", as `engine.propensity.spec.ModelSpec.apart`.

    Raises:
        DataError: Features of a type no model can learn from, a monotone constraint on what is no numeric feature, or
            too few rows or too few of one class; with all the numbers.
        IntegrityError: A label is not 0 or 1, a row is repeated, a label window reaches into later features, or a user
            is in two parts that must not share users.
    """
    _check_columns(frames, features, categorical, target, params)
    _check_rows(frames, target, params, apart)
    _check_numbers(frames, target, params)


def check_finite(matrices: Mapping[str, NDArray[np.float64]], features: Sequence[str], target: Target) -> None:
    """Stop when a feature has infinite values.

    Args:
        matrices: Per part of the rows, its encoded features.
        features: The names of the columns.
        target: Named in the message.

    Raises:
        DataError: All such features, and the number of rows of each part.
    """
    problems = []
    for part, matrix in matrices.items():
        counts = np.count_nonzero(np.isinf(matrix), axis=0)
        problems += [
            f"  - {name!r}: {count} of {len(matrix)} {part} rows"
            for name, count in zip(features, counts, strict=True)
            if count
        ]
    if problems:
        message = f"target {target.name!r}: infinite values in the features\n" + "\n".join(problems)
        raise DataError(message, code="model-features", hint="replace infinite contact attributes by null")


def monotone_problems(monotone: Collection[str], features: Sequence[str], categorical: Collection[str]) -> list[str]:
    """One line per name of `model.monotone` that is no feature of the models, or has no order to follow."""
    problems = [
        f"model.monotone: no feature {name!r}{did_you_mean(name, features)}"
        for name in monotone
        if name not in features
    ]
    problems += [
        f"model.monotone: {name!r} is a category, its values have no order"
        for name in monotone
        if name in features and name in categorical
    ]
    return problems


def anchors_of(frame: pl.DataFrame) -> tuple[date, ...]:
    """The anchors of labelled rows, ascending."""
    return tuple(frame.get_column("anchor").unique().sort())


def _parts(frames: Frames) -> Iterator[tuple[str, pl.DataFrame]]:
    return zip(_PARTS, (frames.train, frames.valid, frames.test), strict=True)


def _check_columns(
    frames: Frames, features: Sequence[str], categorical: Sequence[str], target: Target, params: Model
) -> None:
    schema = frames.train.schema
    problems = unusable_columns(schema, features, categorical)
    problems += [
        f"{name!r}: is categorical but not one of the features" for name in categorical if name not in features
    ]
    problems += [f"{name!r}: is listed more than once" for name in sorted({*features}) if features.count(name) > 1]
    problems += monotone_problems(params.monotone, features, categorical)
    if not features:
        problems.append("there is no feature to learn from")
    if not problems:
        expected = {name: dtype_name(schema[name]) for name in features}
        problems = [
            f"{line} ({part})" for part, frame in _parts(frames) for line in column_problems(frame.schema, expected)
        ]
    if problems:
        message = f"target {target.name!r} cannot be trained on these features:\n" + "\n".join(
            f"  - {line}" for line in problems
        )
        raise DataError(message, code="model-features", hint="leave the columns out, or convert them in the source")


def _check_rows(frames: Frames, target: Target, params: Model, apart: str) -> None:
    problems = []
    for part, frame in _parts(frames):
        labels = frame.get_column("label").cast(pl.Int64)
        if not labels.is_in([0, 1]).fill_null(value=False).all():
            problems.append(f"{part}: a label is not 0 or 1")
        if frame.select("anchor", "user_id").is_duplicated().any():
            problems.append(f"{part}: a user has two rows at one anchor")
    orders = [("validation", frames.valid, "test", frames.test)]
    if apart == "dates":
        orders.append(("training", frames.train, "validation", frames.valid))
    else:
        orders.append(("training", frames.train, "test", frames.test))
    for earlier, before, later, after in orders:
        problems += _overlap(earlier, anchors_of(before), later, anchors_of(after), target)
    separate = [("training", frames.train, "validation", frames.valid)] if apart == "users" else []
    if params.test_users > 0:
        separate += [(part, frame, "test", frames.test) for part, frame in _parts(frames) if part != "test"]
    for one, first, other, second in separate:
        shared = first.join(second, on="user_id", how="semi").get_column("user_id").n_unique()
        if shared:
            problems.append(f"{one} and {other} rows share {shared} users")
    if problems:
        message = f"the rows of target {target.name!r} are wrong:\n" + "\n".join(f"  - {line}" for line in problems)
        raise IntegrityError(message, code="model-rows")


def _overlap(
    earlier: str, before: tuple[date, ...], later: str, after: tuple[date, ...], target: Target
) -> Iterator[str]:
    if before and after:
        end = before[-1] + timedelta(days=target.horizon_days)
        if end > after[0]:
            yield f"{earlier} labels reach to {end}, past the {later} anchor {after[0]}"


def _check_numbers(frames: Frames, target: Target, params: Model) -> None:
    lines, classes = [], []
    for part, frame in _parts(frames):
        positives = int(frame.get_column("label").cast(pl.Int64).sum())
        classes += [positives, frame.height - positives]
        lines.append(f"  - {part}: {frame.height} rows, {positives} positive, {frame.height - positives} negative")
    if frames.train.height >= params.min_rows and min(classes) >= params.min_positives:
        return
    message = (
        f"target {target.name!r} ({_described(target)}) has too little to learn from; expected at least "
        f"{params.min_rows} training rows, and {params.min_positives} positive and as many negative rows per part:\n"
    ) + "\n".join(lines)
    if frames.train.height < params.min_rows:
        raise DataError(
            message,
            code="model-too-few-rows",
            hint="take a longer event log, more users or more model.train_anchors, or lower model.min_rows",
        )
    raise DataError(
        message,
        code="model-too-few-positives",
        hint="take a longer event log, a longer horizon_days or a more frequent event, or lower model.min_positives",
    )


def _described(target: Target) -> str:
    what = target.event or str(target.preset)
    return f"{'no ' if target.absent else ''}{what} within {target.horizon_days} days"
