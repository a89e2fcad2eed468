"""Values inside nested columns: a key of a list of parameters, a field of a struct, an entry of a list.

Everything is an expression over whole columns; no row passes through Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from engine.config import Param
from engine.suggest import did_you_mean
from engine.toml_text import split_dotted

if TYPE_CHECKING:
    from polars.datatypes import DataTypeClass

Found = tuple[pl.Expr, pl.DataType]

_TYPES: Mapping[str, pl.DataType] = {"string": pl.String(), "integer": pl.Int64(), "float": pl.Float64()}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "string": ("string_value", "int_value", "double_value", "float_value"),
    "integer": ("int_value", "double_value", "float_value", "string_value"),
    "float": ("double_value", "float_value", "int_value", "string_value"),
}


def parameter(entry: Param, schema: Mapping[str, pl.DataType]) -> Found | str:
    """The value of one key in a column of keys and values, or what is wrong with the column.

    The column is a `list<struct<key, value>>` or a map. `value` is a plain value, or a struct with some of
    `string_value`, `int_value`, `float_value` and `double_value`, of which the first that holds something and fits
    `entry.type` counts (GA4 writes `session_engaged` now as a number, now as text). Of a repeated key the first counts.
    A missing key, and a value that does not fit, is null.

    Args:
        entry: The key, its column and the type wanted.
        schema: Names and types of the columns of the files.
    """
    dtype = schema.get(entry.of)
    if dtype is None:
        return f"no column {entry.of!r} in the files{did_you_mean(entry.of, schema)}"
    pairs = pl.col(entry.of)
    fields: dict[str, pl.DataType] = {}
    if isinstance(dtype, pl.Map):
        pairs = pairs.map.entries()
        fields = {"key": _instance(dtype.key), "value": _instance(dtype.value)}
    elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        fields = {field.name: _instance(field.dtype) for field in dtype.inner.fields}
    if not {"key", "value"} <= fields.keys():
        return f"expected a list of structs with the fields key and value in {entry.of!r}, got {dtype}"
    first = pairs.list.filter(pl.element().struct.field("key") == entry.param).list.first()
    value, inner = first.struct.field("value"), fields["value"]
    wanted = _TYPES[entry.type]
    if not isinstance(inner, pl.Struct):
        if inner.is_nested():
            return f"expected plain values or structs of them in {entry.of!r}, got {inner}"
        return _fit(value, inner, wanted), wanted
    known = {field.name: _instance(field.dtype) for field in inner.fields}
    candidates = [_fit(value.struct.field(name), known[name], wanted) for name in _FIELDS[entry.type] if name in known]
    if not candidates:
        return f"the values of {entry.of!r} have none of the fields {', '.join(sorted(_FIELDS['string']))}"
    return pl.coalesce(candidates), wanted


def _fit(value: pl.Expr, dtype: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    if dtype.is_float() and wanted.is_integer():
        value = pl.when(value == value.floor()).then(value)
    return value.cast(wanted, strict=False)


def inside(path: str, schema: Mapping[str, pl.DataType]) -> Found | str | None:
    """What a dotted name stands for: a field of a struct, at any depth, or an entry of a list by its number from 0.

    Parts that hold a dot themselves are written in double quotes: `'"shop.order".id'`.

    Args:
        path: Such as `ecommerce.transaction_id` or `items.0.item_id`.
        schema: Names and types of the columns of the files.

    Returns:
        None when the first part is no column, or one without fields; a text when a later part does not exist.
    """
    first, *parts = split_dotted(path)
    if first not in schema or not parts or not isinstance(schema[first], pl.Struct | pl.List | pl.Array):
        return None
    value, dtype, walked = pl.col(first), schema[first], first
    for part in parts:
        if isinstance(dtype, pl.Struct):
            fields = {field.name: field.dtype for field in dtype.fields}
            if part not in fields:
                return f"no field {part!r} in {walked!r}{did_you_mean(part, fields)}"
            value, dtype = value.struct.field(part), _instance(fields[part])
        elif isinstance(dtype, pl.List | pl.Array) and part.isascii() and part.isdigit():
            entries = value.list if isinstance(dtype, pl.List) else value.arr
            value, dtype = entries.get(int(part), null_on_oob=True), _instance(dtype.inner)
        elif isinstance(dtype, pl.List | pl.Array):
            return f"{walked!r} is a list: name one of its entries by its number, as in {walked}.0.{part}"
        else:
            return f"{walked!r} has no fields, it is of type {dtype}"
        walked = f"{walked}.{part}"
    return value, dtype


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
