"""Functions of one user's values, and arithmetic: typed, and compiled so that any input gives a value or null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.rules.kinds import NAMED, Kind, Typed
from engine.rules.reader import Reader

if TYPE_CHECKING:
    from datetime import date

    from sqlglot import exp

_MAX_DAYS: Final = 100_000
_MAX_CHARACTERS: Final = 2**31 - 1
"""Of a text that Polars can hold."""


def _nfc(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFC")


_OF_ONE: Final[Mapping[str, tuple[Kind, Kind, Callable[[pl.Expr], pl.Expr]]]] = {
    "Abs": ("number", "number", lambda x: x.abs()),
    "Ceil": ("number", "number", lambda x: x.ceil()),
    "Floor": ("number", "number", lambda x: x.floor()),
    "Lower": ("text", "text", lambda x: _nfc(x.str.to_lowercase())),
    "Upper": ("text", "text", lambda x: _nfc(x.str.to_uppercase())),
    "Trim": ("text", "text", lambda x: x.str.strip_chars()),
    "Length": ("text", "number", lambda x: x.str.len_chars().cast(pl.Int64)),
    "Year": ("date", "number", lambda x: x.dt.year().cast(pl.Int64)),
    "Month": ("date", "number", lambda x: x.dt.month().cast(pl.Int64)),
    "Day": ("date", "number", lambda x: x.dt.day().cast(pl.Int64)),
}
"""sqlglot's name: kind that goes in, kind that comes out, what is done."""

OF_ONE: Final = frozenset(_OF_ONE)


def expected(node: exp.Expr, value: Typed, kind: Kind, what: str, reader: Reader) -> bool:
    """Whether a value is of a kind; if not, it is told. NULL is of every kind."""
    if value.kind == kind:
        return True
    if value.kind == "null":
        reader.problem(node, f"{what} of NULL is always NULL")
    elif value.kind != "unknown":
        reader.problem(node, f"{value.shown}; {what} takes {NAMED[kind]}")
    return False


def unknown(node: exp.Expr, reader: Reader) -> Typed:
    """In place of a value that a problem has been told of."""
    return Typed("unknown", pl.lit(None), reader.text(node))


def of_one(node: exp.Expr, name: str, value: Typed, reader: Reader) -> Typed:
    """A function of one value."""
    takes, gives, compute = _OF_ONE[name]
    if not expected(node, value, takes, f"{name.upper()}()", reader):
        return unknown(node, reader)
    return Typed(gives, compute(value.expr), reader.text(node), may_be_nan=value.may_be_nan)


def rounded(node: exp.Expr, value: Typed, digits: Typed | None, reader: Reader) -> Typed:
    """`ROUND(x [, digits])`: halves away from zero."""
    if not expected(node, value, "number", "ROUND()", reader):
        return unknown(node, reader)
    places = 0 if digits is None else digits.number
    if places is None or places not in range(16):
        return reader.problem(node, "ROUND() takes the number of decimals, 0 to 15, as its second value")
    exact = value.expr.cast(pl.Float64).round(int(places), mode="half_away_from_zero")
    return Typed("number", exact, reader.text(node), may_be_nan=value.may_be_nan)


def part(node: exp.Expr, text: Typed, length: Typed, reader: Reader) -> Typed:
    """`LEFT(x, n)` and `RIGHT(x, n)`."""
    name = type(node).__name__
    if not expected(node, text, "text", f"{name.upper()}()", reader):
        return unknown(node, reader)
    if length.number is None or length.number < 0 or length.number != int(length.number):
        return reader.problem(node, f"{name.upper()}() takes a whole number of characters as its second value")
    count = min(int(length.number), _MAX_CHARACTERS)
    cut = text.expr.str.head(count) if name == "Left" else text.expr.str.tail(count)
    return Typed("text", cut, reader.text(node))


