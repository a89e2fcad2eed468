"""The sections of the configuration about what comes in: event logs and their columns, contacts, links, exclusions."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.config_contacts import RowRule
from engine.config_values import Names, Paths, RegularExpression, Section, Separator, Text, TimeZone

_MOST_RULES = 100
# As `engine.events.schema.REJECT_RULES` has them: a configuration is read without Polars.
_REJECT_RULES = frozenset(
    "user_id_missing event_type_missing event_time_missing event_time_out_of_range event_time_after_receipt "
    "event_time_too_late amount_not_finite amount_out_of_range machine_not_boolean".split()
)


class Sql(Section):
    """A column computed by a SQL expression over the columns of the source."""

    sql: Text
    """Polars SQL, such as `Quantity * UnitPrice`."""


class Value(Section):
    """A column with one constant value."""

    value: str | int | float
    """The constant, the same in every row."""


class Param(Section):
    """A column that is the value of one key in a column of keys and values, such as GA4's `event_params`."""

    param: Text
    """The key, such as `page_location`."""
    of: Text = "event_params"
    """The column: a list of structs with the fields `key` and `value`, or a map."""
    type: Literal["string", "integer", "float"] = "string"
    """What the value is read as; one that does not fit is null."""


class Columns(Section):
    """Where each canonical column comes from.

    A column of the file by its name (`ecommerce.transaction_id` for a field of a struct, `items.0.item_id` for one of
    the first entry of a list), `{ sql = "…" }`, `{ value = … }`, or `{ param = "…" }` for a key of a list of
    parameters.
    """

    user_id: Text | Sql | Param
    """Whose event it is; integer or string, kept as it is through to the output. May be null where `anonymous_id` is
    given."""
    event_type: Text | Sql | Param | Value
    """What happened: `purchase`, `email_open`, …"""
    event_time: Text | Sql | Param
    """When; a timestamp, a date, or an integer with `time_unit`."""
    event_id: Text | Sql | Param | None = None
    """Identity of the event or of the order; rows that repeat it are handled by `same_id`."""
    amount: Text | Sql | Param | Value | None = None
    """Money in major units (12.50)."""
    quantity: Text | Sql | Param | Value | None = None
    """Number of items; integer."""
    duration_ms: Text | Sql | Param | Value | None = None
    """Time spent, in milliseconds; integer."""
    channel: Text | Sql | Param | Value | None = None
    """Where it happened or went out: `email`, `web`, `store`, …"""
    campaign_id: Text | Sql | Param | Value | None = None
    """The campaign the message or event belongs to."""
    item_id: Text | Sql | Param | Value | None = None
    """The article bought, viewed or put in a cart."""
    category: Text | Sql | Param | Value | None = None
    """The article's category."""
    machine: Text | Sql | Param | Value | None = None
    """Whether a program, not a person, did it (image proxies, link scanners): true or false, 1 or 0; null is false."""
    page: Text | Sql | Param | Value | None = None
    """The page or screen seen, or its kind."""
    promotion: Text | Sql | Param | Value | None = None
    """The promotion, coupon or offer used; null or empty for none."""
    message_id: Text | Sql | Param | None = None
    """The message that was sent, opened or clicked; finds machine opens."""
    link: Text | Sql | Param | None = None
    """The link that was clicked; finds machine clicks."""
    anonymous_id: Text | Sql | Param | None = None
    """A visitor who is not known yet (device, cookie); of the type of `user_id`. See `[identity]`."""
    received_time: Text | Sql | Param | None = None
    """When the event was received or loaded; as `event_time`. See `clock`."""
    sent_time: Text | Sql | Param | None = None
    """When the device sent the event, by its own clock; as `event_time`. See `clock`."""


class Csv(Section):
    """How the text of CSV files is read."""

    delimiter: Separator | None = None
    """What stands between two values; a comma when not given, a tab in `.tsv` files."""
    null_values: Names = ("",)
    """Texts that stand for no value."""
    decimal_comma: bool = False
    """Whether decimals are written 12,50."""


