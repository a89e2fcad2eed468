"""Moves between the segments of the primary group, with what is of too few people taken out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.config_segments import PRIMARY
from engine.reporting.causes import cause_key
from engine.reporting.facts import GONE, NEW, Facts
from engine.reporting.masking import OTHERS, hidden_cells, hidden_rows

MOST_SEGMENTS: Final = 12
"""Rows and columns of the matrix, but for people who came new or are gone."""


MOST_CAUSES: Final = 8
"""Causes that are named of one segment."""


@dataclass(frozen=True)
class Cause:
    """Why people left a segment.

    Attributes:
        key: As of `engine.reporting.causes.cause_key`; `(others)` for those of few people together.
        people: How many left because of it, or at least so many.
        exact: Whether it is exactly so many.
    """

    key: str
    people: int
    exact: bool = True


@dataclass(frozen=True)
class Movement:
    """Who moved where.

    Attributes:
        cells: People by segment before and now, those who stayed included; None where they are not shown.
        before: People by segment before, the rows of the matrix.
        entries, exits: People who came and left by segment; None where they are not shown. Of all primary segments.
        were: People of each segment before; of all primary segments.
        causes: By segment, causes of leaving it, the most frequent first. Segments whose exits are not shown have none.
    """

    cells: dict[tuple[str, str], int | None]
    before: dict[str, int]
    entries: dict[str, int | None]
    exits: dict[str, int | None]
    were: dict[str, int]
    causes: dict[str, list[Cause]]

    def destinations(self, name: str) -> list[tuple[str, int]]:
        """Where the people who left a segment are now, the most first; what is not shown is left out."""
        found = [(to, users) for (origin, to), users in self.cells.items() if origin == name != to and users]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def moves(self) -> list[tuple[str, str, int]]:
        """From, to and people of every move between two segments that is shown, the most first."""
        found = [
            (origin, to, users)
            for (origin, to), users in self.cells.items()
            if users and origin != to and not {origin, to} & {NEW, GONE, OTHERS}
        ]
        return sorted(found, key=lambda move: (-move[2], move[0], move[1]))


def movement(facts: Facts) -> Movement | None:
    """The moves since `flows_since`; None on a first date, or where an earlier version wrote it."""
    since, entries, exits = facts.now.flows_since, facts.now.moved("entries"), facts.now.moved("exits")
    if since is None or entries is None or exits is None:
        return None
    now = facts.now.sizes
    earlier = {name: facts.now.sizes.get(name, 0) - entries.get(name, 0) + exits.get(name, 0) for name in now}
    removed = {name: count for name, count in exits.items() if name not in now and _group(facts, name) == PRIMARY}
    names = sorted({*facts.primary, *removed})
    were = {name: earlier.get(name, removed.get(name, 0)) for name in names}
    secret = _hidden(names, were, facts.min_cell) | _hidden(names, now, facts.min_cell)
    # Entries or exits, and the sizes of the two dates, tell the other ones.
    small = (_hidden(names, counts, facts.min_cell, totals=False) for counts in (entries, exits))
    masked = secret.union(*small)
    if facts.now.flows is not None:
        found = _counted(facts.now.flows, names, were, exits, _own(names, were, now, secret))
        cells, before, told = _masked(found, masked, facts.min_cell)
        masked |= told
    else:
        cells, before = {}, {}
    return Movement(
        cells,
        before,
        {name: None if name in masked else entries.get(name, 0) for name in names},
        {name: None if name in masked else exits.get(name, 0) for name in names},
        {name: users for name, users in were.items() if name not in secret},
        _causes(facts, [name for name in names if name not in masked]),
    )


def _group(facts: Facts, name: str) -> str | None:
    frame = None if facts.before is None else facts.before.definitions
    rows = None if frame is None else frame.filter(pl.col("segment") == name)
    return None if rows is None or rows.is_empty() else rows["group"][0]


def _hidden(names: Sequence[str], counts: Mapping[str, int], min_cell: int, *, totals: bool = True) -> set[str]:
    hidden = hidden_rows([counts.get(name, 0) for name in names], min_cell, totals=totals)
    return {name for name, gone in zip(names, hidden, strict=True) if gone}


def _own(names: Sequence[str], were: Mapping[str, int], now: Mapping[str, int], secret: Collection[str]) -> list[str]:
    """Segments with a row and a column of their own, the largest first; those of hidden size are among the others."""
    sizes = {name: max(now.get(name, 0), were[name]) for name in names}
    large = [name for name in sorted(names, key=lambda name: (-sizes[name], name)) if sizes[name] > 0]
    open_ones = [name for name in large if name not in secret]
    return open_ones if len(large) <= MOST_SEGMENTS else open_ones[: MOST_SEGMENTS - 1]


def _counted(
    flows: pl.DataFrame, names: Sequence[str], were: Mapping[str, int], exits: Mapping[str, int], own: Sequence[str]
) -> dict[tuple[str, str], int]:
    """People by segment before and now, with those who stayed, in the order of the matrix."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    moved = flows.filter(pl.col("group") == PRIMARY).select("from_segment", "to_segment", "users")
    called = {name: name if name in own else OTHERS for name in names}
    for origin, to, users in moved.rows():
        place = NEW if origin is None else called.get(origin, OTHERS), GONE if to is None else called.get(to, OTHERS)
        found[place] += users
    for name in names:
        found[called[name], called[name]] += were[name] - exits.get(name, 0)
    sides = [*own, *([OTHERS] if any(OTHERS in place for place, users in found.items() if users) else [])]
    places = [(origin, to) for origin in [*sides, NEW] for to in [*sides, GONE] if (origin, to) != (NEW, GONE)]
    return {place: found[place] for place in places}


