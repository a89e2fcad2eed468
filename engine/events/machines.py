"""Opens and clicks that no person made, told by their timing, and kept apart as event types of their own.

Mail programs and scanners fetch the images and links of a message: within seconds of its delivery, or all links in a
burst (Apple's Mail Privacy Protection, Gmail's image proxy, link protection of companies). In and out: canonical rows
of one unit of work, in memory; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import polars as pl

_SECOND_US = 1_000_000
_ROW = "__row"
_SOURCE = "__anchor"


def machine_type(name: str) -> str:
    """The event type under which the machine events of a type are counted."""
    return f"{name}_machine"


def split_types(rows: pl.DataFrame, roles: Iterable[str | None]) -> pl.DataFrame:
    """Rename the event type of the machine rows of some types, so that each is counted raw and human.

    Args:
        rows: With `event_type` (String) and `machine` (Boolean); any grain.
        roles: The types to split, such as those of opens and clicks; None for a role without a type.

    Returns:
        The rows in their order; of the types in `roles` those with `machine` have the type `machine_type(name)`.
    """
    split = [name for name in dict.fromkeys(roles) if name is not None]
    renamed = pl.col("event_type").replace(split, [machine_type(name) for name in split])
    return rows.with_columns(event_type=pl.when("machine").then(renamed).otherwise("event_type"))


def mark_machines(
    rows: pl.DataFrame,
    *,
    send: str | None,
    open: str | None,  # noqa: A002 - the name of the role
    click: str | None,
    open_within_seconds: int,
    burst_links: int,
    burst_seconds: int,
) -> pl.DataFrame:
    """Set `machine` where the timing says that no person opened or clicked.

    Two rules, each off at 0; both look at one message (`message_id`, not null) of one user only:

    - an open or click from 0 to `open_within_seconds`, both included, after a send of the message;
    - every click of the message, with a link or not, in a span of `burst_seconds`, both ends included, with clicks on
      at least `burst_links` different links.

    Args:
        rows: Canonical rows of one unit, in any order: `user_id` or `user_key` or both, `event_type` (String),
            `event_time` (Int64, µs since 1970 UTC), `message_id` and `link` (UInt64), `machine` (Boolean). What belongs
            to a row must be in the same unit: a send of the evening before is not seen.
        send: The event type of sends or deliveries; None when there is none, as `open` and `click`.
        open: The event type of opens.
        click: The event type of clicks.
        open_within_seconds: Limit of the first rule.
        burst_links: Different links that make a burst.
        burst_seconds: Length of a burst.

    Returns:
        The rows in their order, with `machine` set further; what was set stays.
    """
    message = [*(name for name in ("user_id", "user_key") if name in rows.columns), "message_id"]
    found: list[pl.Series] = []
    known = rows.lazy().with_row_index(_ROW).filter(pl.col("message_id").is_not_null())
    touches = [name for name in (open, click) if name is not None]
    if open_within_seconds and send is not None and touches:
        found.append(_soon_after_send(known, message, send, touches, open_within_seconds * _SECOND_US))
    if burst_links and click is not None:
        clicks = known.filter(pl.col("event_type") == click)
        found.append(_in_bursts(clicks, message, burst_links, burst_seconds * _SECOND_US))
    if not any(len(positions) for positions in found):
        return rows
    marked = pl.concat(found).unique()
    return (
        rows.with_row_index(_ROW)
        .with_columns(machine=pl.col("machine") | pl.col(_ROW).is_in(marked.implode()))
        .drop(_ROW)
    )


def _soon_after_send(
    rows: pl.LazyFrame, message: Sequence[str], send: str, touches: Collection[str], within_us: int
) -> pl.Series:
    """Positions of the touches that follow a send of their message by at most `within_us`."""
    wanted = rows.filter(pl.col("event_type").is_in(list(touches)))
    sends = rows.filter(pl.col("event_type") == send)
    return _at_most_after(wanted, sends, message, within_us)


def _at_most_after(rows: pl.LazyFrame, anchors: pl.LazyFrame, message: Sequence[str], within_us: int) -> pl.Series:
    """Positions of the rows that lie from 0 to `within_us` after an anchor of the same message."""
    # Any anchor in reach will do, so the latest one at or before the row decides.
    latest = anchors.select(*message, "event_time", pl.col("event_time").alias(_SOURCE)).unique().sort("event_time")
    near = (
        rows.select(_ROW, *message, "event_time")
        .sort("event_time")
        .join_asof(latest, on="event_time", by=list(message), strategy="backward", check_sortedness=False)
    )
    return near.filter(pl.col("event_time") - pl.col(_SOURCE) <= within_us).select(_ROW).collect().to_series()


def _in_bursts(clicks: pl.LazyFrame, message: Sequence[str], links: int, within_us: int) -> pl.Series:
    """Positions of the clicks that lie in a span of `within_us` with clicks on at least `links` different links.

    A span may begin at a click: moved there it loses none. The click (t, link) counts for the spans that begin at s
    with t − within ≤ s ≤ t, but only where no earlier click p of the same link does: s > p. So each click covers an
    interval of beginnings, and the number of intervals over s is the number of different links: a sweep over the
    sorted ends, n log n also where everything falls on one instant.
    """
    # Few messages have that many links clicked at all; only those are sorted.
    many = clicks.group_by(message).agg(pl.col("link").n_unique()).filter(pl.col("link") >= links).select(message)
    suspects = clicks.join(many, on=list(message), how="semi").select(_ROW, *message, "event_time", "link").collect()
    if suspects.is_empty():
        return suspects[_ROW]
    time = pl.col("event_time")
    distinct = suspects.lazy().filter(pl.col("link").is_not_null()).select(*message, "link", "event_time").unique()
    before = time.shift(1).over([*message, "link"], order_by="event_time")
    covered = distinct.with_columns(first=pl.max_horizontal(time - within_us, before + 1))
    ends = pl.concat(
        [
            covered.select(*message, at="first", change=pl.lit(1, pl.Int64), click=pl.lit(value=False)),
            covered.select(*message, at=time + 1, change=pl.lit(-1, pl.Int64), click=pl.lit(value=False)),
            covered.select(*message, at="event_time", change=pl.lit(0, pl.Int64), click=pl.lit(value=True)),
        ]
    )
    begins = (
        ends.group_by(*message, "at")
        .agg(pl.col("change").sum(), pl.col("click").any())
        .with_columns(links=pl.col("change").cum_sum().over(list(message), order_by="at"))
        .filter(pl.col("click") & (pl.col("links") >= links))
        .select(*message, event_time="at")
    )
    return _at_most_after(suspects.lazy(), begins, message, within_us)
