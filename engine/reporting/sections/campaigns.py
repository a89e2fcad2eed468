"""Campaigns that address many segments, and how many messages people get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.config_segments import Guards
from engine.reporting.facts import Facts
from engine.reporting.masking import OTHERS
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.parts import MOST_ROWS, all_users, field, note, segment, segment_rows

MOST_SEGMENTS: Final[int] = Guards().max_campaign_segments
"""Segments that a campaign addresses at most, as practitioners recommend."""


def section(facts: Facts) -> Section:
    """What the definitions say of campaigns, and messages sent per person."""
    addressed, pressure = _addressed(facts), _pressure(facts)
    title = say("campaigns.title")
    if addressed is None and pressure is None:
        return Section("campaigns", "manager", title, missing=say("campaigns.missing"))
    crowded = [] if addressed is None else addressed.filter(pl.col("segments") > MOST_SEGMENTS).rows(named=True)
    return Section(
        key="campaigns",
        audience="manager",
        title=title,
        sentences=tuple(_sentences(facts, addressed, pressure)),
        figures=(
            *([] if pressure is None else [_pressure_figure(facts, pressure)]),
            *([] if addressed is None else [_addressed_figure(addressed)]),
        ),
        missing=say("campaigns.no_campaigns") if addressed is None else None,
        alarms=tuple(
            say("campaigns.crowded", campaign=Name(row["campaign"]), segments=row["segments"], most=MOST_SEGMENTS)
            for row in crowded
        ),
    )


def _addressed(facts: Facts) -> pl.DataFrame | None:
    """Segments by campaign, the most first; None where no segment names a campaign."""
    frame = facts.now.definitions
    if frame is None or "campaigns" not in frame.columns:
        return None
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, campaigns in frame.select("segment", "campaigns").rows():
        for campaign in campaigns or ():
            found[campaign].add(name)
    if not found:
        return None
    rows = sorted(((campaign, len(names)) for campaign, names in found.items()), key=lambda row: (-row[1], row[0]))
    return pl.DataFrame(rows, {"campaign": pl.String, "segments": pl.Int64}, orient="row")


def _pressure(facts: Facts) -> pl.DataFrame | None:
    """Messages sent per person and segment in the window of the key figures; None without a role for sending."""
    rows = segment_rows(facts, facts.primary, ["sent"])
    known = rows.filter(pl.col("sent").is_not_null() & (pl.col("users") > 0) & (pl.col("segment") != OTHERS))
    if known.is_empty():
        return None
    per_user = known.select(
        "segment", "users", pl.col("sent").cast(pl.Int64), sent_per_user=pl.col("sent") / pl.col("users")
    )
    return per_user.sort("sent_per_user", "segment", descending=[True, False])


def _sentences(facts: Facts, addressed: pl.DataFrame | None, pressure: pl.DataFrame | None) -> Iterator[Message]:
    total = all_users(facts.now)
    days = Quantity(total.get("window_days"), "days")
    if pressure is not None:
        sent, users = total.get("sent"), total.get("users")
        first = pressure.row(0, named=True)
        yield say(
            "campaigns.pressure",
            segment=segment(first["segment"]),
            sent=Quantity(first["sent_per_user"], "number"),
            mean=Quantity(sent / users if sent is not None and users else None, "number"),
            days=days,
        )
    if addressed is not None:
        first = addressed.row(0, named=True)
        yield say("campaigns.most", campaign=Name(first["campaign"]), segments=first["segments"])


def _pressure_figure(facts: Facts, pressure: pl.DataFrame) -> Figure:
    first = pressure.row(0, named=True)
    days = Quantity(all_users(facts.now).get("window_days"), "days")
    return Figure(
        key="campaigns_pressure",
        kind="bars",
        title=say(
            "campaigns.pressure_title",
            segment=segment(first["segment"]),
            sent=Quantity(first["sent_per_user"], "number"),
            days=days,
        ),
        definition=say("campaigns.pressure_definition", days=days, note=note(facts)),
        table=pressure.select("segment", "sent_per_user", "sent", "users"),
        fields=(
            field("segment", vocabulary="segment"),
            field("sent_per_user", "number"),
            field("sent", "count"),
            field("users", "count"),
        ),
        x="sent_per_user",
        y="segment",
        users="users",
    )


def _addressed_figure(addressed: pl.DataFrame) -> Figure:
    first = addressed.row(0, named=True)
    crowded = addressed.filter(pl.col("segments") > MOST_SEGMENTS)["campaign"].to_list()
    return Figure(
        key="campaigns_segments",
        kind="bars",
        title=say("campaigns.segments_title", campaign=Name(first["campaign"]), segments=first["segments"]),
        definition=say("campaigns.segments_definition", most=MOST_SEGMENTS),
        table=addressed.head(MOST_ROWS),
        fields=(field("campaign"), field("segments", "count")),
        x="segments",
        y="campaign",
        marked=tuple(crowded),
    )
