"""The tasks of `validate`: published scores beside what happened in the horizon after them.

In: the `scores` files of a date and parts of the log. Scores and labels meet by the user's id, bucket by bucket; what
is measured in the end is one column of scores and one of labels per target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Target
from engine.consent.permits import Permits
from engine.events.mapping import stable_hash
from engine.features.spec import FeatureSpec
from engine.propensity.folds import in_sample
from engine.propensity.intervals import Interval, bootstrap
from engine.propensity.labels import labels_of, positives
from engine.propensity.metrics import Metrics, measure
from engine.rollups.bucket import Shelf, load_bucket
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.stages.features import target_positions
from engine.stages.group_columns import SEGMENT, Value, published_segments
from engine.stages.outcome_rows import outcome_rows

UNITS: Final = 1_000_000_000
"""Probabilities are summed as whole multiples of one in so many: a sum that does not depend on how users are cut."""
MIN_GROUP_ROWS: Final = 50
"""Groups of fewer users are counted and not measured."""


@dataclass(frozen=True)
class KeySpan:
    """The smallest and the largest key that the ids of a published file would get; both None without rows."""

    file: str
    low: int | None
    high: int | None

    def overlaps(self, keys: KeyRange) -> bool:
        """Whether the file may have users of a range."""
        return self.low is not None and self.high is not None and self.low < keys.end and keys.start <= self.high


def key_span(file: str) -> KeySpan:
    """The span of one file, so that a bucket reads the files that may hold its users and no others."""
    scan = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    keys = scan.select(key=stable_hash(pl.col("user_id")))
    low, high = keys.select(pl.min("key"), high=pl.max("key")).collect().row(0)
    return KeySpan(file, low, high)


@dataclass(frozen=True)
class MatureTask:
    """One bucket of users whose scores are to be compared with what they did.

    Attributes:
        shelf: Where the rows are, up to the end of the longest horizon.
        spec: What event types there are.
        targets: The targets whose horizon has passed.
        day: The `as_of` of the scores (days since 1970-01-01).
        files: Published files that may hold users of the bucket.
        rows: Published rows of all buckets.
        limit: Rows to measure at most; more are sampled by user.
        folder: Where the scores with labels are written.
        by: Columns whose values are counted and measured one by one.
        segment_files: Files of the table `segments` that may hold users of the bucket, if its key is one of `by`.
        permits: What users agreed to by the end of the horizon: nothing is compared of who is withheld by then.
    """

    bucket: int
    keys: KeyRange
    shelf: Shelf
    spec: FeatureSpec
    targets: tuple[Target, ...]
    day: int
    files: tuple[str, ...]
    rows: int
    limit: int
    folder: str
    by: tuple[str, ...] = ()
    segment_files: tuple[str, ...] = ()
    permits: Permits | None = None


@dataclass(frozen=True)
class TargetCounts:
    """What a target came to among the users of one bucket, or of all.

    Attributes:
        unscored: Users without a score, who are outside the population, or of whom the event may not be told any more.
        rows: Users with a score.
        positives: Those of them for whom it came true.
        predicted: Sum of their probabilities, in `UNITS`.
        with_event: Users of the log who may be compared, with the target's event in the horizon, published or not.
        published: Those of them who are published.
        withheld: Published users of the log of whom nothing may be compared.
    """

    unscored: int = 0
    rows: int = 0
    positives: int = 0
    predicted: int = 0
    with_event: int = 0
    published: int = 0
    withheld: int = 0

    def __add__(self, other: TargetCounts) -> TargetCounts:
        return TargetCounts(
            self.unscored + other.unscored,
            self.rows + other.rows,
            self.positives + other.positives,
            self.predicted + other.predicted,
            self.with_event + other.with_event,
            self.published + other.published,
            self.withheld + other.withheld,
        )

    @property
    def predicted_rate(self) -> float | None:
        """Mean published probability."""
        return self.predicted / UNITS / self.rows if self.rows else None

    @property
    def realised_rate(self) -> float | None:
        """Share of users for whom it came true."""
        return self.positives / self.rows if self.rows else None


Groups = dict[Value, TargetCounts]
"""What a target came to for each value of a column, as text; of the counts, those of users with a score."""


@dataclass(frozen=True)
class MatureRecord:
    """What became of one bucket.

    Attributes:
        users: Users of the log.
        matched: Those of them who are published and not withheld.
        withheld: Those who are published, and of whom nothing may be compared: consents as of the end of the horizon.
        targets: The counts of each target.
        groups: For each target, and in it for each of the columns asked for, the counts of its values.
        files: The scores with labels of each target.
    """

    users: int
    matched: int
    targets: tuple[TargetCounts, ...]
    groups: tuple[tuple[Groups, ...], ...]
    files: tuple[str, ...]
    withheld: int = 0


def score_column(name: str) -> str:
    """The column of a target's probabilities in the table `scores`."""
    return f"propensity_{name}"


