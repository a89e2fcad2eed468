"""What the columns of an unknown event log probably mean, guessed from their names, types and a sample.

The guesses are a draft for a person to read: `tamis init` writes them down with the reasons, and nothing
else uses them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Columns, Source, Sql, Value
from engine.errors import DataError
from engine.events.sample import Sample
from engine.suggest import did_you_mean

# Names without case, accents and separators; the first that is there wins.
_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("userid", "customerid", "householdid", "contactid", "memberid", "subscriberid", "clientid", "profileid"),
        *("personid", "shopperid", "accountid", "buyerid", "visitorid", "customer", "user", "client", "uid", "custid"),
        *("anonymousid", "userpseudoid", "distinctid", "deviceid", "masterid", "email", "emailaddress", "recipient"),
    ),
    "event_type": (
        "eventtype",
        "eventname",
        "event",
        "type",
        "action",
        "activity",
        "activitytype",
        "eventkind",
        "verb",
    ),
    "event_time": (
        *("eventtime", "eventtimestamp", "occurredat", "timestamp", "eventat", "createdat", "eventdate", "datetime"),
        *("time", "date", "ts", "transactiontimestamp", "transactiondate", "transactiontime", "invoicedate"),
        *("orderdate", "orderedat", "purchasedate", "purchasedat", "redemptiondate", "sentat", "receivedat", "day"),
    ),
    "amount": (
        *("amount", "revenue", "salesvalue", "totalamount", "orderamount", "ordertotal", "ordervalue", "totalprice"),
        *("grandtotal", "purchaseamount", "total", "spend", "sales", "turnover", "value", "price", "montant", "umsatz"),
    ),
    "event_id": (
        *("eventid", "messageid", "insertid", "orderid", "orderno", "ordernumber", "invoiceno", "invoiceid"),
        *("invoicenumber", "basketid", "transactionid", "receiptid", "purchaseid", "id", "uuid"),
    ),
    "quantity": ("quantity", "qty", "items", "itemcount", "units"),
    "duration_ms": ("durationms", "dwellms", "timespentms"),
    "channel": ("channel", "medium"),
    "campaign_id": ("campaignid", "campaign", "utmcampaign"),
    "item_id": ("itemid", "productid", "sku", "stockcode", "articleid", "product"),
    "category": ("category", "productcategory", "itemcategory", "department"),
}
_UNIT_PRICE = ("unitprice", "itemprice", "priceperunit", "price")
_DAY_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%b %d, %Y", "%d-%b-%Y"),
)
_CLOCK_FORMATS = ("", " %H:%M", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
# Where several fit, the first one is drafted: the day before the month.
_TIME_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f UTC"),
    *("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"),
    *(day + clock for day in _DAY_FORMATS for clock in _CLOCK_FORMATS),
)
_EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS_1990, _SECONDS_2100 = 631_152_000, 4_102_444_800


@dataclass(frozen=True)
class Condition:
    """A condition that rows must satisfy to be kept, and what the others have or have not."""

    sql: str
    others: str


@dataclass(frozen=True)
class Draft:
    """A source as it was guessed, with what a person should know about the guesses."""

    source: Source
    notes: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    """What the source's `where` is made of."""


