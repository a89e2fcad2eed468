"""The task of `tamis points audit`: the published points of a bucket of users beside what these did afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from engine.config import Target
from engine.consent.permits import Permits
from engine.features.spec import FeatureSpec
from engine.points.forms import Hundredths, to_hundredths
from engine.points.ranking import LABEL, TOTAL
from engine.propensity.folds import in_sample
from engine.propensity.labels import labels_of
from engine.rollups.bucket import Shelf, load_bucket
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.stages.features import target_positions
from engine.stages.outcome_rows import outcome_rows

_LEDGER: Final[Mapping[str, pl.DataType]] = {"card": pl.String(), "rule": pl.String(), "points": pl.Float64()}


@dataclass(frozen=True)
class PublishedCard:
    """A card as it was published.

    Attributes:
        name: The card.
        rules: Its rules, in the order in which they are told.
    """

    name: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class OutcomeTask:
    """One bucket of users whose points are to be compared with what they did.

    Attributes:
        shelf: Where the rows are, up to the end of the horizon.
        spec: What event types there are.
        outcome: What is looked for.
        day: The `as_of` of the points (days since 1970-01-01).
        scores: Published files of `scores` that may hold users of the bucket.
        ledger: Published files of `points` that may.
        cards: The cards.
        rows: Published users of all buckets.
        limit: Users whose order is measured at most; more are sampled.
        folder: Where their points are written.
        permits: What users agreed to by the end of the horizon: nothing is compared of who is withheld by then.
    """

    bucket: int
    keys: KeyRange
    shelf: Shelf
    spec: FeatureSpec
    outcome: Target
    day: int
    scores: tuple[str, ...]
    ledger: tuple[str, ...]
    cards: tuple[PublishedCard, ...]
    rows: int
    limit: int
    folder: str
    permits: Permits | None = None


@dataclass(frozen=True)
class Counts:
    """Users, and those of them for whom the outcome came."""

    users: int = 0
    positives: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.users + other.users, self.positives + other.positives)


@dataclass(frozen=True)
class RuleCounts:
    """Users by what a rule did to them: those it gave points to, and those it took some from."""

    given: Counts = Counts()
    taken: Counts = Counts()

    def __add__(self, other: RuleCounts) -> RuleCounts:
        return RuleCounts(self.given + other.given, self.taken + other.taken)


@dataclass(frozen=True)
class OutcomeRecord:
    """What became of one bucket.

    Attributes:
        users: Users of the log.
        all: Those of them who are published, and whose outcome may be told.
        withheld: Those who are published, and whose outcome may not be told any more.
        rules: Of every card, the counts of its rules.
        classes: Of every card, the counts of its classes.
        files: Of every card, the points of the sampled users.
    """

    users: int
    all: Counts
    rules: tuple[tuple[RuleCounts, ...], ...]
    classes: tuple[dict[str, Counts], ...]
    files: tuple[str, ...]
    withheld: int = 0


def outcome_bucket(task: OutcomeTask) -> OutcomeRecord:
    """Count the outcomes of the published users of one bucket, and write what their order is measured on."""
    bucket = load_bucket(task.shelf, task.keys)
    rows_of = outcome_rows(bucket, task.shelf.kinds, task.spec, (task.outcome,), task.permits, task.keys)
    users = rows_of.users.filter(rows_of.counts(task.outcome, task.spec))
    columns: dict[str, pl.DataType] = {}
    for card in task.cards:
        columns |= {f"points_{card.name}": pl.Float64(), f"points_{card.name}_class": pl.String()}
    found = users.select("user", "user_key", "user_id").join(
        _published(task.scores, users["user_id"], columns), on="user_id", how="inner", maintain_order="left"
    )
    [code] = target_positions(task.spec, (task.outcome,))
    label = labels_of(found["user"], rows_of.daily, task.outcome, code, task.day)
    kept = found.with_columns(kept=in_sample(pl.col("user_key"), max(task.rows, 1), task.limit))["kept"]
    rows = _published(task.ledger, users["user_id"], _LEDGER)
    by_rule = rows.partition_by("card", "rule", as_dict=True, include_key=False)
    rules, classes, files = [], [], []
    for card in task.cards:
        points = [_points(found, by_rule.get((card.name, rule))) for rule in card.rules]
        rules.append(tuple(_rule_counts(column, label) for column in points))
        classes.append(_class_counts(found[f"points_{card.name}_class"], label))
        total = to_hundredths(found[f"points_{card.name}"].to_numpy())
        ranked = pl.DataFrame({LABEL: label, TOTAL: total, **{str(n): column for n, column in enumerate(points)}})
        file = str(Path(task.folder) / f"points-{card.name}-{task.bucket:05d}.parquet")
        write_part(ranked.filter(kept), file)
        files.append(file)
    counts = Counts(found.height, int(label.sum()))
    others = bucket.users["user_id"].filter(~bucket.users["user_id"].is_in(users["user_id"].implode()))
    withheld = _published(task.scores, others, {}).height if others.len() else 0
    return OutcomeRecord(bucket.users.height, counts, tuple(rules), tuple(classes), tuple(files), withheld)


def _published(files: Sequence[str], users: pl.Series, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if not files:
        return pl.DataFrame(schema={"user_id": users.dtype, **columns})
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
    return scan.select("user_id", *columns).filter(pl.col("user_id").is_in(users.implode())).collect()


def _points(found: pl.DataFrame, rows: pl.DataFrame | None) -> Hundredths:
    """The hundredths that a rule gave each user, 0 to who has no row in the ledger."""
    if rows is None:
        return np.zeros(found.height, dtype=np.int64)
    joined = found.select("user_id").join(rows, on="user_id", how="left", maintain_order="left")
    return to_hundredths(joined["points"].fill_null(0.0).to_numpy())


def _rule_counts(points: Hundredths, label: pl.Series) -> RuleCounts:
    came = label.to_numpy()
    given, taken = points > 0, points < 0
    return RuleCounts(
        *(Counts(int(np.count_nonzero(users)), int(np.count_nonzero(users & came))) for users in (given, taken))
    )


def _class_counts(names: pl.Series, label: pl.Series) -> dict[str, Counts]:
    counted = pl.DataFrame({"name": names, "label": label}).group_by("name").agg(pl.len(), came=pl.col("label").sum())
    return {name: Counts(users, came) for name, users, came in counted.sort("name").iter_rows()}
