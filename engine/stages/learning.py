"""The tasks of `fit`: features and labels at the anchor dates per bucket, then one task per thing that is learnt.

What is learnt from the labels is in `engine.stages.target_learning`.

In: parts of the log. Between the two kinds of tasks stand Parquet files with one row per user; what comes back to the
driver is small: edges, centroids, model texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from engine.config import CustomerValue, Model, Rfm, Target
from engine.consent.inputs import LACKS
from engine.consent.permits import Permits, Withheld
from engine.errors import DataError
from engine.features.build import MONETARY_MINOR
from engine.features.spec import FeatureSpec
from engine.features.windows import EPOCH
from engine.propensity.drift import Reference
from engine.propensity.labels import anchors, positives
from engine.propensity.train import TrainedModel
from engine.rollups.bucket import Bucket, Shelf, load_bucket
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.segments.rfm_scores import RfmEdges, learn_edges, rfm_columns
from engine.stages.accounts import AccountFiles, join_accounts
from engine.stages.features import bucket_rows, features_at, target_positions, unusable_users, usable_features
from engine.stages.labelled import Labels, with_populations
from engine.stages.permitting import permitted_rows
from engine.stages.reduced import Usable, bare_rows, usable
from engine.stages.target_learning import (
    DriftTask,
    NoReduced,
    ReducedModel,
    TargetTask,
    learn_drift,
    learn_full,
    learn_reduced,
    learn_target,
    scan_rows,
)
from engine.stages.users import HAS_CONTACT, bucket_contacts, kept_events
from engine.value.counts import count_files
from engine.value.model import ValueModel, fit_value

_ENGAGEMENT_PERCENTILE = 99


@dataclass(frozen=True)
class MatrixTask:
    """One bucket of users, to be turned into rows to learn from.

    Attributes:
        anchors: Anchor days that the log has (days since 1970-01-01), ascending.
        model: How many anchors of each kind are wanted.
        folder: Where `current-*.parquet` and `anchor-<day>-*.parquet` are written.
        accounts: The sums of every account, at `as_of` and at the anchors.
        permits: What users agreed to; None where nobody was asked and nobody objects.
    """

    bucket: int
    keys: KeyRange
    shelf: Shelf
    contacts: str | None
    contact_columns: tuple[str, ...]
    as_of_day: int
    anchors: tuple[int, ...]
    spec: FeatureSpec
    targets: tuple[Target, ...]
    model: Model
    folder: str
    accounts: AccountFiles = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class TargetUsers:
    """Whose events a target's labels are made of: ids that do not match show here.

    Attributes:
        with_event: Users with the target's event in some label window.
        with_both: Those of them with an event of another type before the anchor of such a window.
        with_others: Users with an event of another type before the latest anchor.
    """

    with_event: int
    with_both: int
    with_others: int


@dataclass(frozen=True)
class ReducedRows:
    """Rows to learn reduced models from.

    Attributes:
        full: Users at `as_of` who lack no purpose of an input.
        users: Users at `as_of` with an event that is no input.
        current: File with their features at `as_of`.
        rows: Per anchor day, the file and its number of rows.
    """

    full: int
    users: int
    current: str
    rows: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True)
class MatrixRecord:
    """What a bucket gave.

    Attributes:
        users: Users with an event before `as_of`.
        kept: Their events.
        contacts_matched: Those of them who have a contact.
        current: File with their features at `as_of`.
        rows: Per anchor day, the file and its number of rows.
        targets: One per target, in their order.
        withheld: Users with events before `as_of` of whom nothing is computed, these among them.
        reduced: Where inputs ask for purposes, the rows without any of them, of all users; `current` then tells who
            lacks a purpose, and `rows` are of the users who lack none.
    """

    users: int
    kept: int
    contacts_matched: int
    current: str
    rows: tuple[tuple[int, str, int], ...]
    targets: tuple[TargetUsers, ...] = ()
    reduced: ReducedRows | None = None
    withheld: Withheld = field(default_factory=Withheld)


def build_matrices(task: MatrixTask) -> MatrixRecord:
    """Features of one bucket at `as_of` and at every anchor, with a label per target that uses the anchor.

    The label is null outside the target's population, which is told from the features at the anchor.
    """
    bucket = load_bucket(task.shelf, task.keys)
    kept = kept_events(bucket.daily, task.spec)
    users, bucket, withheld = permitted_rows(bucket, task.spec, task.targets, task.permits, task.keys)
    contacts = bucket_contacts(users, task.contacts, task.keys, task.contact_columns)

    def users_at(day: int) -> pl.DataFrame:
        return contacts.join(users, day)

    mine = usable(bucket, task.shelf.kinds, task.permits, task.keys)
    ready = bucket_rows(bucket if mine is None else mine.bucket, task.spec)
    daily = bucket.daily if mine is None else mine.bucket.daily

    def at(day: int) -> pl.DataFrame:
        found = features_at(ready, day, task.spec)
        found = found if mine is None else usable_features(found, mine, task.spec)
        features = users_at(day).join(found, on="user", how="inner", maintain_order="right")
        return join_accounts(features, task.accounts, day, task.spec)

    labels = Labels(task, daily, target_positions(task.spec, task.targets), None if mine is None else mine.lacks)
    now = at(task.as_of_day)
    current = str(Path(task.folder) / f"current-{task.bucket:05d}.parquet")
    write_part(with_populations(now.drop(HAS_CONTACT), task), current)
    rows = []
    for day in task.anchors:
        frame = at(day)
        # What a full model learns from are the users whose events all count.
        frame = frame if mine is None else frame.filter(pl.col(LACKS) == 0).drop(LACKS)
        rows.append(labels.write(frame, day, "anchor"))
    codes = labels.codes
    unusable = 0 if mine is None else unusable_users(bucket, mine, task.spec, task.as_of_day)
    return MatrixRecord(
        users=now.height,
        kept=kept,
        contacts_matched=int(now[HAS_CONTACT].sum()),
        current=current,
        rows=tuple(rows),
        targets=tuple(
            _target_users(daily, target, code, task) for code, target in zip(codes, task.targets, strict=True)
        ),
        withheld=replace(withheld, unusable=unusable),
        reduced=None
        if mine is None
        else _reduced_rows(task, bucket, mine, users_at, labels, int((now[LACKS] == 0).sum())),
    )


def _reduced_rows(
    task: MatrixTask,
    bucket: Bucket,
    mine: Usable,
    users_at: Callable[[int], pl.DataFrame],
    labels: Labels,
    full: int,
) -> ReducedRows:
    """The rows of all users as if nobody had agreed to any of the inputs."""
    ready = bucket_rows(bare_rows(bucket, task.shelf.kinds, mine.inputs), task.spec)

    def at(day: int) -> pl.DataFrame:
        found = features_at(ready, day, task.spec)
        features = users_at(day).join(found, on="user", how="inner", maintain_order="right")
        return join_accounts(features, task.accounts, day, task.spec)

    now = at(task.as_of_day)
    current = str(Path(task.folder) / f"reduced-current-{task.bucket:05d}.parquet")
    write_part(with_populations(now.drop(HAS_CONTACT), task), current)
    rows = tuple(labels.write(at(day), day, "reduced-anchor") for day in task.anchors)
    return ReducedRows(full, now.height, current, rows)


def _target_users(daily: pl.DataFrame, target: Target, code: int, task: MatrixTask) -> TargetUsers:
    kinds = {kind.name: kind for kind in task.spec.types}
    own = kinds[target.event].of or target.event
    others = [number for number, kind in enumerate(task.spec.types) if kind.of is None and kind.name != own]
    days = [day for day in anchors(target, task.as_of_day, task.model) if day in task.anchors]
    # The first day with another event is before an anchor if any is.
    first = (
        daily.lazy()
        .filter(pl.col("type").is_in(others) & (pl.col("events") > 0))
        .group_by("user")
        .agg(pl.col("day").min())
        .collect()
    )
    came = [positives(daily, target, code, day) for day in days]
    both = [
        users.filter(users.is_in(first.filter(pl.col("day") < day)["user"].implode()))
        for users, day in zip(came, days, strict=True)
    ]
    return TargetUsers(
        with_event=_distinct(came),
        with_both=_distinct(both),
        with_others=first.filter(pl.col("day") < days[0]).height if days else 0,
    )


def _distinct(users: Sequence[pl.Series]) -> int:
    return pl.concat(users).n_unique() if users else 0


@dataclass(frozen=True)
class ScalesTask:
    """Learn the RFM edges and the scale of the engagement score from all users at `as_of`."""

    files: tuple[str, ...]
    spec: FeatureSpec
    rfm: Rfm
    full_at: int | None


@dataclass(frozen=True)
class Scales:
    """Edges of the RFM scores (None without a purchase type), and the points that give an engagement score of 100."""

    rfm_edges: RfmEdges | None
    engagement_full_at: int


@dataclass(frozen=True)
class ValueTask:
    """Fit customer value on the users with a purchase at `as_of`; it needs no anchors."""

    files: tuple[str, ...]
    settings: CustomerValue
    currency_digits: int


@dataclass(frozen=True)
class NoValue:
    """Customer value that could not be fitted, and why; another value model may stay in its place."""

    error: DataError


LearnTask = ScalesTask | ValueTask | TargetTask | DriftTask
Learnt = Scales | ValueModel | NoValue | TrainedModel | ReducedModel | NoReduced | Reference


def learn(task: LearnTask) -> Learnt:
    """Learn one thing; the same files give the same result on any number of threads.

    Raises:
        DataError: Too little to learn from; the message has the numbers.
    """
    match task:
        case ScalesTask():
            return _learn_scales(task)
        case ValueTask():
            return _learn_value(task)
        case TargetTask():
            if task.without is not None:
                return learn_reduced(task)
            return learn_full(task) if task.full_only else learn_target(task)
        case DriftTask():
            return learn_drift(task)


def _learn_scales(task: ScalesTask) -> Scales:
    columns = ["user_id", "engagement_points"]
    if task.spec.purchase is not None:
        columns += ["rfm_recency_days", "rfm_frequency", MONETARY_MINOR]
    frame = scan_rows(task.files).select(columns).collect()
    edges = None
    if task.spec.purchase is not None:
        edges = learn_edges(rfm_columns(frame), task.rfm, task.spec.currency_digits)
    if task.full_at is not None:
        return Scales(edges, task.full_at)
    points = frame["engagement_points"].filter(frame["engagement_points"] > 0).sort()
    position = (points.len() - 1) * _ENGAGEMENT_PERCENTILE // 100
    return Scales(edges, int(points[position]) if points.len() else 1)


def _learn_value(task: ValueTask) -> ValueModel | NoValue:
    try:
        return fit_value(count_files(task.files, task.currency_digits), task.settings, task.currency_digits)
    except DataError as error:
        if error.code != "value-fit":
            raise
        return NoValue(error)


def check_history(targets: Sequence[Target], first_day: int, last_day: int, as_of_day: int) -> None:
    """Stop when there is no day to learn from: a horizon is longer than the log, or the log ends long before `as_of`.

    Args:
        targets: The targets.
        first_day: Day of the first event (days since 1970-01-01).
        last_day: Day of the last event before `as_of`.
        as_of_day: Day of the fit.

    Raises:
        DataError: The length of the log and what each target needs.
    """
    stale = [target.name for target in targets if last_day < as_of_day - target.horizon_days]
    if stale:
        last, as_of = (EPOCH + timedelta(days=day) for day in (last_day, as_of_day))
        raise DataError(
            f"the log ends on {last}; as of {as_of} no event is left for the labels of {', '.join(map(repr, stale))}",
            code="history-ended",
            hint=f"Fit as of {last + timedelta(days=1)}, the day after the last event, or bring the log up to date.",
        )
    short = [
        f"  target {target.name!r}: horizon {target.horizon_days} days needs more than {2 * target.horizon_days} days"
        for target in targets
        if first_day >= as_of_day - 2 * target.horizon_days
    ]
    if short:
        raise DataError(
            f"the log before as_of is {as_of_day - first_day} days long, too short to train on\n" + "\n".join(short),
            code="history-too-short",
            hint="One horizon is needed for the labels that are learnt from, and one for those of the test: "
            "take a longer log or a shorter horizon_days.",
        )
