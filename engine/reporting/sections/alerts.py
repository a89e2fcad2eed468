"""What asks for somebody's attention: people who drift away, and what the run warned of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.masking import hidden_rows, without
from engine.reporting.message import Message, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.parts import all_users, field, note, segment, share
from engine.segments.findings import GUARDS

AWAY: Final = (
    "at_risk_subscriber",
    "inactive_subscriber",
    "recently_inactive_subscriber",
    "unsubscribed",
    "activity_at_risk_weekly",
    "activity_at_risk_monthly",
    "activity_dormant",
    "inactive_buyer",
    "inactive_or_at_risk",
    "at_Risk",
    "At Risk",
    "At Risk Customer",
    "cant_loose",
    "Can't Lose Them",
    "Cant Lose Them",
    "Cannot Lose Them",
    "about_to_sleep",
    "About To Sleep",
    "About to Sleep",
    "hibernating",
    "Hibernating",
    "Hibernating customers",
    "Inactive Customer",
    "Lost",
    "Lost customers",
    "Churned",
)
"""Stages of the presets and segments of RFM maps whose people are about to go, or gone."""

_GUARD: Final = re.compile(r"guard (\w+)( \(accepted\))?: (.+)", re.DOTALL)
_PEOPLE: Final = re.compile(r"\b(\d+)(?= users?\b| of \d+ users\b| in the run of\b)")


def section(facts: Facts) -> Section:
    """Inactive people and people at risk, complaints and opt-outs, guards and warnings."""
    table = _away(facts)
    rates = tuple(_rates(facts))
    alarms = tuple(warning(line, facts.min_cell) for line in facts.now.warnings)
    sentences = (*_sentences(facts, table), *rates)
    return Section(
        key="alerts",
        audience="manager",
        title=say("alerts.title"),
        sentences=sentences if sentences or alarms else (say("alerts.none"),),
        figures=() if table is None else (_figure(facts, table),),
        missing=say("alerts.no_stages") if table is None else None,
        alarms=alarms,
    )


def warning(line: str, min_cell: int) -> Message:
    """A warning of a run, as its guard is called in the language of the reader; the rest is as the run told it.

    Args:
        line: The warning.
        min_cell: Numbers of fewer people are not told.
    """

    def told(found: re.Match[str]) -> str:
        return f"<{min_cell}" if 0 < int(found[1]) < min_cell else found[1]

    masked = _PEOPLE.sub(told, line)
    found = _GUARD.fullmatch(masked)
    if found is None or found[1] not in GUARDS:
        return say("alerts.warning", text=masked)
    accepted = "_accepted" if found[2] else ""
    return say(f"alerts.guard{accepted}", guard=say(f"alerts.guard_{found[1]}"), text=found[3])


def _away(facts: Facts) -> pl.DataFrame | None:
    """People who are about to go, or gone, by segment; None where no segment is of them."""
    now = facts.now.sizes
    then = {} if facts.before is None else facts.before.sizes
    names = [name for name in AWAY if name in now and (now[name] or then.get(name))]
    if not names:
        return None
    # The total of each group is known: with the numbers of its other segments they are masked together.
    hidden: dict[str, set[str]] = {}
    for column, sizes in (("users", now), ("users_before", then)):
        listed = sorted(sizes)
        groups = [facts.groups.get(name) or f"tag {name}" for name in listed]
        marks = hidden_rows([sizes[name] for name in listed], facts.min_cell, groups)
        hidden[column] = {name for name, gone in zip(listed, marks, strict=True) if gone}
    frame = pl.DataFrame(
        {
            "segment": names,
            "users": [now[name] for name in names],
            "users_before": [then.get(name) for name in names],
        },
        {"segment": pl.String, "users": pl.Int64, "users_before": pl.Int64},
    )
    for column, gone in hidden.items():
        frame = without(frame, [name in gone for name in names], [column])
    change = pl.col("users") - pl.col("users_before")
    frame = frame.with_columns(change=change).filter(pl.col("users").is_not_null())
    return None if frame.is_empty() else frame.sort("users", "segment", descending=[True, False])


def _sentences(facts: Facts, table: pl.DataFrame | None) -> Iterator[Message]:
    if table is None:
        return
    for row in table.head(3).iter_rows(named=True):
        people = share(row["users"], facts.now.users)
        if facts.compare is None or row["change"] is None:
            yield say("alerts.away", segment=segment(row["segment"]), users=row["users"], share=people)
        else:
            yield say(
                "alerts.away_since",
                segment=segment(row["segment"]),
                users=row["users"],
                share=people,
                change=Quantity(row["change"], "count", signed=True),
                day=facts.compare,
            )


def _rates(facts: Facts) -> Iterator[Message]:
    """Opt-outs and complaints of all users, beside those of the date that is compared with."""
    now, then = all_users(facts.now), all_users(facts.before)
    for name, count in (("unsubscribe_rate", "unsubscribes"), ("complaint_rate", "complaints")):
        rate, cases, delivered = now.get(name), now.get(count), now.get("delivered")
        if rate is None or cases is None or delivered is None or 0 < cases < facts.min_cell:
            continue
        was = then.get(count)
        earlier = None if was is None or 0 < was < facts.min_cell else then.get(name)
        yield say(
            f"alerts.{name}",
            rate=Quantity(rate, "share"),
            delivered=Quantity(delivered),
            before=Quantity(earlier, "share"),
        )


def _figure(facts: Facts, table: pl.DataFrame) -> Figure:
    first = table.row(0, named=True)
    return Figure(
        key="alerts_away",
        kind="bars",
        title=say(
            "alerts.away_title",
            segment=segment(first["segment"]),
            users=first["users"],
            share=share(first["users"], facts.now.users),
        ),
        definition=say("alerts.away_definition", note=note(facts)),
        table=table,
        fields=(
            field("segment", vocabulary="segment"),
            field("users", "count"),
            field("users_before", "count"),
            field("change", "count"),
        ),
        x="users",
        y="segment",
        users="users",
    )
