"""The tasks of `validate`: published scores beside what happened in the horizon after them.

In: the `scores` files of a date and parts of the log. Scores and labels meet by the user's id, bucket by bucket; what
is measured in the end is one column of scores and one of labels per target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Target
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

UNITS: Final = 1_000_000_000
"""Probabilities are summed as whole multiples of one in so many: a sum that does not depend on how users are cut."""


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


@dataclass(frozen=True)
class TargetCounts:
    """What a target came to among the users of one bucket, or of all.

    Attributes:
        unscored: Users without a score, who are outside the population.
        rows: Users with a score.
        positives: Those of them for whom it came true.
        predicted: Sum of their probabilities, in `UNITS`.
        with_event: Users of the log with the target's event in the horizon, published or not.
        published: Those of them who are published.
    """

    unscored: int = 0
    rows: int = 0
    positives: int = 0
    predicted: int = 0
    with_event: int = 0
    published: int = 0

    def __add__(self, other: TargetCounts) -> TargetCounts:
        return TargetCounts(
            self.unscored + other.unscored,
            self.rows + other.rows,
            self.positives + other.positives,
            self.predicted + other.predicted,
            self.with_event + other.with_event,
            self.published + other.published,
        )


@dataclass(frozen=True)
class MatureRecord:
    """What became of one bucket: users of the log, those of them who are published, counts and a file per target."""

    users: int
    matched: int
    targets: tuple[TargetCounts, ...]
    files: tuple[str, ...]


def score_column(name: str) -> str:
    """The column of a target's probabilities in the table `scores`."""
    return f"propensity_{name}"


def mature_bucket(task: MatureTask) -> MatureRecord:
    """Labels of the published users of one bucket, by the function that training has its labels from."""
    bucket = load_bucket(task.shelf, task.keys)
    users = bucket.users.with_row_index("user")
    columns = [score_column(target.name) for target in task.targets]
    scored = users.select("user", "user_key", "user_id").join(
        _published(task.files, users["user_id"], columns), on="user_id", how="inner", maintain_order="left"
    )
    kept = scored.with_columns(kept=in_sample(pl.col("user_key"), task.rows, task.limit))["kept"]
    counts, files = [], []
    for target, column, code in zip(task.targets, columns, target_positions(task.spec, task.targets), strict=True):
        label = labels_of(scored["user"], bucket.daily, target, code, task.day)
        rows = pl.DataFrame({"score": scored[column], "label": label, "kept": kept})
        known = rows.filter(pl.col("score").is_not_null())
        came = positives(bucket.daily, target, code, task.day)
        counts.append(
            TargetCounts(
                unscored=rows.height - known.height,
                rows=known.height,
                positives=int(known["label"].sum()),
                predicted=int((known["score"] * UNITS).round().cast(pl.Int64).sum()),
                with_event=came.len(),
                published=int(came.is_in(scored["user"].implode()).sum()),
            )
        )
        file = str(Path(task.folder) / f"matured-{target.name}-{task.bucket:05d}.parquet")
        write_part(known.filter("kept").select("score", "label"), file)
        files.append(file)
    return MatureRecord(users.height, scored.height, tuple(counts), tuple(files))


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
    rows = pl.scan_parquet(list(task.files), glob=False, hive_partitioning=False).select("score", "label").collect()
    if rows.is_empty():
        return Realised(None, ())
    labels, scores = rows["label"].to_numpy(), rows["score"].to_numpy()
    return Realised(measure(labels, scores), tuple(bootstrap(labels, scores, task.seed).items()))
