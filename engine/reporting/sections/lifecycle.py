"""Lifecycle stages: how many people are in each, and how many were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.masking import hidden_rows, without
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.parts import field, note, segment, share


def section(facts: Facts) -> Section:
    """The stages of every preset of the configuration."""
    groups = stages(facts)
    title = say("lifecycle.title")
    if not groups:
        return Section("lifecycle", "manager", title, missing=say("lifecycle.missing"))
    tables = {group: _table(facts, names) for group, names in groups.items()}
    known = {group: table for group, table in tables.items() if table["users"].sum()}
    if not known:
        return Section("lifecycle", "manager", title, missing=say("lifecycle.nobody", people=facts.min_cell))
    return Section(
        key="lifecycle",
        audience="manager",
        title=title,
        sentences=tuple(said for table in known.values() for said in _sentences(facts, table)),
        figures=tuple(_figure(facts, group, table, place) for place, (group, table) in enumerate(known.items())),
    )


def stages(facts: Facts) -> dict[str, list[str]]:
    """The lifecycle stages by group, in the order in which they are tried."""
    frame = facts.now.definitions
    if frame is None:
        return {}
    found: defaultdict[str, list[str]] = defaultdict(list)
    rows = frame.filter(pl.col("kind") == "lifecycle").sort("position", "segment")
    for name, group in rows.select("segment", "group").rows():
        found[group or ""].append(name)
    return dict(found)


def _table(facts: Facts, names: list[str]) -> pl.DataFrame:
    now = facts.now.sizes
    then = {} if facts.before is None else facts.before.sizes
    frame = pl.DataFrame(
        {
            "segment": names,
            "users": [now.get(name, 0) for name in names],
            "users_before": [then.get(name) for name in names],
        },
        {"segment": pl.String, "users": pl.Int64, "users_before": pl.Int64},
    )
    for column in ("users", "users_before"):
        frame = without(frame, hidden_rows(frame[column].to_list(), facts.min_cell), [column])
    everyone = facts.now.users
    part = pl.col("users") / everyone if everyone else pl.lit(None, pl.Float64)
    return frame.with_columns(user_share=part, change=pl.col("users") - pl.col("users_before"))


def _sentences(facts: Facts, table: pl.DataFrame) -> Iterator[Message]:
    top = table.filter(pl.col("users").is_not_null()).sort("users", "segment", descending=[True, False])
    row = top.row(0, named=True)
    yield say(
        "lifecycle.largest",
        segment=segment(row["segment"]),
        users=row["users"],
        share=share(row["users"], facts.now.users),
    )
    moved = table.filter(pl.col("change").is_not_null() & (pl.col("change") != 0))
    if not moved.is_empty() and facts.compare is not None:
        row = moved.sort(pl.col("change").abs(), "segment", descending=[True, False]).row(0, named=True)
        yield say(
            "lifecycle.changed",
            segment=segment(row["segment"]),
            before=row["users_before"],
            users=row["users"],
            change=Quantity(row["change"], "count", signed=True),
            day=facts.compare,
        )


def _figure(facts: Facts, group: str, table: pl.DataFrame, place: int) -> Figure:
    row = table.sort("users", "segment", descending=[True, False], nulls_last=True).row(0, named=True)
    return Figure(
        key=f"lifecycle_{place + 1}",
        kind="bars",
        title=say(
            "lifecycle.figure_title",
            segment=segment(row["segment"]),
            users=Quantity(row["users"]),
            share=share(row["users"], facts.now.users),
        ),
        definition=say("lifecycle.figure_definition", group=Name(group, "group"), note=note(facts)),
        table=table,
        fields=(
            field("segment", vocabulary="segment"),
            field("users", "count"),
            field("user_share", "share"),
            field("users_before", "count"),
            field("change", "count"),
        ),
        x="users",
        y="segment",
        users="users",
    )