def begins_or_ends(node: exp.Expr, text: Typed, with_text: Typed, reader: Reader) -> pl.Expr:
    """`STARTS_WITH(x, y)` and `ENDS_WITH(x, y)`: false where either is null."""
    name = "STARTS_WITH()" if type(node).__name__ == "StartsWith" else "ENDS_WITH()"
    sound = [expected(node, side, "text", name, reader) for side in (text, with_text)]
    if not all(sound):
        return pl.lit(value=False)
    strings = text.expr.str
    held = strings.starts_with(with_text.expr) if name == "STARTS_WITH()" else strings.ends_with(with_text.expr)
    return held.fill_null(value=False)


def common_kind(node: exp.Expr, values: Sequence[Typed], what: str, reader: Reader) -> Kind | None:
    """The one kind that all values have, NULL aside; None when there is none, which is told."""
    if any(value.kind == "unknown" for value in values):
        return None
    known = [value for value in values if value.kind != "null"]
    other = next((value for value in known if value.kind != known[0].kind), None)
    if not known:
        reader.problem(node, f"{what} of NULL alone is always NULL")
        return None
    if other is not None:
        reader.problem(node, f"{known[0].shown}, {other.shown}: {what} takes values of one kind")
        return None
    return known[0].kind


def together(values: Sequence[Typed]) -> list[pl.Expr]:
    """Expressions of one kind with one type: numbers become Float64."""
    number = any(value.kind == "number" for value in values)
    return [value.clean.cast(pl.Float64) if number else value.expr for value in values]


def chosen(node: exp.Expr, values: Sequence[Typed], reader: Reader) -> Typed:
    """`COALESCE`, `GREATEST` and `LEAST`: the last two leave NULL out."""
    name = type(node).__name__
    kind = common_kind(node, values, f"{name.upper()}()", reader)
    if kind is None:
        return unknown(node, reader)
    if kind in {"truth", "days"} and name != "Coalesce":
        return reader.problem(node, f"{values[0].shown}; {name.upper()}() takes numbers, text or dates")
    exprs = together(values)
    if name == "Coalesce":
        chosen_one = pl.coalesce(exprs)
    else:
        chosen_one = pl.max_horizontal(exprs) if name == "Greatest" else pl.min_horizontal(exprs)
    return Typed(kind, chosen_one, reader.text(node))


def cleared(node: exp.Expr, value: Typed, equal: pl.Expr, reader: Reader) -> Typed:
    """`NULLIF(x, y)`: NULL where they are equal."""
    expr = pl.when(~equal).then(value.expr)
    return Typed(value.kind, expr, reader.text(node), may_be_nan=value.may_be_nan)


def arithmetic(node: exp.Expr, left: Typed, right: Typed, reader: Reader) -> Typed:
    """`+ - * / // %` of numbers (Float64), `+ -` of a date and an interval, `-` of two dates (days)."""
    name = type(node).__name__
    if "unknown" in (left.kind, right.kind):
        return unknown(node, reader)
    if "null" in (left.kind, right.kind):
        return reader.problem(node, f"{reader.text(node)} is always NULL")
    if left.kind == "date" and right.kind == "days" and name in {"Add", "Sub"}:
        days = int(right.number or 0) * (1 if name == "Add" else -1)
        return Typed("date", left.expr.dt.offset_by(f"{days}d"), reader.text(node))
    if left.kind == right.kind == "date" and name == "Sub":
        return Typed("number", days_between(left.expr, right.expr), reader.text(node))
    if left.kind != "number" or right.kind != "number":
        advice = "; days are added with INTERVAL '7' DAY" if "date" in (left.kind, right.kind) else ""
        return reader.problem(node, f"{left.shown}, {right.shown}: arithmetic takes numbers{advice}")
    above, below = left.expr.cast(pl.Float64), right.expr.cast(pl.Float64)
    result = {
        "Add": pl.Expr.add,
        "Sub": pl.Expr.sub,
        "Mul": pl.Expr.mul,
        "Div": pl.Expr.truediv,
        "IntDiv": pl.Expr.floordiv,
        "Mod": pl.Expr.mod,
    }[name](above, below)
    # Sums beyond the largest number are infinite, and their differences not a number.
    return Typed("number", result, reader.text(node), may_be_nan=True)