def mature_bucket(task: MatureTask) -> MatureRecord:
    """Labels of the published users of one bucket, by the function that training has its labels from."""
    bucket = load_bucket(task.shelf, task.keys)
    rows_of = outcome_rows(bucket, task.shelf.kinds, task.spec, task.targets, task.permits, task.keys)
    users = rows_of.users
    columns = [*(score_column(target.name) for target in task.targets), *(name for name in task.by if name != SEGMENT)]
    scored = users.select("user", "user_key", "user_id").join(
        _published(task.files, users["user_id"], columns), on="user_id", how="inner", maintain_order="left"
    )
    if SEGMENT in task.by:
        segments = published_segments(task.segment_files, users["user_id"])
        scored = scored.join(segments, on="user_id", how="left", maintain_order="left")
    kept = scored.with_columns(kept=in_sample(pl.col("user_key"), task.rows, task.limit))["kept"]
    values = {group_column(place): scored[name].cast(pl.String) for place, name in enumerate(task.by)}
    counts, groups, files = [], [], []
    for target, code in zip(task.targets, target_positions(task.spec, task.targets), strict=True):
        label = labels_of(scored["user"], rows_of.daily, target, code, task.day)
        rows = pl.DataFrame({"score": scored[score_column(target.name)], "label": label, "kept": kept, **values})
        may = scored["user"].is_in(users["user"].filter(rows_of.counts(target, task.spec)).implode())
        known = rows.filter(pl.col("score").is_not_null() & may)
        came = positives(rows_of.daily, target, code, task.day)
        counts.append(
            replace(
                _counts(known),
                unscored=rows.height - known.height,
                with_event=came.len(),
                published=int(came.is_in(scored["user"].implode()).sum()),
            )
        )
        groups.append(
            tuple(
                {value: _counts(group) for (value,), group in known.partition_by(column, as_dict=True).items()}
                for column in values
            )
        )
        file = str(Path(task.folder) / f"matured-{target.name}-{task.bucket:05d}.parquet")
        write_part(known.filter("kept").select("score", "label", *values), file)
        files.append(file)
    withheld = published_withheld(task.files, bucket.users["user_id"], users["user_id"])
    counts = [replace(one, withheld=withheld) for one in counts]
    return MatureRecord(bucket.users.height, scored.height, tuple(counts), tuple(groups), tuple(files), withheld)


def published_withheld(files: Sequence[str], everybody: pl.Series, users: pl.Series) -> int:
    """How many of the users of a bucket are published, and not among those who may be compared."""
    others = everybody.filter(~everybody.is_in(users.implode()))
    return _published(files, others, ()).height if others.len() else 0


def group_column(place: int) -> str:
    """Name of a column that was asked for beside scores and labels: as its own it might be one of theirs."""
    return f"by_{place}"


def _counts(known: pl.DataFrame) -> TargetCounts:
    return TargetCounts(
        rows=known.height,
        positives=int(known["label"].sum()),
        predicted=int((known["score"] * UNITS).round().cast(pl.Int64).sum()),
    )


def _published(files: Sequence[str], users: pl.Series, columns: Sequence[str]) -> pl.DataFrame:
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False) if files else None
    if scan is None:
        return pl.DataFrame(schema={"user_id": users.dtype, **dict.fromkeys(columns, pl.Float64)})
    return scan.select("user_id", *columns).filter(pl.col("user_id").is_in(users.implode())).collect()


@dataclass(frozen=True)
class MeasureTask:
    """The scores with labels of one target, to be measured."""

    files: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Realised:
    """How good published probabilities turned out to be; None and nothing without rows."""

    metrics: Metrics | None
    intervals: tuple[tuple[str, Interval], ...]


def measure_target(task: MeasureTask) -> Realised:
    """The realised figures of one target with 95 % bootstrap intervals; the order of the files does not count."""
    return _realised(_scored_rows(task.files).select("score", "label").collect(), task.seed)


@dataclass(frozen=True)
class MeasureGroupsTask:
    """The scores with labels of one target, to be measured for each value of a column of theirs."""

    files: tuple[str, ...]
    column: str
    seed: int


def measure_groups(task: MeasureGroupsTask) -> dict[Value, Realised]:
    """As `measure_target`, for the groups that have `MIN_GROUP_ROWS` rows and rows of both classes."""
    rows = _scored_rows(task.files).select("score", "label", task.column).collect()
    return {
        value: _realised(group, task.seed)
        for (value,), group in rows.partition_by(task.column, as_dict=True).items()
        if group.height >= MIN_GROUP_ROWS and group["label"].n_unique() > 1
    }


def _scored_rows(files: Sequence[str]) -> pl.LazyFrame:
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False)


def _realised(rows: pl.DataFrame, seed: int) -> Realised:
    if rows.is_empty():
        return Realised(None, ())
    labels, scores = rows["label"].to_numpy(), rows["score"].to_numpy()
    return Realised(measure(labels, scores), tuple(bootstrap(labels, scores, seed).items()))
