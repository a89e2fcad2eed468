"""The canonical event: the columns every source is mapped to, before anything is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

AMOUNT_LIMIT_MINOR: Final = 10**13
"""Largest believable amount of one row, in minor units: its sums stay far inside Int64."""
TIME_LIMITS_US: Final = (-62_135_510_400_000_000, 253_402_214_400_000_000)
"""Believable times: 0001-01-02 to 9999-12-31, `[start, end)` in µs since 1970 UTC; they have a date in every zone."""


@dataclass(frozen=True)
class Field:
    """One canonical column.

    Attributes:
        name: Its name in `[sources.columns]`.
        dtype: Its type after mapping; None where the source's own type is kept (`user_id`, `anonymous_id`).
        filterable: Whether a target's `where` may use it.
    """

    name: str
    dtype: pl.DataType | None
    filterable: bool = False


TIME: Final = pl.Datetime("us", "UTC")

FIELDS: Final = (
    Field("user_id", None),
    Field("event_type", pl.String()),
    Field("event_time", TIME),
    Field("event_id", pl.UInt64()),
    Field("amount", pl.Int64(), filterable=True),
    Field("quantity", pl.Int64(), filterable=True),
    Field("duration_ms", pl.Int64(), filterable=True),
    Field("channel", pl.String(), filterable=True),
    Field("campaign_id", pl.String(), filterable=True),
    Field("item_id", pl.String(), filterable=True),
    Field("category", pl.String(), filterable=True),
    Field("machine", pl.Boolean(), filterable=True),
    Field("page", pl.String(), filterable=True),
    Field("promotion", pl.String(), filterable=True),
    Field("message_id", pl.UInt64()),
    Field("link", pl.UInt64()),
    Field("anonymous_id", None),
    Field("received_time", TIME),
    Field("sent_time", TIME),
)
FILTERABLE: Final = {field.name: field.dtype for field in FIELDS if field.filterable and field.dtype is not None}

RESERVED_NAMES: Final = frozenset({"user", "user_id", "user_key", "as_of", "anchor", "label", "segment"})
"""Columns of the published tables, of their folders and of the rows to learn from; no attribute may have their name."""


@dataclass(frozen=True)
class Rule:
    """Why a row is rejected."""

    name: str
    reason: str


REJECT_RULES: Final = (
    Rule("user_id_missing", "user_id is null or empty, and no anonymous_id stands for it"),
    Rule("event_type_missing", "event_type is null or empty"),
    Rule("event_time_missing", "event_time is null, or a local time that the clock change skipped"),
    Rule("event_time_out_of_range", "event_time is not in the years 1 to 9999"),
    Rule("event_time_after_receipt", "event_time is more than max_early_hours after received_time"),
    Rule("event_time_too_late", "event_time is more than max_late_days before received_time"),
    Rule("amount_not_finite", "amount is NaN or infinite"),
    Rule("amount_out_of_range", f"amount is beyond ±{AMOUNT_LIMIT_MINOR} minor units"),
    Rule("machine_not_boolean", "machine is neither true or false nor 1 or 0"),
)
"""Checked in this order; a row is rejected by the first that it breaks."""
