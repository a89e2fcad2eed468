"""Users whom a rule holds for, and the segments of its group that are tried before it and take some of them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from engine.rules.read import read_rule
from engine.rules.rule import Rule, combine, segment_column
from engine.rules.scope import Scope
from engine.why.published import Published, PublishedSegment
from engine.why.rows import held_clauses, published_rows


@dataclass(frozen=True)
class Reach:
    """How far a rule reaches beyond the segment's members.

    Attributes:
        users: Those the rule holds for.
        taken: Segments that took some of them before, in the order in which they are tried, and how many.
    """

    users: int
    taken: tuple[tuple[str, int], ...]


def tried_before(segment: PublishedSegment | None, group: str, published: Published) -> list[PublishedSegment]:
    """The segments of a group that are tried before one of it; before its fallbacks when None."""
    others = [
        other
        for other in published.segments
        if other.definition.group == group
        and (other.definition.kind != "fallback" if segment is None else other.rank < segment.rank)
    ]
    return sorted(others, key=lambda other: other.rank)


def reach_of(segment: PublishedSegment, published: Published, scope: Scope) -> Reach | None:
    """For whom the rule of a segment of a group holds, on the published columns.

    None for segments without a rule or a group, and where the tables cannot tell: event functions that are not
    published, or days of membership, which may have been corrected after the date was scored.

    Args:
        segment: The segment.
        published: The date.
        scope: What rules may say on that date.

    Raises:
        IntegrityError: Published files are not those of their manifest.
    """
    group, where = segment.definition.group, segment.definition.where
    rule = None if where is None or group is None else read_rule(where, scope).rule
    if rule is None or group is None or rule.tenures:
        return None
    measures = {measure.name for measure in rule.measures}
    if not measures <= published.schema("features").keys():
        return None
    before = [other.name for other in tried_before(segment, group, published)]
    users, taken = 0, dict.fromkeys(before, 0)
    for frame in published_rows(published, sorted({*rule.columns, *measures}), [*before, *rule.segments]):
        inside = _inside(rule, frame)
        users += int(inside.sum())
        for name in before:
            taken[name] += int((frame[segment_column(name)] & inside).sum())
    return Reach(users, tuple((name, number) for name, number in taken.items() if number))


def _inside(rule: Rule, frame: pl.DataFrame) -> pl.Series:
    held = held_clauses(rule, frame)
    return held.select(combine(rule.logic, [pl.col(name) for name in held.columns]).alias("in"))["in"]
