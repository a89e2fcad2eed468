"""Key figures per segment, each with what it is divided by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from engine.points.rates import wilson
from engine.reporting.facts import Facts
from engine.reporting.masking import OTHERS, hidden_rows, without
from engine.reporting.message import Message, Quantity, Unit, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.parts import all_users, field, note, segment, segment_rows
from engine.segments.kpis import RATES

_PEOPLE: Final = {"conversion": ("buyers", "users"), "reactivation_rate": ("reactivated", "inactive")}
"""Rates of people: what is above and below the line is so many of them, and an interval can be told."""

_MESSAGES: Final = tuple(name for name in RATES if name not in _PEOPLE)
_UNITS: Final[dict[str, Unit]] = {
    "delivered": "count",
    "orders": "count",
    "revenue": "money",
    **dict.fromkeys(_MESSAGES, "share"),
}


def section(facts: Facts) -> Section:
    """The key figures of the primary segments in their window before the date."""
    title, kpis = say("kpis.title"), facts.now.kpis
    days = all_users(facts.now).get("window_days")
    columns = ["delivered", *_MESSAGES, "orders", "revenue", *(name for pair in _PEOPLE.values() for name in pair)]
    rows = segment_rows(facts, facts.primary, columns)
    known = rows.filter(~pl.col("hidden") & (pl.col("segment") != OTHERS))
    if kpis is None or known.is_empty():
        return Section("kpis", "manager", title, missing=say("kpis.missing"))
    rates = {name: table for name in _PEOPLE if (table := _people(facts, known, name)) is not None}
    messages = [name for name in _MESSAGES if known[name].count()]
    return Section(
        key="kpis",
        audience="manager",
        title=title,
        sentences=tuple(_sentences(facts, rates, known, messages, days)),
        figures=(
            *(_rate(facts, name, table, days) for name, table in rates.items()),
            *_messages(facts, known, messages, days),
        ),
        missing=None if messages else say("kpis.no_messages"),
    )


def _people(facts: Facts, known: pl.DataFrame, name: str) -> pl.DataFrame | None:
    """A rate of people with its interval; None when the configuration has no role for it."""
    above, below = _PEOPLE[name]
    counted = known.filter(pl.col(above).is_not_null() & (pl.col(below) > 0)).cast({above: pl.Int64, below: pl.Int64})
    if counted.is_empty():
        return None
    cases, all_of = counted[above].to_list(), counted[below].to_list()
    rest = [whole - part for part, whole in zip(cases, all_of, strict=True)]
    # So few who did, who did not, or who could have, are not shown; sums over segments are known.
    hidden = [
        any(marks)
        for marks in zip(*(hidden_rows(column, facts.min_cell) for column in (cases, rest, all_of)), strict=True)
    ]
    ends = [wilson(part, whole) for part, whole in zip(cases, all_of, strict=True)]
    table = counted.select(
        "segment",
        rate=pl.col(above) / pl.col(below),
        low=pl.Series([end.low for end in ends]),
        high=pl.Series([end.high for end in ends]),
        cases=pl.col(above),
        of=pl.col(below),
    )
    table = without(table, hidden, ["rate", "low", "high", "cases"] + ([] if below == "users" else ["of"]))
    shown = table.filter(pl.col("rate").is_not_null())
    return None if shown.is_empty() else shown.sort("rate", "segment", descending=[True, False])


def _sentences(
    facts: Facts, rates: dict[str, pl.DataFrame], known: pl.DataFrame, messages: Sequence[str], days: float | None
) -> Iterator[Message]:
    for name, table in rates.items():
        first, last = table.row(0, named=True), table.row(-1, named=True)
        yield say(
            f"kpis.{name}",
            segment=segment(first["segment"]),
            rate=Quantity(first["rate"], "share"),
            cases=first["cases"],
            users=first["of"],
            lowest=segment(last["segment"]),
            least=Quantity(last["rate"], "share"),
            mean=Quantity(all_users(facts.now).get(name), "share"),
            days=Quantity(days, "days"),
        )
    for name in messages:
        rows = known.filter(pl.col(name).is_not_null() & (pl.col("delivered") > 0))
        row = rows.sort(name, "segment", descending=[True, False]).row(0, named=True)
        if row[name]:
            yield say(
                "kpis.message_rate",
                rate=say(f"fields.{name}"),
                segment=segment(row["segment"]),
                value=Quantity(row[name], "share"),
                delivered=row["delivered"],
            )


def _rate(facts: Facts, name: str, table: pl.DataFrame, days: float | None) -> Figure:
    first, last = table.row(0, named=True), table.row(-1, named=True)
    above, below = _PEOPLE[name]
    return Figure(
        key=f"kpis_{name}",
        kind="dots",
        title=say(
            f"kpis.{name}_title",
            segment=segment(first["segment"]),
            rate=Quantity(first["rate"], "share"),
            lowest=segment(last["segment"]),
            least=Quantity(last["rate"], "share"),
        ),
        definition=say(f"kpis.{name}_definition", days=Quantity(days, "days"), note=note(facts)),
        table=table.rename({"rate": name, "cases": above, "of": below}),
        fields=(
            field("segment", vocabulary="segment"),
            field(name, "share"),
            field("low", "share"),
            field("high", "share"),
            field(above, "count"),
            field(below, "count"),
        ),
        x=name,
        y="segment",
        low="low",
        high="high",
        users=below,
    )


def _messages(facts: Facts, known: pl.DataFrame, messages: Sequence[str], days: float | None) -> Iterator[Figure]:
    columns = [*(["delivered", *messages] if messages else []), *(c for c in ("orders", "revenue") if known[c].count())]
    if not columns:
        return
    yield Figure(
        key="kpis_figures",
        kind="none",
        title=say("kpis.figures_title", segments=known.height, days=Quantity(days, "days")),
        definition=say("kpis.figures_definition", days=Quantity(days, "days"), note=note(facts)),
        table=known.select("segment", "users", *columns),
        fields=(
            field("segment", vocabulary="segment"),
            field("users", "count"),
            *(field(name, _UNITS[name]) for name in columns),
        ),
        users="users",
    )
