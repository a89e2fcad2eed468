"""Rows that broke a rule, and the quality of the sources over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.rows import MOST_LISTED, whole_numbers

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

QUALITY: Final = ("rejected", "duplicate", "left_out", "excluded", "erased")
"""Outcomes of rows that tell of the quality of a source; `merged` and `after_as_of` are as they should be."""
_JUMP: Final = 0.01
"""Rise of the share of rejected rows since the date before that asks for attention."""


def section(facts: Facts) -> Section:
    """Rejected rows by source and rule, and shares of rows by outcome over dates."""
    title, rows = say("rejects.title"), whole_numbers(facts.now.counts.get("rows"))
    if "read" not in rows:
        return Section("rejects", "engineer", title, missing=say("rows.none"))
    rules = _rules(facts.now.counts.get("rejected"))
    shares = _shares(facts)
    return Section(
        "rejects",
        "engineer",
        title,
        sentences=tuple(_sentences(rows, rules, shares)),
        figures=(*_by_rule(rules, rows["read"]), *_over_time(shares)),
        alarms=tuple(_alarms(shares)),
        missing=say("rejects.one_date") if shares["as_of"].n_unique() < 2 else None,
    )


def _rules(found: Any) -> list[tuple[str, str, int]]:
    """Source, rule and rows, the most frequent first."""
    sources = found.items() if isinstance(found, dict) else ()
    rows = [(str(source), rule, count) for source, rules in sources for rule, count in whole_numbers(rules).items()]
    return sorted((row for row in rows if row[2]), key=lambda row: (-row[2], row[0], row[1]))


def _sentences(rows: dict[str, int], rules: list[tuple[str, str, int]], shares: pl.DataFrame) -> Iterator[Message]:
    rejected, read = rows.get("rejected", 0), rows["read"]
    if not rejected:
        yield say("rejects.nothing", read=read)
        dates = shares["as_of"].n_unique()
        if dates > 1 and not (shares["rows"] > 0).any():
            yield say("rejects.always_clean", dates=dates)
        return
    yield say("rejects.some", rejected=rejected, read=read, share=Quantity(rejected / read, "share"), rules=len(rules))
    yield say("rejects.where")


def _by_rule(rules: list[tuple[str, str, int]], read: int) -> Iterator[Figure]:
    if not rules:
        return
    total = sum(rows for _, _, rows in rules)
    table = pl.DataFrame(
        [(f"{source}: {rule}", source, rule, rows, rows / read) for source, rule, rows in rules[:MOST_LISTED]],
        {"what": pl.String, "source": pl.String, "rule": pl.String, "rows": pl.Int64, "share": pl.Float64},
        orient="row",
    )
    source, rule, rows = rules[0]
    yield Figure(
        key="rejects_rules",
        kind="bars",
        title=say(
            "rejects.rules_title",
            rule=Name(rule),
            source=Name(source),
            rows=rows,
            share=Quantity(rows / total, "share"),
        ),
        definition=say("rejects.rules_definition"),
        table=table,
        fields=(
            Field("what", say("rejects.what")),
            Field("rows", say("rows.rows"), "count"),
            Field("share", say("rows.share"), "share"),
        ),
        x="rows",
        y="what",
    )


def _shares(facts: Facts) -> pl.DataFrame:
    """Share of the rows read by date and outcome, of outcomes that ever happened."""
    rows = facts.rows.filter(pl.col("read") > 0)
    ever = rows.group_by("outcome").agg(pl.col("rows").sum()).filter(pl.col("rows") > 0)["outcome"].to_list()
    wanted = [name for name in QUALITY if name in set(ever) | {"rejected"}]
    order = pl.col("outcome").replace_strict({name: place for place, name in enumerate(wanted)}, default=len(wanted))
    return (
        rows.filter(pl.col("outcome").is_in(wanted))
        .with_columns(share=pl.col("rows") / pl.col("read"), order=order)
        .sort("as_of", "order")
        .select("as_of", "outcome", "rows", "share")
    )


def _alarms(shares: pl.DataFrame) -> Iterator[Message]:
    rejected = shares.filter(pl.col("outcome") == "rejected")
    if rejected.height < 2:
        return
    before, now = rejected["share"][-2], rejected["share"][-1]
    if now - before >= _JUMP:
        yield say(
            "rejects.alarm",
            day=rejected["as_of"][-2],
            before=Quantity(before, "share"),
            now=Quantity(now, "share"),
        )


def _over_time(shares: pl.DataFrame) -> Iterator[Figure]:
    if shares["as_of"].n_unique() < 2 or not (shares["rows"] > 0).any():
        return
    rejected = shares.filter(pl.col("outcome") == "rejected")
    worst = rejected.sort("share", "as_of", descending=[True, False])
    key = "rejects.time_title" if worst["share"][0] > 0 else "rejects.time_none_title"
    yield Figure(
        key="rejects_over_time",
        kind="lines",
        title=say(
            key,
            share=Quantity(worst["share"][0], "share"),
            day=worst["as_of"][0],
            now=Quantity(rejected["share"][-1], "share"),
            dates=rejected.height,
        ),
        definition=say("rejects.time_definition"),
        table=shares,
        fields=(
            Field("as_of", say("rejects.day")),
            Field("outcome", say("rows.outcome"), vocabulary="outcome"),
            Field("rows", say("rows.rows"), "count"),
            Field("share", say("rows.share"), "share"),
        ),
        x="as_of",
        y="share",
        colour="outcome",
    )
