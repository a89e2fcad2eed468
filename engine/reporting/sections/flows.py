"""Who moved between segments, and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

import polars as pl

from engine.reporting.causes import VOCABULARY, cause_message
from engine.reporting.facts import NEW, Facts
from engine.reporting.message import Message, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.changes import with_why
from engine.reporting.sections.movement import Movement, movement
from engine.reporting.sections.parts import field, note, segment, share

_MOVES: Final = 3
_LEAVERS: Final = 4
_CAUSES: Final = 40


def section(facts: Facts) -> Section:
    """The moves within the primary group since the date before."""
    moves, since = movement(facts), facts.now.flows_since
    title = say("flows.title")
    if moves is None or since is None:
        return Section("flows", "manager", title, missing=say("flows.first"))
    if facts.now.flows is None:
        return Section("flows", "manager", title, missing=say("flows.missing", since=since))
    other = facts.compare if facts.compare != since else None
    missing = None if other is None else say("flows.other_date", since=since, compare=other)
    return Section(
        key="flows",
        audience="manager",
        title=title,
        sentences=tuple(_sentences(facts, moves)),
        figures=tuple(_figures(facts, moves, since)),
        missing=missing,
    )


def _leavers(facts: Facts, moves: Movement) -> list[str]:
    """Segments that people left: the best one, then those that most left."""
    left = [name for name, users in moves.exits.items() if users and moves.were.get(name)]
    return sorted(left, key=lambda name: (name != facts.best, -(moves.exits[name] or 0), name))


def _sentences(facts: Facts, moves: Movement) -> Iterator[Message]:
    largest = moves.moves()[:_MOVES]
    for origin, to, users in largest:
        yield say("flows.move", users=users, origin=segment(origin), to=segment(to))
    if not largest:
        yield say("flows.none", people=facts.min_cell)
    for name in _leavers(facts, moves)[:_LEAVERS]:
        exits, were = moves.exits[name] or 0, moves.were[name]
        left = say("flows.left", exits=exits, users=were, segment=segment(name), share=share(exits, were))
        yield with_why(left, moves, name)


def _figures(facts: Facts, moves: Movement, since: date) -> Iterator[Figure]:
    if moves.cells:
        yield _matrix(facts, moves, since)
    yield from _causes(facts, moves, since)


def _matrix(facts: Facts, moves: Movement, since: date) -> Figure:
    rows = [
        {
            "from_segment": origin,
            "to_segment": to,
            "people": users,
            "share": None if users is None or not moves.before.get(origin) else users / moves.before[origin],
        }
        for (origin, to), users in moves.cells.items()
    ]
    largest = moves.moves()
    schema = {"from_segment": pl.String, "to_segment": pl.String, "people": pl.Int64, "share": pl.Float64}
    # Rows and columns of nobody, or of which nothing is shown, are left out.
    seen = [pl.col("share").sum().over(side) > 0 for side in ("from_segment", "to_segment")]
    table = pl.DataFrame(rows, schema).filter(*seen)
    title = (
        say("flows.matrix_title", users=largest[0][2], origin=segment(largest[0][0]), to=segment(largest[0][1]))
        if largest
        else say("flows.none", people=facts.min_cell)
    )
    return Figure(
        key="flows_matrix",
        kind="heat",
        title=title,
        definition=say("flows.matrix_definition", since=since, day=facts.as_of, new=segment(NEW), note=note(facts)),
        table=table,
        fields=(
            field("from_segment", vocabulary="segment"),
            field("to_segment", vocabulary="segment"),
            field("people", "count"),
            field("share", "share"),
        ),
        x="to_segment",
        y="from_segment",
        colour="share",
        users="people",
    )


def _causes(facts: Facts, moves: Movement, since: date) -> Iterator[Figure]:
    listed = [(name, cause) for name in _leavers(facts, moves) for cause in moves.causes.get(name, ())]
    if not listed:
        return
    rows = [(name, cause.key, cause.people, cause.people / (moves.exits[name] or 1)) for name, cause in listed]
    schema = {"segment": pl.String, "cause": pl.String, "at_least": pl.Int64, "share": pl.Float64}
    table = pl.DataFrame(rows, schema, orient="row")
    name, cause = listed[0]
    title = say(
        "flows.causes_title" if cause.exact else "flows.causes_title_at_least",
        users=cause.people,
        exits=moves.exits[name] or 0,
        segment=segment(name),
        cause=cause_message(cause.key),
    )
    definition = say("flows.causes_definition", since=since, note=note(facts))
    labels = (field("at_least", "count"), field("share", "share"))
    of_one = table.filter(pl.col("segment") == name)
    yield Figure(
        key="flows_causes",
        kind="bars",
        title=title,
        definition=definition,
        table=of_one.select("cause", "at_least", "share"),
        fields=(field("cause", vocabulary=VOCABULARY), *labels),
        x="at_least",
        y="cause",
        users="at_least",
    )
    yield Figure(
        key="flows_all_causes",
        kind="none",
        title=say("flows.all_causes_title", segments=table["segment"].unique().len()),
        definition=definition,
        table=table.head(_CAUSES),
        fields=(field("segment", vocabulary="segment"), field("cause", vocabulary=VOCABULARY), *labels),
        users="at_least",
    )