class Source(Section):
    """One event log: files of one schema and how their columns map to the canonical ones."""

    name: Text
    """Shown in counts, rejects and messages."""
    path: Paths
    """Files, globs or folders of Parquet files, or of CSV or JSON lines, relative to the configuration file."""
    preset: str | None = None
    """Known layout of the files, such as `ga4`: gives what is not said here; `docs/sources.md` lists them."""
    columns: Columns
    """How the columns of the files map to the canonical ones."""
    optional: Names = ()
    """Canonical columns that count as null in files without the columns they are taken from."""
    csv: Csv = Csv()
    """Delimiter, decimals and texts without a value, where the files are CSV."""
    where: str | None = None
    """SQL condition over the source's columns; rows that do not satisfy it are left out and counted."""
    exclude: str | None = None
    """SQL condition over the source's columns; rows that satisfy it (internal, test) are excluded and counted apart."""
    rules: tuple[RowRule, ...] = ()
    """Conditions over the source's columns; broken ones are counted, or rejected under the rule's name."""
    timezone: TimeZone = "UTC"
    """Zone of timestamps that carry none."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of integer times since 1970-01-01 UTC."""
    clock: Literal["event", "received", "skew"] = "event"
    """The time of an event: `event`: `event_time`; `received`: `received_time`; `skew`: `event_time` +
    (`received_time` − `sent_time`), which takes out a wrong clock of the device. Null parts fall back to
    `event_time`."""
    max_early_hours: int | None = Field(None, ge=0, le=876_000)
    """Rows whose time is more than this after their `received_time` are rejected."""
    max_late_days: int | None = Field(None, ge=0, le=36_500)
    """Rows whose time is more than this before their `received_time` are rejected."""
    dedup_days: int = Field(3, ge=0, le=36_500)
    """How many days earlier, by the dates in the paths of files, a repeat of an `event_id` is looked for."""
    same_id: Literal["duplicate", "lines"] = "duplicate"
    """Rows of one user and type that share an `event_id`: repeats, of which one is kept, or lines to be summed."""

    @property
    def look_back_days(self) -> int:
        """How many days earlier an event may have come before; 0 for events without an id."""
        return 0 if self.columns.event_id is None else self.dedup_days

    @model_validator(mode="after")
    def _rules_are_of_rows(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems = [f"rules: {name!r} is the name of two rules" for name in twice]
        problems += [
            f"rules: {name!r} is a rule that every source has; give yours another name"
            for name in dict.fromkeys(names)
            if name in _REJECT_RULES
        ]
        problems += [
            f"rules: {rule.name!r} flags, which only contacts can; expected action 'count' or 'quarantine'"
            for rule in self.rules
            if rule.action == "flag"
        ]
        if len(names) > _MOST_RULES:
            problems.append(f"rules: {len(names)} are given; a source has {_MOST_RULES} at the most")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _lines_need_an_id(self) -> Self:
        if self.same_id == "lines" and self.columns.event_id is None:
            message = "same_id = 'lines' sums the rows of one order and needs columns.event_id"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _optional_columns_exist(self) -> Self:
        times = () if self.clock == "event" else ("received_time", "sent_time")
        fields = Columns.model_fields.items()
        allowed = [name for name, field in fields if not field.is_required() and name not in times]
        unknown = [name for name in self.optional if name not in allowed]
        if unknown:
            message = f"optional: {', '.join(map(repr, unknown))} cannot be left out; these can: {', '.join(allowed)}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _clocks_need_times(self) -> Self:
        needs = {
            "clock = 'received'": ("received_time",) if self.clock == "received" else (),
            "clock = 'skew'": ("received_time", "sent_time") if self.clock == "skew" else (),
            "max_early_hours": ("received_time",) if self.max_early_hours is not None else (),
            "max_late_days": ("received_time",) if self.max_late_days is not None else (),
        }
        missing = [
            f"{key} needs columns.{name}"
            for key, names in needs.items()
            for name in names
            if getattr(self.columns, name) is None
        ]
        if missing:
            raise ValueError("; ".join(missing))
        return self


class Identity(Section):
    """A table of links from one id of a user to another: of visitors to users, of merged accounts to the one kept.

    Links are followed to their end, and reach back to all events before them.
    """

    path: Paths
    """Files, globs or folders of Parquet files, relative to the configuration file."""
    anonymous_id: Text
    """The column with the id that is linked; a value of `anonymous_id` or `user_id` of the events."""
    user_id: Text
    """The column with the id it is linked to."""
    at: Text | None = None
    """The column with the time of the link. Of several links of one id the latest counts, then that to the largest
    `user_id`."""


class Exclude(Section):
    """Users whose events are left out and counted apart: colleagues, tests, monitors."""

    user_ids: tuple[str | int, ...] = ()
    """Their ids."""
    pattern: RegularExpression | None = None
    """Regular expression that is searched in the id's text, such as `@example\\.com$`; `^` and `$` anchor it."""


class Machines(Section):
    """Opens and clicks by programs, found by their timing; beside those that `columns.machine` marks."""

    open_within_seconds: int = Field(0, ge=0, le=86_400)
    """An open or click this soon after its message was sent is by a machine; 0: off. Needs `columns.message_id`."""
    burst_links: int = Field(0, ge=0, le=1_000)
    """So many different links of one message clicked within `burst_seconds` are clicks by a machine; 0: off. Needs
    `columns.message_id` and `columns.link`."""
    burst_seconds: int = Field(10, ge=0, le=86_400)
    """See `burst_links`."""

    @model_validator(mode="after")
    def _one_link_is_no_burst(self) -> Self:
        if self.burst_links == 1:
            message = "burst_links = 1 would take every click for a machine's; expected 0 (off) or at least 2"
            raise ValueError(message)
        return self