def _masked(
    found: Mapping[tuple[str, str], int], masked: Collection[str], min_cell: int
) -> tuple[dict[tuple[str, str], int | None], dict[str, int], set[str]]:
    """The cells, the totals of the rows, and segments of which those who stayed are not shown."""
    rows: defaultdict[str, int] = defaultdict(int)
    columns: defaultdict[str, int] = defaultdict(int)
    for (origin, to), users in found.items():
        rows[origin] += users
        columns[to] += users
    open_rows, open_columns = _hidden(list(rows), rows, min_cell), _hidden(list(columns), columns, min_cell)
    also = [(name, name) for name in masked if (name, name) in found]
    hidden = hidden_cells(found, min_cell, open_rows=open_rows, open_columns=open_columns, also=also)
    cells = {place: None if place in hidden else users for place, users in found.items()}
    return (
        cells,
        {origin: users for origin, users in rows.items() if origin not in open_rows},
        {origin for origin, to in hidden if origin == to},
    )


def _causes(facts: Facts, names: list[str]) -> dict[str, list[Cause]]:
    flows = facts.now.flows
    if flows is None:
        return {}
    keys = [cause_key(kind, cause) for kind, cause in flows.select("cause_kind", "cause").rows()]
    left = (
        flows.with_columns(key=pl.Series(keys, dtype=pl.String))
        .filter((pl.col("group") == PRIMARY) & pl.col("from_segment").is_in(names))
        .group_by("from_segment", "key")
        .agg(pl.col("users").sum())
        .sort("from_segment", "users", "key", descending=[False, True, False])
    )
    return {
        name: masked_causes(left.filter(pl.col("from_segment") == name).select("key", "users").rows(), facts.min_cell)
        for name in names
    }


def masked_causes(counted: Sequence[tuple[str, int]], min_cell: int) -> list[Cause]:
    """The causes of many people; those of few are together.

    When all others together are of too few people, their number would follow from the last cause that is named: of
    that one, only a number is told which it is not below, whatever the others are.

    Args:
        counted: Causes and people, the most first.
        min_cell: The smallest number that is shown.
    """
    named = [Cause(key, users) for key, users in counted if users >= min_cell][:MOST_CAUSES]
    rest = sum(users for _, users in counted[len(named) :])
    if not rest:
        return named
    if rest >= min_cell:
        return [*named, Cause(OTHERS, rest)]
    if not named:
        return []
    *more, last = named
    at_least = last.people + rest - (min_cell - 1)
    if at_least >= min_cell:
        return [*more, Cause(last.key, at_least, exact=False)]
    return [*more, Cause(OTHERS, last.people + rest)]
