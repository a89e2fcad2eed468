"""From a source's own columns to the canonical ones: checked against the schema, as lazy expressions.

In: a file's schema and the source's `columns` table. Out: one expression per canonical column the source has, and one
that tells which reject rule a row breaks. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Param, Source, Sql, Value
from engine.errors import DataError
from engine.events.clock import apply_clock, receipt_rules
from engine.events.nested import inside, parameter
from engine.events.schema import AMOUNT_LIMIT_MINOR, FIELDS, REJECT_RULES, TIME, TIME_LIMITS_US, Rule
from engine.quality.mapped import CheckedRule, ToldColumn, lateness_us, told_columns
from engine.sql_text import row_problems
from engine.suggest import did_you_mean

REJECT = "__reject"
KEEP = "__keep"
EXCLUDE = "__exclude"

_INTEGERS = frozenset({pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32})
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_MICROSECONDS = 86_400_000_000
_EMPTY_TYPES: Mapping[str, pl.DataType] = {
    **dict.fromkeys(("received_time", "sent_time"), TIME),
    **dict.fromkeys(("quantity", "duration_ms"), pl.Int64()),
    "amount": pl.Float64(),
    "machine": pl.Boolean(),
}


@dataclass(frozen=True)
class SourceMapping:
    """How one source becomes canonical."""

    canonical: dict[str, pl.Expr]
    """Expression of each canonical column the source has."""
    reject: pl.Expr
    """UInt8: 0 for a good row, else 1 + the position in `reject_rules`."""
    broken: pl.Expr
    """Boolean: whether the row breaks any rule; takes a fifth of the time of telling which one."""
    keep: pl.Expr
    """Boolean: the source's `where`, null counts as false."""
    exclude: pl.Expr
    """Boolean: the source's `exclude`, null counts as false."""
    user_dtype: pl.DataType
    """Int64 or String."""
    told: dict[str, ToldColumn]
    """The canonical columns that come from the files."""
    absent: tuple[str, ...]
    """Canonical columns that the source has and this file has not."""
    rules: tuple[CheckedRule, ...]
    """The source's own rules."""
    late: pl.Expr | None
    """Int64: µs from `event_time`, as the file has it, to `received_time`; None without both."""

    @property
    def reject_rules(self) -> tuple[Rule, ...]:
        """What a row can be rejected by: the rules of all sources, and then the source's own."""
        return (*REJECT_RULES, *(Rule(rule.name, rule.reason) for rule in self.rules if rule.rejects))


def map_source(source: Source, schema: Mapping[str, pl.DataType], currency_digits: int) -> SourceMapping:
    """The mapping of `source` for files of `schema`.

    Args:
        source: The source's configuration.
        schema: Column names and types of its files (hive folder keys included).
        currency_digits: Decimals of the minor unit.

    Raises:
        DataError: Columns that are missing or of a type that cannot be used; all of them at once.
    """
    problems: list[str] = []
    raw: dict[str, tuple[pl.Expr, pl.DataType]] = {}
    absent = []
    for field in FIELDS:
        entry = getattr(source.columns, field.name)
        if entry is None:
            continue
        if field.name in source.optional and _is_missing(entry, schema):
            absent.append(field.name)
            continue
        found = _resolve(field.name, entry, schema, problems)
        if found is not None:
            raw[field.name] = _with_type(field.name, *found)
    problems += _of_one_type(raw)
    canonical: dict[str, pl.Expr] = {}
    for name, (expression, dtype) in raw.items():
        converted = _convert(name, expression, dtype, source, currency_digits)
        if isinstance(converted, str):
            problems.append(f"  {name}: {converted}")
        else:
            canonical[name] = converted
    keep = _condition("where", source.where, schema, problems, default=True)
    exclude = _condition("exclude", source.exclude, schema, problems, default=False)
    rules = _own_rules(source, schema, problems)
    if problems:
        raise DataError(
            f"source {source.name!r}: its columns do not fit the mapping\n" + "\n".join(problems),
            code="events-columns",
            hint="Columns of the files: " + ", ".join(f"{name} ({dtype})" for name, dtype in list(schema.items())[:40]),
        )
    reject, broken = _reject_rule(canonical, raw, source, [rule for rule in rules if rule.rejects])
    received = canonical.get("received_time")
    late = None if received is None else lateness_us(canonical["event_time"], received)
    canonical["event_time"] = apply_clock(source, canonical)
    user_dtype = pl.String() if _is_text(raw["user_id"][1]) else pl.Int64()
    told = told_columns(source, raw, schema)
    return SourceMapping(canonical, reject, broken, keep, exclude, user_dtype, told, tuple(absent), rules, late)