def draft_source(name: str, path: str | tuple[str, ...], sample: Sample, given: Mapping[str, str]) -> Draft:
    """The mapping of a source, guessed.

    Args:
        name: The source's name.
        path: Its files, as they are to stand in the configuration.
        sample: Schema and rows.
        given: Columns that are known, by canonical name; they are not guessed.

    Raises:
        DataError: A given column does not exist, or no column can be the user or the time.
    """
    schema = sample.schema
    unknown = [
        f"no column {column!r}{did_you_mean(column, schema)}" for column in given.values() if column not in schema
    ]
    if unknown:
        raise _no_guess("; ".join(unknown), schema)
    found = dict(given)
    for field, fits in _FITS.items():
        if field not in found:
            column = _by_name(field, (column for column, dtype in schema.items() if fits(dtype)), found.values())
            if column is not None:
                found[field] = column
    missing = [field for field in ("user_id", "event_time") if field not in found]
    if missing:
        raise _no_guess(f"no column looks like {' or '.join(missing)}", schema)
    notes: list[str] = []
    columns: dict[str, str | Sql | Value] = {field: column for field, column in found.items() if field != "event_time"}
    time, time_unit = _time(found["event_time"], sample, notes)
    if isinstance(time, str) and schema[time] == pl.String:
        raise _unread_time(time, sample)
    columns["event_time"] = time
    conditions = _conditions(found, sample)
    conditions += _amount(columns, schema, sample, given, notes)
    if "event_type" not in columns:
        every = "purchase" if "amount" in columns else "event"
        columns["event_type"] = Value(value=every)
        notes.append(f"no column tells event types: every row counts as {every!r}")
    same_id = _same_id(columns, found, sample, notes)
    source = Source(
        name=name,
        path=path,
        columns=Columns(**columns),  # type: ignore[arg-type]
        where=_all_of(conditions),
        time_unit=time_unit,  # type: ignore[arg-type]
        same_id=same_id,  # type: ignore[arg-type]
    )
    return Draft(source, tuple(notes), tuple(conditions))


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if character.isalnum())


def _by_name(field: str, columns: Iterable[str], taken: Iterable[str]) -> str | None:
    plain = {_plain(column): column for column in columns if column not in set(taken)}
    return next((plain[name] for name in _NAMES[field] if name in plain), None)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def _is_name(dtype: pl.DataType) -> bool:
    return _is_text(dtype) or dtype.is_integer()


_FITS = {
    "user_id": _is_name,
    "event_type": _is_text,
    "event_time": lambda dtype: isinstance(dtype, pl.Date | pl.Datetime) or dtype.is_integer() or dtype == pl.String,
    "event_id": _is_name,
    "amount": lambda dtype: dtype.is_numeric(),
    "quantity": lambda dtype: dtype.is_integer(),
    "duration_ms": lambda dtype: dtype.is_integer(),
    "channel": _is_name,
    "campaign_id": _is_name,
    "item_id": _is_name,
    "category": _is_name,
}


def _no_guess(problem: str, schema: Mapping[str, pl.DataType]) -> DataError:
    listed = ", ".join(f"{name} ({dtype})" for name, dtype in list(schema.items())[:40])
    return DataError(
        f"{problem}; the files have: {listed}",
        code="init-no-guess",
        hint="Name the columns: tamis init FILES --user COLUMN --time COLUMN",
    )


def _unread_time(column: str, sample: Sample) -> DataError:
    """The error for times as text that no known format reads; text that holds no digit may not be one at all."""
    example = next((text for text in sample.rows[column].drop_nulls() if any(map(str.isdigit, text))), None)
    shown = "" if example is None else f", such as {example[:40]!r}"
    return DataError(
        f"{column} is text, and no known format of dates and times reads all of its values{shown}",
        code="init-no-guess",
        hint="Name another column with --time, or convert this one to timestamps when the files are written.",
    )


