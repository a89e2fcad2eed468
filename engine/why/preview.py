"""What a rule would give before it is saved: users, what each clause does, overlap, and what kind of users they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final

import polars as pl

from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.features.measure import Measure
from engine.rules.problems import drawn
from engine.rules.read import read_rule
from engine.rules.rule import Rule, combine, segment_column
from engine.rules.scope import Scope
from engine.why.published import Published
from engine.why.rows import held_clauses, published_rows
from engine.why.taken import tried_before
from engine.why.texts import PublishedTexts, starred_patterns, unknown_texts

SHOWN_LEVELS: Final = 5
MOST_LEVELS: Final = 1000
"""Values of a text column beyond which it is not compared."""

_USUAL: Final = ("tenure_days", "days_since_last_event", "engagement_score", "rfm_frequency", "rfm_monetary")
"""Columns that are compared with all users beside those of the rule and the text attributes."""


@dataclass(frozen=True)
class ClauseEffect:
    """What one clause does.

    Attributes:
        text: The clause.
        users: Users it holds for.
        excludes: Users outside who would be in if this clause alone came out the other way.
        admits: Users inside who would be out if it alone came out the other way.
    """

    text: str
    users: int
    excludes: int
    admits: int


@dataclass(frozen=True)
class Overlap:
    """Users in common with a published segment: of both, of the segment, and both ÷ either (Jaccard 1912)."""

    segment: str
    group: str | None
    both: int
    users: int
    jaccard: float | None


@dataclass(frozen=True)
class Compared:
    """A column of the users of the rule beside all users.

    Attributes:
        column: Its name.
        level: A value of it; None for a mean, and for users without a value when `missing`.
        missing: Whether the row is the share of users without a value.
        inside, base: Mean over users with a value, or share of the users with the level; null for nobody.
    """

    column: str
    level: str | None
    missing: bool
    inside: float | None
    base: float | None


@dataclass(frozen=True)
class Preview:
    """What a rule would give on a published date.

    Attributes:
        as_of: The date.
        rule: The rule.
        total: All users.
        users: Those the rule holds for: the users of a tag.
        taken: Of them, those whom segments of the group `primary` take that would be tried before a new one at its end,
            by segment in the order in which they are tried.
        clauses: What each clause does, in the order of the text.
        overlaps: With every published segment, the most alike first.
        composition: A few columns beside all users.
        withheld: Published users who are not counted: a run of the date would withhold them now.
        without_consent: Users whom the rule holds for and who are not counted: they lack one of `purposes`.
        purposes: What users must have agreed to, beside what everybody must.
        notes: What looks like a slip: texts that no user has, patterns with a star.
    """

    as_of: date
    rule: str
    total: int
    users: int
    taken: tuple[tuple[str, int], ...]
    clauses: tuple[ClauseEffect, ...]
    overlaps: tuple[Overlap, ...]
    composition: tuple[Compared, ...]
    notes: tuple[str, ...]
    withheld: int = 0
    without_consent: int = 0
    purposes: tuple[str, ...] = ()

    @property
    def at_the_end(self) -> int:
        """Users of a segment with the rule that is tried after all others of the group `primary`."""
        return self.users - sum(number for _, number in self.taken)

    @property
    def share(self) -> float | None:
        """Users of the rule ÷ all users; None for nobody at all."""
        return self.users / self.total if self.total else None

    def to_dict(self) -> dict[str, Any]:
        """The preview as values that JSON has."""
        return {**asdict(self), "taken": dict(self.taken), "primary_users": self.at_the_end, "share": self.share}


def checked_rule(text: str, scope: Scope) -> Rule:
    """The rule in a text.

    Raises:
        ConfigError: Everything that is wrong with it, drawn under the text.
    """
    reading = read_rule(text, scope)
    if reading.rule is None:
        raise ConfigError(
            "the rule cannot be read\n" + "\n".join(drawn(text, problem) for problem in reading.problems),
            code="segment-rules",
            hint="docs/rules.md has the language; `tamis features list --all` shows the columns.",
        )
    return reading.rule


def missing_measures(rule: Rule, published: Published) -> tuple[Measure, ...]:
    """The event functions of a rule that the date was published without."""
    there = published.schema("features")
    return tuple(measure for measure in rule.measures if measure.name not in there)


def usual_columns(rule: Rule, columns: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    """The columns to compare when nobody names any: those of the rule, a few usual ones, the text columns."""
    texts = [name for name, dtype in columns.items() if dtype in {pl.String(), pl.Boolean()}]
    wanted = (*sorted(rule.columns), *_USUAL, *texts)
    return tuple(dict.fromkeys(name for name in wanted if name in columns))


@dataclass
class _Sums:
    """Exact counts over the parts, and sums of the numbers of users with a value."""

    total: int = 0
    users: int = 0
    withheld: int = 0
    lacking: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    clauses: list[list[int]] = field(default_factory=list)
    both: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, list[tuple[float, int, float, int]]] = field(default_factory=dict)
    levels: dict[str, tuple[Counter[str | None], Counter[str | None]]] = field(default_factory=dict)


def preview(
    rule: Rule,
    published: Published,
    compare: Sequence[str],
    extra: pl.DataFrame | None = None,
    *,
    standing: pl.DataFrame | None = None,
    purposes: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Preview:
    """Evaluate a rule on a published date, part by part.

    Args:
        rule: A rule over the columns of the date.
        published: The date.
        compare: Columns to compare with all users.
        extra: `user_id` and the columns of event functions that the date was published without.
        standing: `user_id`, `withheld` and `agreed` of all users: only those are counted whom a run would not withhold,
            and for the rule only who agreed; None where nothing is asked.
        purposes: What was asked for `agreed`.
        notes: To be told with those that are found.

    Raises:
        IntegrityError: Published files are not those of their manifest.
    """
    names = [segment.name for segment in published.segments]
    columns = {*rule.columns, *compare, *(measure.name for measure in rule.measures)}
    sums = _Sums(clauses=[[0, 0, 0] for _ in rule.clauses])
    for everybody in published_rows(published, sorted(columns), names, rule.tenures, extra):
        frame, may = _counted(everybody, standing)
        held = held_clauses(rule, frame)
        inside = held.select(combine(rule.logic, [pl.col(name) for name in held.columns]).alias("in"))["in"]
        if may is not None:
            sums.lacking += int((inside & ~may).sum())
            inside &= may
        sums.total += frame.height
        sums.withheld += everybody.height - frame.height
        sums.users += int(inside.sum())
        _add_clauses(sums.clauses, rule, held, inside, may)
        for name in names:
            sums.sizes[name] += int(frame[segment_column(name)].sum())
            sums.both[name] += int((frame[segment_column(name)] & inside).sum())
        _add_columns(sums, frame, inside, compare)
    return Preview(
        as_of=published.as_of,
        rule=rule.text,
        total=sums.total,
        users=sums.users,
        taken=tuple(
            (other.name, sums.both[other.name])
            for other in tried_before(None, PRIMARY, published)
            if sums.both[other.name]
        ),
        clauses=tuple(
            ClauseEffect(clause.text, *counts) for clause, counts in zip(rule.clauses, sums.clauses, strict=True)
        ),
        overlaps=_overlaps(published, sums),
        composition=tuple(_composition(sums, compare)),
        withheld=sums.withheld,
        without_consent=sums.lacking,
        purposes=tuple(purposes),
        notes=(*notes, *unknown_texts(rule, PublishedTexts(published)), *starred_patterns(rule)),
    )


def _counted(frame: pl.DataFrame, standing: pl.DataFrame | None) -> tuple[pl.DataFrame, pl.Series | None]:
    """The rows of users whom a run would not withhold, and which of them agreed; None where nothing is asked."""
    if standing is None:
        return frame, None
    told = frame.join(standing, on="user_id", how="left", maintain_order="left").filter(~pl.col("withheld"))
    return told.drop("withheld", "agreed"), told["agreed"]


def _add_clauses(
    counts: list[list[int]], rule: Rule, held: pl.DataFrame, inside: pl.Series, may: pl.Series | None
) -> None:
    for place, name in enumerate(held.columns):
        other = [~pl.col(column) if column == name else pl.col(column) for column in held.columns]
        turned = held.select(combine(rule.logic, other).alias("in"))["in"]
        turned = turned if may is None else turned & may
        counts[place][0] += int(held[name].sum())
        counts[place][1] += int((turned & ~inside).sum())
        counts[place][2] += int((inside & ~turned).sum())


def _add_columns(sums: _Sums, frame: pl.DataFrame, inside: pl.Series, compare: Iterable[str]) -> None:
    for name in compare:
        column = frame[name]
        if column.dtype.is_numeric():
            values = column.cast(pl.Float64).fill_nan(None)
            own = values.filter(inside)
            portion = (float(own.sum()), own.count(), float(values.sum()), values.count())
            sums.numbers.setdefault(name, []).append(portion)
            continue
        own_levels, base_levels = sums.levels.setdefault(name, (Counter(), Counter()))
        texts = column.cast(pl.String)
        for counter, found in ((own_levels, texts.filter(inside)), (base_levels, texts)):
            counter.update({level: int(users) for level, users in found.value_counts().iter_rows()})


def _overlaps(published: Published, sums: _Sums) -> tuple[Overlap, ...]:
    found = []
    for segment in published.segments:
        users, both = sums.sizes[segment.name], sums.both[segment.name]
        either = users + sums.users - both
        jaccard = both / either if either else None
        found.append(Overlap(segment.name, segment.definition.group, both, users, jaccard))
    return tuple(sorted(found, key=lambda overlap: (-(overlap.jaccard or 0.0), overlap.segment)))


def _composition(sums: _Sums, compare: Collection[str]) -> Iterable[Compared]:
    for name in compare:
        if name in sums.numbers:
            own, own_users, base, base_users = (sum(numbers) for numbers in zip(*sums.numbers[name], strict=True))
            yield Compared(
                name,
                None,
                missing=False,
                inside=own / own_users if own_users else None,
                base=base / base_users if base_users else None,
            )
        elif name in sums.levels:
            inside, everyone = sums.levels[name]
            if len(everyone) > MOST_LEVELS:
                continue
            ordered = sorted(everyone.items(), key=lambda level: (level[0] is None, -level[1], level[0] or ""))
            named = [pair for pair in ordered if pair[0] is not None][:SHOWN_LEVELS]
            for level, users in (*named, *(pair for pair in ordered if pair[0] is None)):
                share = inside[level] / sums.users if sums.users else None
                yield Compared(name, level, missing=level is None, inside=share, base=users / sums.total)
