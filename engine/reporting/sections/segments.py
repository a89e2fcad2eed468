"""Segments by size and value, who came and who left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.masking import OTHERS
from engine.reporting.message import Message, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.movement import Movement, movement
from engine.reporting.sections.parts import MOST_ROWS, all_users, field, money, note, segment, segment_rows, share
from engine.reporting.trends import sizes_over_dates

_LINES: Final = 6
_DATES: Final = 3
"""Dates from which on a line says something."""
_COLUMNS: Final = ("user_share", "mean_value", "total_value", "revenue")


def section(facts: Facts) -> Section:
    """The segments of the primary group."""
    rows = segment_rows(facts, facts.primary, _COLUMNS)
    known = rows.filter(~pl.col("hidden"))
    title = say("segments.title")
    if known.is_empty():
        return Section("segments", "manager", title, missing=say("segments.missing"))
    return Section(
        key="segments",
        audience="manager",
        title=title,
        sentences=tuple(_sentences(facts, known, all_users(facts.now))),
        figures=tuple(_figures(facts, rows, movement(facts))),
        missing=say("segments.no_value") if facts.best is None else None,
    )


def _sentences(facts: Facts, known: pl.DataFrame, total: Mapping[str, float | None]) -> Iterator[Message]:
    largest = known.filter(pl.col("segment") != OTHERS).row(0, named=True)
    everyone = facts.now.users
    yield say(
        "segments.largest",
        segment=segment(largest["segment"]),
        users=largest["users"],
        share=share(largest["users"], everyone),
    )
    best = known.filter(pl.col("segment") == (facts.best or ""))
    if best.is_empty():
        return
    row, mean, value = best.row(0, named=True), total.get("mean_value"), total.get("total_value")
    yield say(
        "segments.best",
        segment=segment(row["segment"]),
        value=money(row["mean_value"]),
        users=row["users"],
        times=Quantity(row["mean_value"] / mean if mean else None, "factor"),
        mean=money(mean),
    )
    yield say(
        "segments.part",
        segment=segment(row["segment"]),
        users=share(row["users"], everyone),
        value=share(row["total_value"], value),
    )


def _figures(facts: Facts, rows: pl.DataFrame, moves: Movement | None) -> Iterator[Figure]:
    yield _sizes(facts, rows)
    valued = rows.filter(pl.col("mean_value").is_not_null()).sort("mean_value", "segment", descending=[True, False])
    if facts.best is not None and not valued.is_empty():
        yield _values(facts, valued)
    if moves is not None:
        yield from _moved(facts, moves)
    yield from _history(facts)


def _sizes(facts: Facts, rows: pl.DataFrame) -> Figure:
    known = rows.filter(~pl.col("hidden") & (pl.col("segment") != OTHERS))
    first = known.row(0, named=True)
    return Figure(
        key="segments_size",
        kind="bars",
        title=say(
            "segments.size_title",
            segment=segment(first["segment"]),
            users=first["users"],
            share=share(first["users"], facts.now.users),
        ),
        definition=say("segments.size_definition", day=facts.as_of, note=note(facts)),
        table=rows.drop("hidden"),
        fields=(
            field("segment", vocabulary="segment"),
            field("users", "count"),
            field("user_share", "share"),
            field("mean_value", "money"),
            field("total_value", "money"),
            field("revenue", "money"),
        ),
        x="users",
        y="segment",
        users="users",
        marked=() if facts.best is None else (facts.best,),
    )


def _values(facts: Facts, valued: pl.DataFrame) -> Figure:
    first = valued.row(0, named=True)
    return Figure(
        key="segments_value",
        kind="bars",
        title=say("segments.value_title", segment=segment(first["segment"]), value=money(first["mean_value"])),
        definition=say("segments.value_definition", day=facts.as_of, note=note(facts)),
        table=valued.select("segment", "mean_value", "users", "total_value"),
        fields=(
            field("segment", vocabulary="segment"),
            field("mean_value", "money"),
            field("users", "count"),
            field("total_value", "money"),
        ),
        x="mean_value",
        y="segment",
        users="users",
        marked=(first["segment"],),
    )


def _moved(facts: Facts, moves: Movement) -> Iterator[Figure]:
    shown = [name for name in facts.primary if moves.entries.get(name) is not None][:MOST_ROWS]
    shown = [name for name in shown if moves.entries[name] or moves.exits[name]]
    if not shown or facts.now.flows_since is None:
        return
    rows = [
        {"segment": name, "direction": direction, "people": counts[name]}
        for name in shown
        for direction, counts in (("entries", moves.entries), ("exits", moves.exits))
    ]
    most = max(shown, key=lambda name: (moves.exits[name] or 0, name))
    yield Figure(
        key="segments_moves",
        kind="grouped_bars",
        title=say("segments.moves_title", segment=segment(most), users=Quantity(moves.exits[most])),
        definition=say("segments.moves_definition", since=facts.now.flows_since, note=note(facts)),
        table=pl.DataFrame(rows, {"segment": pl.String, "direction": pl.String, "people": pl.Int64}),
        fields=(
            field("segment", vocabulary="segment"),
            field("direction", vocabulary="direction"),
            field("people", "count"),
        ),
        x="people",
        y="segment",
        colour="direction",
        users="people",
    )


def _history(facts: Facts) -> Iterator[Figure]:
    """Sizes over dates, of the largest segments."""
    names = facts.primary[:_LINES]
    trend = sizes_over_dates(facts.history, facts.groups, facts.min_cell, names)
    trend = trend.filter(pl.col("users").is_not_null()).select("as_of", "segment", "users")
    days = trend["as_of"].unique().len()
    if days < _DATES:
        return
    places = {name: place for place, name in enumerate(names)}
    order = pl.col("segment").replace_strict(places, return_dtype=pl.Int64)
    first, last = trend["as_of"].min(), trend["as_of"].max()
    ends = [trend.filter((pl.col("segment") == names[0]) & (pl.col("as_of") == day))["users"] for day in (first, last)]
    then, now = (end[0] if end.len() else None for end in ends)
    yield Figure(
        key="segments_history",
        kind="lines",
        title=say(
            "segments.history_title",
            segment=segment(names[0]),
            then=Quantity(then),
            now=Quantity(now),
            dates=days,
        ),
        definition=say("segments.history_definition", segments=len(names), note=note(facts)),
        table=trend.sort("as_of", order),
        fields=(field("as_of"), field("segment", vocabulary="segment"), field("users", "count")),
        x="as_of",
        y="users",
        colour="segment",
        users="users",
    )
