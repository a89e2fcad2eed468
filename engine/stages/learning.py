"""The tasks of `fit`: features and labels at the anchor dates per bucket, then one task per thing that is learnt.

What is learnt from the labels is in `engine.stages.target_learning`.

In: parts of the log. Between the two kinds of tasks stand Parquet files with one row per user; what comes back to the
driver is small: edges, centroids, model texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from engine.config import CustomerValue, Model, Rfm, Target
from engine.errors import DataError
from engine.features.build import MONETARY_MINOR
from engine.features.spec import FeatureSpec
from engine.features.windows import EPOCH
from engine.propensity.drift import Reference
from engine.propensity.labels import anchors, labels_of, positives
from engine.propensity.population import compile_populations
from engine.propensity.train import TrainedModel
from engine.rollups.bucket import Shelf, load_bucket
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.segments.rfm_scores import RfmEdges, learn_edges, rfm_columns
from engine.stages.accounts import AccountFiles, join_accounts
from engine.stages.features import bucket_rows, features_at, target_positions
from engine.stages.target_learning import (
    DriftTask,
    TargetTask,
    label_column,
    learn_drift,
    learn_target,
    population_column,
    scan_rows,
)
from engine.stages.users import HAS_CONTACT, join_contacts, kept_events
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
class MatrixRecord:
    """What a bucket gave.

    Attributes:
        users: Users with an event before `as_of`.
        kept: Their events.
        contacts_matched: Those of them who have a contact.
        current: File with their features at `as_of`.
        rows: Per anchor day, the file and its number of rows.
        targets: One per target, in their order.
    """

    users: int
    kept: int
    contacts_matched: int
    current: str
    rows: tuple[tuple[int, str, int], ...]
    targets: tuple[TargetUsers, ...] = ()


def build_matrices(task: MatrixTask) -> MatrixRecord:
    """Features of one bucket at `as_of` and at every anchor, with a label per target that uses the anchor.

    The label is null outside the target's population, which is told from the features at the anchor.
    """
    bucket = load_bucket(task.shelf, task.keys)
    ready = bucket_rows(bucket, task.spec)
    users = join_contacts(bucket.users.with_row_index("user"), task.contacts, task.keys, task.contact_columns)
    folder = Path(task.folder)

    def at(day: int) -> pl.DataFrame:
        features = users.join(features_at(ready, day, task.spec), on="user", how="inner", maintain_order="right")
        return join_accounts(features, task.accounts, day, task.spec)

    codes = target_positions(task.spec, task.targets)
    now = at(task.as_of_day)
    populations = compile_populations(task.targets, now.schema)
    current = folder / f"current-{task.bucket:05d}.parquet"
    inside = populations.holds(now)
    about = [inside[target.name].alias(population_column(target)) for target in task.targets if target.name in inside]
    write_part(now.drop(HAS_CONTACT).with_columns(about), current)
    rows = []
    for day in task.anchors:
        frame = at(day)
        inside = populations.holds(frame)
        labels = []
        for code, target in zip(codes, task.targets, strict=True):
            if day in anchors(target, task.as_of_day, task.model):
                label = labels_of(frame["user"], bucket.daily, target, code, day)
                if target.name in inside:
                    label = label.set(~inside[target.name], None)
                labels.append(label.alias(label_column(target)))
        frame = frame.drop(HAS_CONTACT).with_columns(*labels, anchor=pl.lit(EPOCH + timedelta(days=day)))
        file = folder / f"anchor-{day}-{task.bucket:05d}.parquet"
        write_part(frame, file)
        rows.append((day, str(file), frame.height))
    return MatrixRecord(
        users=now.height,
        kept=kept_events(bucket.daily, task.spec),
        contacts_matched=int(now[HAS_CONTACT].sum()),
        current=str(current),
        rows=tuple(rows),
        targets=tuple(
            _target_users(bucket.daily, target, code, task) for code, target in zip(codes, task.targets, strict=True)
        ),
    )


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
Learnt = Scales | ValueModel | NoValue | TrainedModel | Reference


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
            return learn_target(task)
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
