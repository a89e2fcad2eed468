"""Which instant counts as the time of an event, where a source tells several.

In: the canonical times of a row, each null where it is missing or not in the believable years. Out: one time per row,
and whether it fits the time of receipt.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from engine.config import Source
from engine.events.schema import TIME, TIME_LIMITS_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US


def apply_clock(source: Source, times: Mapping[str, pl.Expr]) -> pl.Expr:
    """The time of the event by the source's clock rule; null where it is missing or leaves the believable years.

    `skew` is the rule of Segment's tracking API: received + (original − sent), so that what a device's clock is wrong
    by cancels out. Where a part of a rule is null, the event's own time counts.

    Args:
        source: Says the rule.
        times: `event_time`, and those of `received_time` and `sent_time` that the files have; in µs since 1970 UTC and
            inside the believable years, so that no sum of three of them overflows 64 bits.
    """
    event, received, sent = times["event_time"], times.get("received_time"), times.get("sent_time")
    if source.clock == "received" and received is not None:
        return pl.coalesce(received, event)
    if source.clock == "skew" and received is not None and sent is not None:
        delay = received.to_physical() - sent.to_physical()
        # As an integer: not every sum has a date.
        shifted = event.to_physical() + delay
        start, end = TIME_LIMITS_US
        inside = pl.when(shifted.is_between(start, end, closed="left")).then(shifted).cast(TIME)
        return pl.when(delay.is_null()).then(event).otherwise(inside)
    return event


def receipt_rules(source: Source, time: pl.Expr, received: pl.Expr | None) -> dict[str, pl.Expr]:
    """The reject rules that compare the time of an event with its receipt: Booleans, null where a time is null.

    Args:
        source: Says the limits; a rule without one is not among the result.
        time: The time of the event after the clock rule.
        received: `received_time`; None where the source has none.
    """
    if received is None:
        return {}
    early = time.to_physical() - received.to_physical()
    rules = {}
    if source.max_early_hours is not None:
        rules["event_time_after_receipt"] = early > source.max_early_hours * _HOUR_US
    if source.max_late_days is not None:
        rules["event_time_too_late"] = early < -source.max_late_days * _DAY_US
    return rules
