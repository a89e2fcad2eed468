"""Addresses that several users have: only the first is written, and nobody who shares one with a member leaves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from engine.exports.people import KEY, LEFT_OUT, IdRange, Unit, read_units
from engine.exports.plan import Plan
from engine.exports.suppression import Suppressed
from engine.progress import Progress, track
from engine.why.published import Published


@dataclass(frozen=True, eq=False)
class Source:
    """What an export reads."""

    published: Published
    plan: Plan
    units: tuple[Unit, ...]
    suppressed: Suppressed
    ranges: tuple[IdRange, ...]


@dataclass(frozen=True, eq=False)
class Overlap:
    """What users of different ranges have in common.

    Attributes:
        repeated: Per unit, hashes of keys that more than one user has, in whatever range.
        leaving: Per segment, the keys of those who left it.
    """

    repeated: dict[Unit, pl.Series]
    leaving: dict[str, pl.Series]


def find_overlap(source: Source, progress: Progress | None) -> Overlap:
    """Look through all ranges for what they have in common; nothing to do when there is one range and no exit."""
    first = source.plan.exports.duplicates == "first"
    has_exits = any(unit.kind == "exits" for unit in source.units)
    if not has_exits and (len(source.ranges) == 1 or not first):
        return Overlap({}, {})
    hashes: defaultdict[Unit, list[pl.Series]] = defaultdict(list)
    left: defaultdict[str, list[pl.Series]] = defaultdict(list)
    bare = replace(source, plan=replace(source.plan, columns=(), names=(), contacts=(), published=()))
    for unit, rows in read_all(bare, source.units, track(progress, "looking for shared addresses", len(source.ranges))):
        keys = rows.filter(pl.col(LEFT_OUT).is_null())[KEY]
        hashes[unit].append(keys.hash())
        if unit.kind == "exits":
            left[unit.segment].append(keys)
    repeated = {unit: pl.concat(found) for unit, found in hashes.items()}
    return Overlap(
        {unit: found.filter(found.is_duplicated()).unique() for unit, found in repeated.items()} if first else {},
        {segment: pl.concat(found).unique() for segment, found in left.items()},
    )


def read_all(
    source: Source, units: Sequence[Unit], advance: Callable[[object], None] | None
) -> Iterator[tuple[Unit, pl.DataFrame]]:
    """The users of units, range by range; `advance` is called after each range."""
    for keys in source.ranges:
        yield from read_units(source.published, source.plan, units, keys, source.suppressed)
        if advance is not None:
            advance(keys)


def shared_with(rows: pl.DataFrame, keys: pl.Series) -> pl.Series:
    """Those of some keys that users have who are not left out."""
    own = rows.filter(pl.col(LEFT_OUT).is_null())[KEY]
    return own.filter(own.is_in(keys.implode()))


def without_members(rows: pl.DataFrame, staying: Sequence[pl.Series]) -> pl.DataFrame:
    """Leave out who shares a key with a member: the tool would take the member from the list."""
    if not staying:
        return rows
    stays = pl.col(KEY).is_in(pl.concat(staying).implode()) & pl.col(LEFT_OUT).is_null()
    return rows.with_columns(pl.when(stays).then(pl.lit("still_member")).otherwise(LEFT_OUT).alias(LEFT_OUT))


def first_of_each(rows: pl.DataFrame, repeated: pl.Series | None, seen: set[str]) -> pl.DataFrame:
    """Mark all but the first user of each key; `seen` has the keys of users before that others may have too."""
    key, is_open = rows[KEY], rows[LEFT_OUT].is_null()
    shared = key.is_duplicated()
    if repeated is not None:
        # Equal hashes are looked into, not believed.
        shared |= key.hash().is_in(repeated.implode())
    again = []
    for place in (shared & is_open).arg_true():
        if key[place] in seen:
            again.append(place)
        seen.add(key[place])
    marked = pl.int_range(pl.len()).is_in(again)
    return rows.with_columns(pl.when(marked).then(pl.lit("duplicate")).otherwise(LEFT_OUT).alias(LEFT_OUT))