def _time(column: str, sample: Sample, notes: list[str]) -> tuple[str | Sql, str | None]:
    """The mapping of the time column and the unit of an integer one."""
    dtype, values = sample.schema[column], sample.rows[column].drop_nulls()
    if dtype.is_integer() and not values.is_empty():
        middle = int(values.sort()[values.len() // 2])
        for unit, per_second in _EPOCH_UNITS.items():
            if _SECONDS_1990 * per_second <= middle < _SECONDS_2100 * per_second:
                notes.append(f"{column} is an integer; its size says that it counts {unit} since 1970")
                return column, unit
    if dtype == pl.String:
        fitting = [pattern for pattern in _TIME_FORMATS if _reads_as(values.unique(), pattern)]
        if fitting:
            notes.append(f"{column} is text; it reads as {fitting[0]}")
            others = [pattern for pattern in fitting[1:] if not pattern.startswith("%Y")]
            if others:
                notes.append(f"{column} reads as {' and as '.join(others)} too: check which one it is")
            return Sql(sql=f"STRPTIME({_quoted(column)}, '{fitting[0]}')"), None
    return column, None


def _reads_as(values: pl.Series, pattern: str) -> bool:
    """Whether every one of some values has the format; one that does not can tell the day from the month."""
    for some in (values.head(100), values):
        parsed = some.str.to_datetime(pattern, strict=False, ambiguous="earliest").dt.epoch("s")
        # A year of two digits reads as one of the first century.
        if parsed.is_empty() or not parsed.is_between(_SECONDS_1990, _SECONDS_2100).fill_null(value=False).all():
            return False
    return True


def _conditions(found: Mapping[str, str], sample: Sample) -> list[Condition]:
    columns = (found[field] for field in ("user_id", "event_time"))
    return [
        Condition(f"{_quoted(column)} IS NOT NULL", f"have no {column}")
        for column in columns
        if sample.rows[column].null_count()
    ]


def _all_of(conditions: Sequence[Condition]) -> str | None:
    if len(conditions) == 1:
        return conditions[0].sql
    return " AND ".join(f"({sql})" if " OR " in sql else sql for sql in (one.sql for one in conditions)) or None


def _amount(
    columns: dict[str, str | Sql | Value],
    schema: Mapping[str, pl.DataType],
    sample: Sample,
    given: Mapping[str, str],
    notes: list[str],
) -> list[Condition]:
    """Make order lines' amount of price and quantity where no column has it; the conditions that this needs."""
    amount, quantity = columns.get("amount"), columns.get("quantity")
    if not isinstance(quantity, str) or "amount" in given:
        return []
    plain = {_plain(name): name for name, dtype in schema.items() if dtype.is_numeric()}
    price = next((plain[name] for name in _UNIT_PRICE if name in plain), None)
    if price is None or amount not in (None, price):
        return []
    columns["amount"] = Sql(sql=f"{_quoted(quantity)} * {_quoted(price)}")
    notes.append(f"amount is {quantity} times {price}")
    # Events that have no price, such as those of e-mails, stay.
    return [
        Condition(f"{_quoted(name)} IS NULL OR {_quoted(name)} > 0", f"have a {name} of 0 or less (returns, gifts)")
        for name in (quantity, price)
        if (sample.rows[name] <= 0).any()
    ]


def _same_id(columns: dict[str, str | Sql | Value], found: Mapping[str, str], sample: Sample, notes: list[str]) -> str:
    """Whether repeats of an id are copies of an event or lines of an order; an id that users share is dropped."""
    identity, user = columns.get("event_id"), found["user_id"]
    if not isinstance(identity, str):
        return "duplicate"
    rows = sample.rows.filter(pl.col(identity).is_not_null() & pl.col(user).is_not_null())
    per_id = rows.group_by(identity).agg(users=pl.col(user).n_unique(), rows=pl.len())
    shared = per_id.filter(pl.col("users") > 1).height
    if shared > 0.01 * per_id.height:
        del columns["event_id"]
        notes.append(f"{identity} is not used as event_id: different users share its values")
        return "duplicate"
    repeated = per_id["rows"].sum() - per_id.height
    copies = rows.height - rows.unique().height
    if repeated > 2 * copies:
        notes.append(f"{identity} repeats over rows that differ: lines of one order, which are summed")
        return "lines"
    return "duplicate"


def _quoted(column: str) -> str:
    """The column as SQL names it: in quotes unless it is a plain word that SQL does not use itself."""
    try:
        if pl.sql_expr(f"{column} * 1").meta.root_names() == [column]:
            return column
    except pl.exceptions.PolarsError:
        pass
    return '"' + column.replace('"', '""') + '"'