def _of_one_type(raw: dict[str, tuple[pl.Expr, pl.DataType]]) -> list[str]:
    """Give an id that is null in every row the other id's type; what is wrong where both have one, and it differs."""
    ids = {name: raw[name] for name in ("user_id", "anonymous_id") if name in raw}
    typed = [dtype for _, dtype in ids.values() if dtype != pl.Null]
    if len(ids) == 2 and len(typed) == 1:
        dtype = pl.String() if _is_text(typed[0]) else typed[0]
        raw.update({name: (ids[name][0].cast(dtype), dtype) for name in ids if ids[name][1] == pl.Null})
    text = [name for name, (_, dtype) in ids.items() if _is_text(dtype)]
    numbers = [name for name, (_, dtype) in ids.items() if dtype.is_integer()]
    cast = 'cast it: { sql = "CAST(… AS VARCHAR)" }'
    return [
        f"  {name}: got {ids[name][1]}, but {other} is text, and both name users; {cast}"
        for name in numbers
        for other in text
    ]


def _condition(
    name: str, sql: str | None, schema: Mapping[str, pl.DataType], problems: list[str], *, default: bool
) -> pl.Expr:
    """A condition of the source, null counts as false; `default` where there is none."""
    condition = None if sql is None else _resolve(name, Sql(sql=sql), schema, problems)
    if condition is None:
        return pl.lit(value=default)
    if condition[1] != pl.Boolean:
        problems.append(f"  {name}: expected a condition (true or false), got {condition[1]}: {sql}")
    return condition[0].fill_null(value=False)


def _own_rules(source: Source, schema: Mapping[str, pl.DataType], problems: list[str]) -> tuple[CheckedRule, ...]:
    """The source's rules; a null does not break one."""
    found = []
    for rule in source.rules:
        name = f"rules.{rule.name}"
        condition = _resolve(name, Sql(sql=rule.holds), schema, problems)
        if condition is None:
            continue
        if condition[1] != pl.Boolean:
            problems.append(f"  {name}: expected a condition (true or false), got {condition[1]}: {rule.holds}")
            continue
        reason = f"breaks the rule {rule.name!r}: {rule.holds}"
        broken = ~condition[0].fill_null(value=True)
        found.append(CheckedRule(rule.name, broken, rule.action == "quarantine", reason))
    return tuple(found)


