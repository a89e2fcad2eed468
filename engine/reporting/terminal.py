"""A report in a terminal: a table of the segments with sparklines, then the sentences of the page."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.masking import hidden_rows
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Audience, Report, Section
from engine.reporting.trends import sizes_over_dates, sparkline
from engine.reporting.words import Voice

MOST_DATES: Final = 12
"""Dates of a sparkline: the last so many."""

MOST_ROWS: Final = 30
"""Segments of the table: the largest of the primary group."""


@dataclass(frozen=True)
class SegmentLine:
    """A segment in short.

    Attributes:
        segment: Its name.
        users: None when they are too few to be shown.
        share: Of all users.
        change: Users now less those before; None on the first date, or when one of them is not shown.
        value: Mean spend per head in major units.
        trend: Users over dates, the last one now; None where they are not shown or not known.
    """

    segment: str
    users: int | None
    share: float | None
    change: int | None
    value: float | None
    trend: tuple[int | None, ...]


def segment_lines(facts: Facts) -> tuple[SegmentLine, ...]:
    """The segments of the primary group, the largest first; those of nobody are left out."""
    sizes = facts.now.sizes
    names = [name for name in facts.primary if sizes.get(name)]
    shown = _shown(sizes, names, facts.min_cell)
    then = {} if facts.before is None else facts.before.sizes
    before = _shown(then, [name for name in facts.primary if name in then], facts.min_cell)
    values = _values(facts)
    trends = _trends(facts, names[:MOST_ROWS])
    users = facts.now.users
    return tuple(
        SegmentLine(
            segment=name,
            users=shown[name],
            share=None if shown[name] is None or not users else (shown[name] or 0) / users,
            change=_difference(shown[name], before.get(name)),
            value=None if shown[name] is None else values.get(name),
            trend=trends.get(name, ()),
        )
        for name in names[:MOST_ROWS]
    )


def lines(report: Report, facts: Facts, voice: Voice, audiences: Collection[Audience]) -> Iterator[str]:
    """The lines of a report, without marks of a terminal.

    Args:
        report: The report.
        facts: What it was made from.
        voice: Its language.
        audiences: Whose sections are told; alarms of all sections are.
    """
    yield voice.put(report.title)
    yield from (voice.put(line) for line in report.subtitle)
    yield ""
    yield from (f"{voice.number(tile.number)}  {voice.put(tile.label)}" for tile in report.tiles)
    table = segment_lines(facts)
    if table:
        yield ""
        yield from _table(table, facts, voice)
    alarms = [voice.sentence(alarm) for section in report.sections for alarm in section.alarms]
    if alarms:
        yield ""
        yield from (f"▲ {alarm}" for alarm in alarms)
    for section in report.sections:
        if section.audience in audiences:
            yield from _section(section, voice)


def _section(section: Section, voice: Voice) -> Iterator[str]:
    told = [f"  • {voice.sentence(sentence)}" for sentence in section.sentences]
    if section.missing is not None:
        told.append(f"  {voice.put(section.missing)}")
    if told:
        yield ""
        yield voice.put(section.title)
        yield from told


def _table(table: Sequence[SegmentLine], facts: Facts, voice: Voice) -> Iterator[str]:
    heads = ["segment", "users", "share", "change", "value", "trend"]
    kept = [
        head
        for head in heads
        if head in {"segment", "users", "share"} or any(getattr(line, head) not in {None, ()} for line in table)
    ]
    rows = [[voice.put(Message(f"show.{head}")) for head in kept]]
    for line in table:
        cells = {
            "segment": voice.name(Name(line.segment, "segment")),
            "users": voice.number(Quantity(line.users)),
            "share": voice.number(Quantity(line.share, "share")),
            "change": voice.number(Quantity(line.change, signed=True)),
            "value": voice.number(Quantity(line.value, "money")),
            "trend": sparkline(line.trend),
        }
        rows.append([cells[head] for head in kept])
    yield from aligned(rows, left={"segment", "trend"} & set(kept), heads=kept)
    if any(line.users is None for line in table):
        yield voice.put(say("show.masked", people=facts.min_cell))


def aligned(rows: Sequence[Sequence[str]], *, left: Collection[str], heads: Sequence[str]) -> Iterator[str]:
    """Rows as columns of letters, numbers to the right.

    Args:
        rows: Cells; the first row has the titles.
        left: The columns that are not of numbers.
        heads: Names of the columns.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            cell + " " * (width - _width(cell)) if head in left else " " * (width - _width(cell)) + cell
            for cell, width, head in zip(row, widths, heads, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    wide = sum(unicodedata.east_asian_width(letter) in {"W", "F"} for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def _shown(sizes: dict[str, int], names: Sequence[str], min_cell: int) -> dict[str, int | None]:
    users = [sizes[name] for name in names]
    hidden = hidden_rows(users, min_cell)
    return {name: None if gone else count for name, count, gone in zip(names, users, hidden, strict=True)}


def _difference(now: int | None, then: int | None) -> int | None:
    return None if now is None or then is None else now - then


def _values(facts: Facts) -> dict[str, float | None]:
    frame = facts.now.kpis
    return {} if frame is None else dict(frame.select("segment", "mean_value").iter_rows())


def _trends(facts: Facts, names: Sequence[str]) -> dict[str, tuple[int | None, ...]]:
    days = [day for day in facts.dates if day <= facts.as_of][-MOST_DATES:]
    if len(days) < 2:
        return {}
    recent = facts.history.filter(pl.col("as_of").is_in(days))
    sizes = sizes_over_dates(recent, facts.groups, facts.min_cell, names)
    known = {(day, name): users for day, name, users in sizes.select("as_of", "segment", "users").iter_rows()}
    return {name: tuple(known.get((day, name)) for day in days) for name in names}
