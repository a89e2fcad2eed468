"""Labels: whether the target's event came in `[anchor, anchor + horizon)`, and at which anchors that is asked.

One function gives the labels for training, validation and test, and later those against which published scores are
checked. Features at an anchor see the days before it, labels the days from it on, so no event is on both sides. Days
are days of the configured zone, whatever their number of hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from engine.config import Model, Target
from engine.errors import DataError
from engine.events.condition import condition

Apart = Literal["dates", "users"]
"""How validation rows are kept from training rows: at later anchors, or at the same ones with other users."""


def target_condition(target: Target) -> tuple[pl.Expr, tuple[str, ...]]:
    """The target's `where` over encoded events, and the canonical columns it reads.

    Amounts are compared in major units, as they are written in the configuration.

    Raises:
        ConfigError: It does not parse, names another column, or is not a condition.
    """
    if target.where is None:
        return pl.lit(value=True), ()
    return condition(target.where, f"targets.{target.name}.where", code="target-where")


def positives(daily: pl.DataFrame, target: Target, code: int, anchor_day: int) -> pl.Series:
    """Users (their numbers, each once, ascending) with the target's event in `[anchor, anchor + horizon)`.

    Args:
        daily: `user`, `type`, `day`, `events`; partials.
        target: The target; whether its event or its absence is predicted plays no part.
        code: Code of the target's events, under its condition.
        anchor_day: Days since 1970-01-01.
    """
    inside = (pl.col("day") >= anchor_day) & (pl.col("day") < anchor_day + target.horizon_days)
    window = daily.lazy().filter((pl.col("type") == code) & inside & (pl.col("events") > 0))
    return window.select("user").unique().sort("user").collect()["user"]


def labels_of(users: pl.Series, daily: pl.DataFrame, target: Target, code: int, anchor_day: int) -> pl.Series:
    """The label of every user: whether what the target predicts came true in `[anchor, anchor + horizon)`.

    Args:
        users: Numbers of the users to label, whether or not they have rows in `daily`.
        daily: `user`, `type`, `day`, `events`; partials, up to the end of the label window at least.
        target: The target; with `absent` the label is true where the event did not come.
        code: Code of the target's events, under its condition.
        anchor_day: Days since 1970-01-01; for published scores the `as_of` of their run.

    Returns:
        Boolean without nulls, one per user, in the order of `users`. The population is not looked at: whoever is
        outside it has no label, and no score.
    """
    came = users.is_in(positives(daily, target, code, anchor_day).implode())
    return (~came if target.absent else came).alias("label")


@dataclass(frozen=True)
class Anchors:
    """The anchor days of a target by what their rows are for; latest first, days since 1970-01-01.

    Attributes:
        test, valid, train: Rows that measure the model, that stop its training and calibrate it, that it learns from.
        apart: With "users", `valid` and `train` are the same days and the users are cut in two.
    """

    test: tuple[int, ...]
    valid: tuple[int, ...]
    train: tuple[int, ...]
    apart: Apart


def anchors(target: Target, as_of_day: int, settings: Model) -> tuple[int, ...]:
    """The anchor days that a target would like to have, latest first.

    They are a horizon apart and the last label window ends at `as_of`, so label windows never overlap.
    """
    wanted = settings.test_anchors + settings.valid_anchors + settings.train_anchors
    return tuple(as_of_day - target.horizon_days * step for step in range(1, wanted + 1))


def all_anchors(targets: Iterable[Target], as_of_day: int, settings: Model) -> tuple[int, ...]:
    """Every anchor day that some target would like to have, ascending."""
    return tuple(sorted({day for target in targets for day in anchors(target, as_of_day, settings)}))


def split_anchors(days: Sequence[int], settings: Model) -> Anchors:
    """Test, validation and training anchors out of the days that the log has.

    The latest days test, those before them validate, the others train. Where there are fewer days than wanted, there
    is at least one of each kind, and days go to the later kind first. Of two days the earlier one both trains and
    validates, with different users.

    Args:
        days: Anchor days of one target that have events before them, latest first.
        settings: How many of each kind are wanted.

    Raises:
        DataError: There are fewer than two days.
    """
    if len(days) < 2:
        raise DataError(
            f"{len(days)} of the 2 anchor days that a model needs have events before them",
            code="history-too-short",
            hint="Take a longer log or a shorter horizon_days.",
        )
    if len(days) == 2:
        latest, earlier = days
        return Anchors((latest,), (earlier,), (earlier,), "users")
    tests = min(settings.test_anchors, len(days) - 2)
    valids = min(settings.valid_anchors, len(days) - tests - 1)
    learned = tests + valids
    train = days[learned : learned + settings.train_anchors]
    return Anchors(tuple(days[:tests]), tuple(days[tests:learned]), tuple(train), "dates")
