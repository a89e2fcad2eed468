"""What the rules looked at on two dates, for the users whose memberships changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

import polars as pl

from engine.features.registry import FAMILIES
from engine.features.spec import FeatureSpec
from engine.ledger.causes import SCORES
from engine.ledger.flips import flips, value_changes
from engine.ledger.reasons import fallback_reasons, group_reasons, rule_reasons
from engine.rules.read import read_rule
from engine.rules.rule import Rule, segment_column, tenure_column
from engine.rules.scope import Scope

_KEPT_RULES = 1024


@dataclass(frozen=True)
class Evidence:
    """One of the two dates.

    Attributes:
        as_of: The date.
        features, scores: Files with the rows of the users.
        members: Memberships: `user_id`, `segment`, `entered_on`.
    """

    as_of: date
    features: tuple[str, ...]
    scores: tuple[str, ...]
    members: pl.DataFrame

    def schema(self) -> dict[str, pl.DataType]:
        """Columns of both tables without the id."""
        found: dict[str, pl.DataType] = {}
        for files in (self.features, self.scores):
            found |= dict(pl.read_parquet_schema(files[0])) if files else {}
        return {name: dtype for name, dtype in found.items() if name != "user_id"}

    def rows(self, users: pl.Series, columns: Collection[str]) -> pl.DataFrame:
        """The columns of both tables for some users, in their order; NaN is null, as rules see it."""
        frame = users.alias("user_id").to_frame()
        for files in (self.features, self.scores):
            names = [name for name in pl.read_parquet_schema(files[0]) if name in columns] if files else []
            if names:
                scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False)
                found = scan.filter(pl.col("user_id").is_in(users.implode())).select("user_id", *names).collect()
                frame = frame.join(found, on="user_id", how="left", maintain_order="left")
        floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
        return frame.with_columns(pl.col(floats).fill_nan(None))

    def there(self, users: pl.Series) -> pl.Series:
        """Those of some users that were scored on the date."""
        if not self.features:
            return users.clear()
        scan = pl.scan_parquet(list(self.features), glob=False, hive_partitioning=False).select("user_id")
        return scan.filter(pl.col("user_id").is_in(users.implode())).collect()["user_id"]


@dataclass(frozen=True, eq=False)
class _Pair:
    """A rule as it is read for both dates: the expressions differ in the date alone."""

    then: Rule
    now: Rule

    @property
    def columns(self) -> frozenset[str]:
        expressions = [
            expr
            for rule in (self.then, self.now)
            for clause in rule.clauses
            for expr in (clause.expr, *(value.expr for value in clause.values))
        ]
        return frozenset(name for expr in expressions for name in expr.meta.root_names())


def explain(
    pending: pl.DataFrame, then: Evidence, now: Evidence, spec: FeatureSpec | None, defined: frozenset[str]
) -> pl.DataFrame:
    """The reasons that rules and scores give.

    Args:
        pending: Rows of `engine.ledger.reasons.plain_reasons` without a reason.
        then: The date before.
        now: The date.
        spec: The features, for event functions; None when they are not known.
        defined: All segments of the date.

    Returns:
        Per row what `engine.ledger.reasons.rule_reasons` gives.
    """
    schema, old = now.schema(), then.schema()
    # Rules may name more families than the fit knew; which columns there are is told by the tables.
    every = None if spec is None else replace(spec, families=tuple(family.name for family in FAMILIES))
    words = _Words(tuple(schema.items()), every, defined)
    rules = _pairs(pending, (then.as_of, now.as_of), words)
    columns = frozenset(SCORES).union(*(pair.columns for pair in rules.values())) & schema.keys()
    # A column that has another type today cannot be read by the same rule.
    comparable = {name for name in columns if old.get(name) == schema[name]}
    users = pending["user_id"].unique().sort()
    rows = (then.rows(users, comparable), now.rows(users, columns))
    places = users.alias("user_id").to_frame().with_row_index("place")
    located = pending.with_row_index("row").join(places, on="user_id", how="left", maintain_order="left")
    told = []
    for part in located.partition_by("segment", maintain_order=True):
        before, after = (frame[part["place"]] for frame in rows)
        pair = rules.get(part["segment"][0])
        if pair is not None:
            before, after = (_with_segments(frame, pair.now, side) for frame, side in ((before, then), (after, now)))
            reasons = rule_reasons(part, flips(pair.then, pair.now, before, after))
        elif part["kind"][0] == "fallback":
            reasons = fallback_reasons(part, value_changes(SCORES, before, after))
        else:
            reasons = group_reasons(part)
        told.append(reasons.with_columns(part["row"]))
    return pl.concat(told).sort("row").drop("row")


@dataclass(frozen=True)
class _Words:
    """What the rules of a date may name."""

    columns: tuple[tuple[str, pl.DataType], ...]
    spec: FeatureSpec | None
    segments: frozenset[str]


def _pairs(pending: pl.DataFrame, days: tuple[date, date], words: _Words) -> Mapping[str, _Pair]:
    texts = pending.filter(pl.col("rule").is_not_null()).select("segment", "rule").unique().sort("segment")
    pairs = {}
    for name, text in texts.iter_rows():
        then, now = (_read(text, day, words) for day in days)
        if then is not None and now is not None:
            pairs[name] = _Pair(then, now)
    return pairs


@lru_cache(maxsize=_KEPT_RULES)
def _read(text: str, as_of: date, words: _Words) -> Rule | None:
    # All buckets of a run ask for the same rules.
    scope = Scope(dict(words.columns), spec=words.spec, segments=words.segments, as_of=as_of)
    return read_rule(text, scope).rule


def _with_segments(rows: pl.DataFrame, rule: Rule, side: Evidence) -> pl.DataFrame:
    columns: list[pl.Series] = []
    users = rows.select("user_id")
    for name in sorted(rule.segments):
        days = (pl.lit(side.as_of) - pl.col("entered_on")).dt.total_days().cast(pl.Int64)
        members = side.members.filter(pl.col("segment") == name).select("user_id", days=days)
        found = users.join(members, on="user_id", how="left", maintain_order="left")["days"]
        columns += [found.is_not_null().alias(segment_column(name)), found.alias(tenure_column(name))]
    return rows.with_columns(columns)


def files_of(paths: Sequence[str | None]) -> tuple[str, ...]:
    """The files that are there."""
    return tuple(path for path in paths if path is not None)