def days_between(later: pl.Expr, earlier: pl.Expr) -> pl.Expr:
    """Days from one date to another (Int64)."""
    return later.cast(pl.Int32).cast(pl.Int64) - earlier.cast(pl.Int32).cast(pl.Int64)


def interval(node: exp.Expr, amount: str | None, unit: str, reader: Reader) -> Typed:
    """`INTERVAL '7' DAY`: a number of days."""
    days = {"DAY": 1, "DAYS": 1, "WEEK": 7, "WEEKS": 7}.get(unit)
    if days is None or amount is None or not amount.strip().removeprefix("-").isdecimal() or len(amount) > 9:
        return reader.problem(node, "an interval is a whole number of days or weeks: INTERVAL '30' DAY")
    length = int(amount) * days
    if abs(length) > _MAX_DAYS:
        return reader.problem(node, f"an interval has {_MAX_DAYS:,} days at most")
    return Typed("days", pl.lit(length, pl.Int64), reader.text(node), number=length)


def until_anniversary(dates: pl.Expr, as_of: date) -> pl.Expr:
    """Days from as_of to the next time that day and month of a date come round; 0 on the day.

    29 February falls on 28 February in years that are no leap years.
    """
    return pl.min_horizontal(
        pl.when(days >= 0).then(days)
        for year in (as_of.year, as_of.year + 1)
        for days in [days_between(_on(dates, year), pl.lit(as_of, pl.Date))]
    )


def _on(dates: pl.Expr, year: int) -> pl.Expr:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    month, day = dates.dt.month(), dates.dt.day()
    lost = (month == 2) & (day == 29) & pl.lit(not leap)
    return pl.date(pl.lit(year), month, pl.when(lost).then(pl.lit(28)).otherwise(day))


def cast(node: exp.Expr, value: Typed, target: str, reader: Reader) -> Typed:
    """`TRY_CAST(x AS type)`: NULL where the text says something else."""
    kinds: dict[str, tuple[Kind, pl.DataType]] = {
        "INT": ("number", pl.Int64()),
        "BIGINT": ("number", pl.Int64()),
        "DOUBLE": ("number", pl.Float64()),
        "FLOAT": ("number", pl.Float64()),
        "VARCHAR": ("text", pl.String()),
        "TEXT": ("text", pl.String()),
        "DATE": ("date", pl.Date()),
    }
    if value.kind in {"unknown", "null", "days"} or target not in kinds:
        if value.kind == "unknown":
            return unknown(node, reader)
        return reader.problem(node, "TRY_CAST(x AS type) takes a column or value, and INT, DOUBLE, VARCHAR or DATE")
    kind, dtype = kinds[target]
    text = reader.text(node)
    if value.kind == kind:
        if dtype == pl.Int64:
            return reader.problem(node, f"{value.shown}; whole numbers are made with ROUND(), FLOOR() or CEIL()")
        return Typed(kind, value.expr, text)
    if value.kind == "text" and kind == "date":
        return Typed(kind, value.expr.str.to_date("%Y-%m-%d", strict=False), text)
    if value.kind == "text":
        # Polars reads "nan" and "inf" as numbers.
        number = value.expr.cast(dtype, strict=False)
        finite = pl.when(number.is_finite()).then(number) if dtype == pl.Float64 else number
        return Typed(kind, finite, text)
    if kind == "text" or (value.kind == "truth" and kind == "number"):
        return Typed(kind, value.expr.cast(dtype), text)
    return reader.problem(node, f"{value.shown}; it cannot become {NAMED[kind]}")
