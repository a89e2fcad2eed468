"""Which type the values of a column of text have, and one type for columns that are read in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.events.schema import TIME

if TYPE_CHECKING:
    from polars.datatypes import DataTypeClass

Types = dict[str, pl.DataType]
LOCAL_TIME: Final = pl.Datetime("us")
# A leading zero, a plus or more digits than 64 bits hold: no number to count with, but an id.
_WHOLE = r"0|-?[1-9]\d{0,17}"
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONE = r" ?(?:Z|UTC|[+-]\d{2}:?\d{2})$"
_SECONDS_PER = {"hour": 3_600, "minute": 60}

_SCALARS = {
    str(dtype): dtype
    for dtype in (
        pl.Null(),
        pl.Boolean(),
        pl.Int64(),
        pl.Int128(),
        pl.Float64(),
        pl.String(),
        pl.Date(),
        LOCAL_TIME,
        TIME,
    )
}


def type_of_text(texts: pl.Series, *, numbers: bool, decimal_comma: bool = False) -> pl.DataType:
    """The type that every value clearly has: Int64, Float64, Date, a local or a UTC time, else String; Null for none.

    Args:
        texts: Strings.
        numbers: Whether a text can be a number; it cannot where the format itself tells numbers from text.
        decimal_comma: Whether decimals are written 12,50.
    """
    present = texts.drop_nulls()
    if present.is_empty():
        return pl.Null()
    whole, decimal = f"^(?:{_WHOLE})$", _decimal(decimal_comma=decimal_comma)
    kinds: list[tuple[str, pl.DataType]] = [(whole, pl.Int64()), (decimal, pl.Float64())] if numbers else []
    kinds += [(_DAY, pl.Date()), (f"{_MOMENT}$", LOCAL_TIME), (f"{_MOMENT}{_ZONE}", TIME)]
    for pattern, dtype in kinds:
        # The first value decides whether it is worth looking at the others.
        if present.head(1).str.contains(pattern).all() and present.str.contains(pattern).all():
            typed = present.to_frame("x").select(as_type(pl.col("x"), dtype, decimal_comma=decimal_comma))
            return pl.String() if typed["x"].null_count() else dtype
    return pl.String()


def as_type(text: pl.Expr, dtype: pl.DataType, *, decimal_comma: bool = False) -> pl.Expr:
    """Texts in a type that `type_of_text` found for them; null where a text is none of it."""
    if dtype == pl.Float64 and decimal_comma:
        text = text.str.replace(",", ".", literal=True)
    if dtype.is_numeric():
        return text.cast(dtype, strict=False)
    if dtype == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if dtype == LOCAL_TIME:
        return pl.coalesce(_local(text), text.str.to_date("%Y-%m-%d", strict=False).cast(LOCAL_TIME))
    if dtype == TIME:
        offset = text.str.extract(r"([+-]\d{2}):?\d{2}$").cast(pl.Int64) * _SECONDS_PER["hour"]
        minutes = text.str.extract(r"[+-]\d{2}:?(\d{2})$").cast(pl.Int64) * _SECONDS_PER["minute"]
        # -03:30 is three hours and 30 minutes back; the sign of -00:30 stands with the hours too.
        behind = text.str.contains(r"-\d{2}:?\d{2}$")
        seconds = offset + pl.when(behind).then(-minutes).otherwise(minutes)
        moment = _local(text) - pl.duration(seconds=seconds.fill_null(0), time_unit="us")
        return moment.dt.replace_time_zone("UTC")
    return text.cast(dtype)


def widen(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """A type that can hold the values of both; text where nothing else can."""
    if other in (one, pl.Null):
        return one
    if one == pl.Null:
        return other
    if one.is_numeric() and other.is_numeric():
        # Two kinds of whole numbers: some are beyond 64 bits, which only ids are.
        return pl.Float64() if one.is_float() or other.is_float() else pl.String()
    if {one, other} == {pl.Date(), LOCAL_TIME}:
        return LOCAL_TIME
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return pl.List(widen(_instance(one.inner), _instance(other.inner)))
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        return pl.Struct(widen_all(_fields(one), _fields(other)))
    return pl.String()


def widen_all(one: Types, other: Types) -> Types:
    """The columns of both, those of `one` first, each in a type that holds the values of both."""
    widened = {name: widen(dtype, other.get(name, pl.Null())) for name, dtype in one.items()}
    return {**widened, **{name: dtype for name, dtype in other.items() if name not in one}}


def storable(dtype: pl.DataType) -> pl.DataType:
    """The type without the parts that no value has and no Parquet file can hold; Null when nothing is left."""
    if isinstance(dtype, pl.Struct):
        fields = {name: storable(inner) for name, inner in _fields(dtype).items()}
        kept = {name: inner for name, inner in fields.items() if inner != pl.Null}
        return pl.Struct(kept) if kept else pl.Null()
    if isinstance(dtype, pl.List):
        inner = storable(_instance(dtype.inner))
        return pl.List(pl.String() if inner == pl.Null else inner)
    return pl.String() if dtype == pl.Int128 else dtype


def to_json(types: Types) -> dict[str, object]:
    """Names and types as JSON."""
    return {name: _to_json(dtype) for name, dtype in types.items()}


def from_json(value: Mapping[str, object]) -> Types:
    """What `to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: Something else.
    """
    return {name: _from_json(dtype) for name, dtype in value.items()}


def _to_json(dtype: pl.DataType) -> object:
    if isinstance(dtype, pl.Struct):
        return to_json(_fields(dtype))
    return [_to_json(_instance(dtype.inner))] if isinstance(dtype, pl.List) else str(dtype)


def _from_json(value: object) -> pl.DataType:
    match value:
        case dict():
            return pl.Struct(from_json(value))
        case [inner]:
            return pl.List(_from_json(inner))
    return _SCALARS[str(value)]


def _decimal(*, decimal_comma: bool) -> str:
    point = "," if decimal_comma else r"\."
    return rf"^(?:{_WHOLE}|-?(?:0|[1-9]\d{{0,17}}){point}\d+(?:[eE][+-]?\d{{1,3}})?)$"


def _local(text: pl.Expr) -> pl.Expr:
    """The date and time in front of a zone; a fraction is cut off behind the microseconds."""
    minute = [text.str.slice(0, 10), pl.lit("T"), text.str.slice(11, 5)]
    seconds = text.str.extract(r"^.{16}(:\d{2})").fill_null(":00")
    moment = pl.concat_str([*minute, seconds]).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    fraction = text.str.extract(r"^.{19}[.,](\d{1,9})").fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
    return moment + pl.duration(microseconds=fraction.cast(pl.Int64), time_unit="us")


def _fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {field.name: _instance(field.dtype) for field in dtype.fields}


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
