"""What became of every row that was read: from the sources to the published tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

OUTCOMES: Final = ("kept", "merged", "duplicate", "after_as_of", "rejected", "excluded", "erased", "left_out")
"""What can become of a row, in the order in which it is told; together they are the rows read."""
MOST_LISTED: Final = 25


def section(facts: Facts) -> Section:
    """The reconciliation of rows, and rows by source and by type of event."""
    title, rows = say("rows.title"), whole_numbers(facts.now.counts.get("rows"))
    if "read" not in rows:
        return Section("rows", "engineer", title, missing=say("rows.none"))
    figures = [
        _outcomes(rows),
        *_listed(facts, "sources", "rows.sources_title", "source"),
        *_listed(facts, "event_types", "rows.types_title", "event_type"),
    ]
    return Section(
        "rows",
        "engineer",
        title,
        sentences=tuple(_sentences(facts, rows)),
        figures=tuple(figures),
        alarms=tuple(_alarms(facts, rows)),
    )


def whole_numbers(found: Any) -> dict[str, int]:
    """The whole numbers of a table of counts; empty for anything else."""
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, int)}


def outcomes(rows: Mapping[str, int]) -> dict[str, int]:
    """Rows by outcome, those that an earlier or later version counts too; without what is not counted."""
    others = sorted(name for name in rows if name != "read" and name not in OUTCOMES)
    return {name: rows[name] for name in (*OUTCOMES, *others) if name in rows}


def _sentences(facts: Facts, rows: Mapping[str, int]) -> Iterator[Message]:
    found = {name: count for name, count in outcomes(rows).items() if count}
    parts = tuple(say("rows.part", rows=count, outcome=Name(name, "outcome")) for name, count in found.items())
    if sum(found.values()) == rows["read"] and parts:
        yield say("rows.adds_up", read=rows["read"], parts=parts)
    if facts.now.users and rows.get("kept"):
        yield say("rows.users", events=rows["kept"], users=facts.now.users)
    contacts = whole_numbers(facts.now.counts.get("contacts"))
    if {"read", "matched"} <= set(contacts):
        yield say("rows.contacts", matched=contacts["matched"], read=contacts["read"])


def _alarms(facts: Facts, rows: Mapping[str, int]) -> Iterator[Message]:
    total = sum(outcomes(rows).values())
    if total != rows["read"]:
        yield say("rows.alarm_lost", read=rows["read"], total=total, difference=Quantity(rows["read"] - total))
    quarantined = facts.now.counts.get("quarantined")
    if isinstance(quarantined, list) and quarantined:
        yield say("rows.alarm_files", files=len(quarantined))
    absent = facts.now.counts.get("missing_types")
    if isinstance(absent, list) and absent:
        yield say("rows.alarm_types", types=tuple(say("learnt.name", name=Name(str(name))) for name in absent))


def _outcomes(rows: Mapping[str, int]) -> Figure:
    found, read = outcomes(rows), rows["read"]
    table = pl.DataFrame(
        [(name, count, count / read if read else None) for name, count in found.items()],
        {"outcome": pl.String, "rows": pl.Int64, "share": pl.Float64},
        orient="row",
    )
    kept = found.get("kept", 0) + found.get("merged", 0)
    return Figure(
        key="rows_outcomes",
        kind="bars",
        title=say("rows.outcomes_title", share=Quantity(kept / read if read else None, "share"), read=read),
        definition=say("rows.outcomes_definition"),
        table=table,
        fields=(
            Field("outcome", say("rows.outcome"), vocabulary="outcome"),
            Field("rows", say("rows.rows"), "count"),
            Field("share", say("rows.share"), "share"),
        ),
        x="rows",
        y="outcome",
        marked=("rejected",),
    )


def _listed(facts: Facts, counted: str, title: str, column: str) -> Iterator[Figure]:
    found = whole_numbers(facts.now.counts.get(counted))
    if not found:
        return
    largest = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    total = sum(found.values())
    table = pl.DataFrame(
        [(name, rows, rows / total if total else None) for name, rows in largest[:MOST_LISTED]],
        {column: pl.String, "rows": pl.Int64, "share": pl.Float64},
        orient="row",
    )
    yield Figure(
        key=f"rows_{counted}",
        kind="bars",
        title=say(
            title,
            count=len(found),
            first=Name(largest[0][0]),
            share=Quantity(largest[0][1] / total if total else None, "share"),
        ),
        definition=say(f"rows.{counted}_definition"),
        table=table,
        fields=(
            Field(column, say(f"rows.{column}")),
            Field("rows", say("rows.rows"), "count"),
            Field("share", say("rows.share"), "share"),
        ),
        x="rows",
        y=column,
    )