def _with_type(name: str, expression: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
    """A column that is empty in the whole of a file has no type of its own there: it gets one that fits."""
    if dtype != pl.Null or name in {"user_id", "anonymous_id", "event_type", "event_time"}:
        return expression, dtype
    fitting = _EMPTY_TYPES.get(name, pl.String())
    return expression.cast(fitting), fitting


def _is_missing(entry: str | Sql | Param | Value, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether a column that the entry is taken from is not in the files."""
    match entry:
        case str():
            return entry not in schema and not isinstance(inside(entry, schema), tuple)
        case Param():
            return entry.of not in schema
        case Sql():
            try:
                expression = pl.sql_expr(entry.sql)
                if any(column not in schema for column in expression.meta.root_names()):
                    return True
                pl.LazyFrame(schema=dict(schema)).select(expression).collect_schema()
            except pl.exceptions.PolarsError as error:
                return isinstance(error, pl.exceptions.StructFieldNotFoundError)
    return False


def _resolve(
    name: str, entry: str | Sql | Param | Value, schema: Mapping[str, pl.DataType], problems: list[str]
) -> tuple[pl.Expr, pl.DataType] | None:
    if isinstance(entry, Value):
        literal = pl.lit(entry.value)
        return literal, pl.LazyFrame(schema={"_": pl.Null}).select(literal.alias(name)).collect_schema()[name]
    if isinstance(entry, str | Param):
        found = _column(entry, schema)
        if isinstance(found, str):
            problems.append(f"  {name}: {found}")
            return None
        return found
    refused = row_problems(entry.sql)
    if refused:
        problems.extend(f"  {name}: {refusal}: {entry.sql}" for refusal in refused)
        return None
    try:
        expression = pl.sql_expr(entry.sql)
        unknown = [column for column in dict.fromkeys(expression.meta.root_names()) if column not in schema]
        if unknown:
            problems.extend(
                f"  {name}: no column {column!r} in the files{did_you_mean(column, schema)}: {entry.sql}"
                for column in unknown
            )
            return None
        dtype = pl.LazyFrame(schema=dict(schema)).select(expression.alias(name)).collect_schema()[name]
        # Some type errors only show when the expression runs.
        pl.DataFrame(schema=dict(schema)).select(expression.alias(name))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        problems.append(f"  {name}: cannot use {entry.sql!r}: {str(error).splitlines()[0]}")
        return None
    return expression, dtype


def _column(entry: str | Param, schema: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.DataType] | str:
    """A column, a value inside a nested one, or what is wrong."""
    if isinstance(entry, Param):
        return parameter(entry, schema)
    if entry in schema:
        return pl.col(entry), schema[entry]
    return inside(entry, schema) or f"no column {entry!r} in the files{did_you_mean(entry, schema)}"


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def _convert(  # noqa: C901, PLR0911, PLR0912 - one case per canonical column
    name: str, expression: pl.Expr, dtype: pl.DataType, source: Source, currency_digits: int
) -> pl.Expr | str:
    """The expression in the canonical type, or what is wrong with the column's type."""
    match name:
        case "user_id" | "anonymous_id":
            if _is_text(dtype):
                text = expression.cast(pl.String)
                return text if name == "user_id" else _filled(text)
            if type(dtype) in _INTEGERS:
                return expression.cast(pl.Int64)
            fitting = "VARCHAR" if dtype.is_integer() else "BIGINT"
            return f'expected an integer or a string, got {dtype}; cast it: {{ sql = "CAST(… AS {fitting})" }}'
        case "event_type" | "channel" | "campaign_id" | "item_id" | "category" | "page" | "promotion":
            if _is_text(dtype) or dtype.is_integer():
                text = expression.cast(pl.String)
                return _filled(text) if name == "promotion" else text
            return f"expected a string or an integer, got {dtype}"
        case "event_time" | "received_time" | "sent_time":
            return _to_utc(expression, dtype, source)
        case "event_id" | "message_id" | "link":
            if _is_text(dtype):
                return stable_hash(_filled(expression.cast(pl.String)))
            if dtype.is_integer():
                return stable_hash(expression)
            return f"expected a string or an integer, got {dtype}"
        case "machine":
            return _to_boolean(expression, dtype)
        case "amount":
            if not dtype.is_numeric():
                return f"expected a number, got {dtype}"
            if dtype.is_float() or dtype.is_decimal():
                expression = expression.cast(pl.Float64)
                scaled = (expression * 10**currency_digits).round()
                return pl.when(scaled.abs() <= 2 * AMOUNT_LIMIT_MINOR).then(scaled).cast(pl.Int64, strict=False)
            units = expression.cast(pl.Int64, strict=False)
            limit = AMOUNT_LIMIT_MINOR // 10**currency_digits
            return pl.when(units.is_between(-limit, limit)).then(units * 10**currency_digits)
        case _:
            if dtype.is_integer():
                return expression.cast(pl.Int64, strict=False)
            return f"expected an integer, got {dtype}"


def _filled(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _to_boolean(expression: pl.Expr, dtype: pl.DataType) -> pl.Expr | str:
    """Null and empty text are false; null is what neither says yes nor no."""
    if dtype == pl.Boolean:
        return expression.fill_null(value=False)
    if not (_is_text(dtype) or dtype.is_integer()):
        return f"expected true or false, as a Boolean, 1 or 0 or text, got {dtype}"
    text = expression.cast(pl.String).str.to_lowercase().fill_null("")
    return pl.when(text.is_in(["true", "1"])).then(True).when(text.is_in(["false", "0", ""])).then(False)


def _to_utc(expression: pl.Expr, dtype: pl.DataType, source: Source) -> pl.Expr | str:
    # Polars panics on times beyond its calendar, and wraps integers around.
    expression = pl.when(_is_believable(expression, dtype, source)).then(expression)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return expression.dt.convert_time_zone("UTC").cast(TIME)
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        local = expression.cast(pl.Datetime("us"))
        if source.timezone == "UTC":
            return local.dt.replace_time_zone("UTC")
        # The hour that occurs twice is read as its first occurrence; the one that never occurred is a reject.
        zoned = local.dt.replace_time_zone(source.timezone, ambiguous="earliest", non_existent="null")
        return zoned.dt.convert_time_zone("UTC")
    if dtype.is_integer() and source.time_unit is not None:
        number = expression.cast(pl.Int64)
        if source.time_unit == "ns":
            micro = number // 1_000
        else:
            micro = number * _MICROSECONDS[source.time_unit]
        return micro.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype.is_integer():
        return f'expected a timestamp, got {dtype}; say its unit with time_unit = "s", "ms", "us" or "ns"'
    if dtype == pl.String:
        return "expected a timestamp, got String; convert it: { sql = \"STRPTIME(column, '%Y-%m-%d %H:%M:%S')\" }"
    return f"expected a timestamp or a date, got {dtype}"


def _is_believable(expression: pl.Expr, dtype: pl.DataType, source: Source) -> pl.Expr:
    """Whether a time is inside `TIME_LIMITS_US`; nanoseconds in 64 bits always are."""
    if dtype == pl.Date:
        unit: int | None = _DAY_MICROSECONDS
    elif isinstance(dtype, pl.Datetime):
        unit = _MICROSECONDS.get(dtype.time_unit)
    else:
        unit = _MICROSECONDS.get(source.time_unit or "")
    if unit is None:
        return pl.lit(value=True)
    start, end = (limit // unit for limit in TIME_LIMITS_US)
    return expression.to_physical().is_between(start, end, closed="left")


def stable_hash(expression: pl.Expr) -> pl.Expr:
    """64-bit xxHash3 of the value's text; null stays null.

    The algorithm is fixed, unlike Polars' own `hash`, so keys written by one version are found by the next.
    """
    import polars_hash as plh

    hashed: pl.Expr = plh.concat_str(expression.cast(pl.String)).nchash.xxh3_64()
    return hashed


def _reject_rule(
    canonical: dict[str, pl.Expr],
    raw: dict[str, tuple[pl.Expr, pl.DataType]],
    source: Source,
    own: Sequence[CheckedRule],
) -> tuple[pl.Expr, pl.Expr]:
    """`reject` and `broken` of `SourceMapping`."""
    user, type_ = canonical["user_id"], canonical["event_type"]
    time, time_dtype = raw["event_time"]
    in_range = _is_believable(time, time_dtype, source)
    clock = apply_clock(source, canonical)
    left_range = ~in_range.fill_null(value=True) | canonical["event_time"].is_not_null()
    nobody = user.is_null() | (user == "") if _is_text(raw["user_id"][1]) else user.is_null()
    broken = {
        "user_id_missing": nobody & canonical["anonymous_id"].is_null() if "anonymous_id" in canonical else nobody,
        "event_type_missing": type_.is_null() | (type_ == ""),
        "event_time_missing": clock.is_null() & ~left_range,
        "event_time_out_of_range": clock.is_null() & left_range,
        **receipt_rules(source, clock, canonical.get("received_time")),
    }
    if "machine" in canonical:
        broken["machine_not_boolean"] = canonical["machine"].is_null()
    if "amount" in canonical:
        amount, dtype = raw["amount"]
        if dtype.is_float():
            broken["amount_not_finite"] = ~amount.is_finite()
        minor = canonical["amount"]
        broken["amount_out_of_range"] = amount.is_not_null() & (minor.is_null() | (minor.abs() > AMOUNT_LIMIT_MINOR))
    broken |= {rule.name: rule.broken for rule in own}
    code = pl.lit(0, pl.UInt8)
    names = [*(rule.name for rule in REJECT_RULES), *(rule.name for rule in own)]
    for number, name in reversed(list(enumerate(names, start=1))):
        if name in broken:
            code = pl.when(broken[name]).then(pl.lit(number, pl.UInt8)).otherwise(code)
    return code, pl.any_horizontal(condition.fill_null(value=False) for condition in broken.values())
