from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.config import Model, Target
from engine.errors import DataError, IntegrityError
from engine.propensity.row_checks import check_finite, check_frames, monotone_problems
from engine.propensity.train import Frames

PARTS = ("training", "validation", "test")
ONE = ["orders_count_90d"]

Change = Callable[[pl.DataFrame], pl.DataFrame]


def changed(frames: Frames, part: str, change: Change) -> Frames:
    found = dict(zip(PARTS, (frames.train, frames.valid, frames.test), strict=True))
    found[part] = change(found[part])
    return Frames(*found.values())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kept", [0, 19])
@pytest.mark.parametrize("rare", [True, False])
def test_too_few_of_one_class_stop_the_fit(frames: Frames, target: Target, part: str, kept: int, rare: bool) -> None:
    def thin(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([frame.filter(pl.col("label") == rare).head(kept), frame.filter(pl.col("label") != rare)])

    thinned = changed(frames, part, thin)
    with pytest.raises(DataError) as caught:
        check_frames(thinned, ONE, [], target, Model(min_positives=20), "dates")
    assert caught.value.code == "model-too-few-positives"
    assert "'buys' (purchase within 30 days)" in str(caught.value)
    for name, frame in zip(PARTS, (thinned.train, thinned.valid, thinned.test), strict=True):
        positives = frame.get_column("label").sum()
        line = f"{name}: {frame.height} rows, {positives} positive, {frame.height - positives} negative"
        assert line in str(caught.value)


@pytest.mark.parametrize("rows", [0, 10, 199])
def test_too_few_training_rows_stop_the_fit(frames: Frames, target: Target, rows: int) -> None:
    absent = target.model_copy(update={"absent": True})
    with pytest.raises(DataError) as caught:
        check_frames(Frames(frames.train.head(rows), frames.valid, frames.test), ONE, [], absent, Model(), "dates")
    assert caught.value.code == "model-too-few-rows"
    assert f"training: {rows} rows" in str(caught.value)
    assert "at least 200 training rows" in str(caught.value)
    assert "no purchase within 30 days" in str(caught.value)


def test_features_no_model_can_learn_from_are_all_named(frames: Frames, target: Target) -> None:
    features = ["anchor", "city", "gone", "orders_count_90d", "orders_count_90d"]
    params = Model(monotone={"order_count_90d": "increasing", "city": "decreasing"})
    with pytest.raises(DataError) as caught:
        check_frames(frames, features, ["label"], target, params, "dates")
    assert caught.value.code == "model-features"
    for name in ("'anchor'", "'city'", "'gone'", "'orders_count_90d'", "'label'", "'order_count_90d'"):
        assert f"- {name}" in str(caught.value) or f"feature {name}" in str(caught.value)


def test_no_features_are_too_few(frames: Frames, target: Target) -> None:
    with pytest.raises(DataError, match="no feature to learn from"):
        check_frames(frames, [], [], target, Model(), "dates")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_rows_of_another_type_are_refused(frames: Frames, target: Target, part: str) -> None:
    wrong = changed(frames, part, lambda frame: frame.with_columns(pl.col("orders_count_90d").cast(pl.Float64)))
    with pytest.raises(DataError, match=rf"expected Int64, got Float64 \({part}\)"):
        check_frames(wrong, ONE, [], target, Model(), "dates")


def test_infinite_values_are_counted(target: Target) -> None:
    matrix = np.array([[1.0, np.inf, np.nan], [2.0, -np.inf, 0.0], [3.0, 1.0, 1.0]])
    check_finite({"training": matrix[:, [0, 2]]}, ["a", "c"], target)
    with pytest.raises(DataError) as caught:
        check_finite({"training": matrix, "test": matrix[:1]}, ["a", "b", "c"], target)
    assert caught.value.message.splitlines()[1:] == ["  - 'b': 2 of 3 training rows", "  - 'b': 1 of 1 test rows"]


def test_monotone_names_must_be_numeric_features() -> None:
    features = ["orders_count_90d", "city"]
    assert monotone_problems({"orders_count_90d": "increasing"}, features, ["city"]) == []
    assert monotone_problems(["order_count_90d", "city"], features, ["city"]) == [
        "model.monotone: no feature 'order_count_90d' (did you mean 'orders_count_90d'?)",
        "model.monotone: 'city' is a category, its values have no order",
    ]


def days(count: int) -> Change:
    return lambda frame: frame.with_columns(pl.col("anchor") + timedelta(days=count))


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        ("training", lambda frame: frame.with_columns(label=pl.lit(2)), "training: a label is not 0 or 1"),
        ("test", lambda frame: frame.with_columns(label=pl.lit(None, pl.Boolean)), "test: a label is not 0 or 1"),
        (
            "validation",
            lambda frame: frame.with_columns(user_id=pl.lit(1, pl.Int64)),
            "validation: a user has two rows at one anchor",
        ),
        (
            "training",
            lambda frame: frame.with_columns(anchor=pl.lit(date(2024, 1, 31))),
            "training: a user has two rows at one anchor",
        ),
        ("training", days(1), "training labels reach to 2024-03-02, past the validation anchor 2024-03-01"),
        ("validation", days(1), "validation labels reach to 2024-04-01, past the test anchor 2024-03-31"),
        ("test", lambda frame: frame.with_columns(pl.col("user_id") - 990), "training and test rows share 990 users"),
    ],
)
def test_rows_that_would_teach_something_false_are_refused(
    frames: Frames, target: Target, part: str, change: Change, problem: str
) -> None:
    check_frames(frames, ONE, [], target, Model(), "dates")
    with pytest.raises(IntegrityError, match=re.escape(problem)) as caught:
        check_frames(changed(frames, part, change), ONE, [], target, Model(), "dates")
    assert caught.value.code == "model-rows"


def test_users_may_be_in_every_part_when_none_are_kept_for_the_test(frames: Frames, target: Target) -> None:
    same = changed(frames, "test", lambda frame: frame.with_columns(pl.col("user_id") - 1000))
    check_frames(same, ONE, [], target, Model(test_users=0), "dates")


def test_parts_apart_by_users_share_anchors_and_no_user(frames: Frames, target: Target) -> None:
    at_once = changed(frames, "validation", lambda frame: frame.with_columns(anchor=pl.lit(date(2024, 1, 31))))
    others = changed(at_once, "validation", lambda frame: frame.with_columns(pl.col("user_id") + 5000))
    check_frames(others, ONE, [], target, Model(), "users")
    with pytest.raises(IntegrityError, match="training and validation rows share 1000 users"):
        check_frames(at_once, ONE, [], target, Model(), "users")
    with pytest.raises(IntegrityError, match="past the validation anchor"):
        check_frames(others, ONE, [], target, Model(), "dates")
    early = changed(others, "test", days(-31))
    with pytest.raises(IntegrityError, match="training labels reach to 2024-03-01, past the test anchor 2024-02-29"):
        check_frames(early, ONE, [], target, Model(), "users")
