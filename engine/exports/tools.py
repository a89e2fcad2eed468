"""The formats of the tools: header, separator, and what stands in each cell.

Brevo imports files with semicolons and attributes in capitals (`/contacts/import`). Mailchimp imports files with
commas, needs `Email Address`, cuts text after 255 bytes and takes no letters outside ASCII before the `@`. listmonk
imports `email,name,attributes` with the attributes as JSON. The user data import of Google Analytics 4 joins on
`client_id` and `stream_id`, or on `user_id`. Apostrophes against formulas are only for files that people open in a
spreadsheet: a tool would import them.
"""

from __future__ import annotations

import json
from typing import Final

import polars as pl

from engine.exports.cells import as_text, clipped, is_text, without_formula
from engine.exports.plan import Column, Plan, Tool

MAILCHIMP_BYTES: Final = 255
"""Bytes of a text field; what is behind them is lost on the way in, so it is cut here and counted."""

_DECIMALS: Final = 6
_ASCII_BEFORE_AT: Final = r"^[\x00-\x7f]*@"
_BOM: Final = "\ufeff"


def refused(tool: Tool, email: pl.Expr) -> pl.Expr:
    """Whether a tool takes none of an address that is one."""
    if tool != "mailchimp":
        return pl.lit(False)
    return ~email.str.contains(_ASCII_BEFORE_AT) | (email.str.len_bytes() > MAILCHIMP_BYTES)


def separator(plan: Plan) -> str:
    """What stands between two cells."""
    return ";" if plan.tool == "brevo" else plan.exports.csv.separator if plan.tool == "csv" else ","


def beginning(plan: Plan) -> str:
    """What stands before the header: a byte order mark where spreadsheets need one."""
    return _BOM if plan.tool == "csv" and plan.exports.csv.bom else ""


def most_bytes(plan: Plan) -> int | None:
    """Bytes that one file may have; None when any number will do."""
    return plan.exports.brevo.max_bytes if plan.tool == "brevo" else None


def header(plan: Plan) -> list[str]:
    """The headers of the columns."""
    given = [column.header for column in plan.columns]
    match plan.tool:
        case "brevo":
            return ["EMAIL", *given]
        case "mailchimp":
            return ["Email Address", *given, *([plan.exports.mailchimp.tags] if plan.exports.mailchimp.tags else [])]
        case "listmonk":
            return ["email", "name", "attributes"]
        case "ga4":
            return [*(["user_id"] if plan.key == "user_id" else ["client_id", "stream_id"]), *given]
        case "csv":
            names = pl.Series("name", given, dtype=pl.String).to_frame()
            return names.select(name=without_formula(pl.col("name")))["name"].to_list()


def cells(plan: Plan, rows: pl.DataFrame) -> pl.DataFrame:
    """The text of every cell, in the order of `header`; null is an empty cell. Names of columns have no meaning.

    Args:
        plan: What is written.
        rows: Users with the columns of the plan, as `engine.exports.people.read_units` gives them.
    """
    return rows.select(expr.alias(str(place)) for place, expr in enumerate(_cells(plan, rows)))


def clip(plan: Plan, found: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Cells as short as the tool wants them, and how many were cut, by header."""
    if plan.tool != "mailchimp":
        return found, {}
    short = [clipped(column, MAILCHIMP_BYTES) for column in found.iter_columns()]
    cut = {
        name: cells
        for name, was, now in zip(header(plan), found.iter_columns(), short, strict=True)
        if (cells := int((was != now).sum()))
    }
    return pl.DataFrame(short), cut


def _cells(plan: Plan, rows: pl.DataFrame) -> list[pl.Expr]:
    texts = [as_text(column.name, column.dtype) for column in plan.columns]
    match plan.tool:
        case "brevo":
            return [pl.col("email"), *texts]
        case "mailchimp":
            # A comma would make two tags of one.
            tag = pl.col("segment").str.replace_all(",", " ", literal=True)
            return [pl.col("email"), *texts, *([tag] if plan.exports.mailchimp.tags else [])]
        case "listmonk":
            return [pl.col("email"), _name(plan), pl.lit(_json(plan.columns, rows))]
        case "ga4":
            stream = pl.lit(plan.exports.ga4.stream_id)
            keys = [as_text("user_id", rows.schema["user_id"])] if plan.key == "user_id" else []
            return [*(keys or [pl.col("client_id"), stream]), *texts]
        case "csv":
            comma = plan.exports.csv.decimal_comma
            return [_plain(column, text, comma=comma) for column, text in zip(plan.columns, texts, strict=True)]


def _plain(column: Column, text: pl.Expr, *, comma: bool) -> pl.Expr:
    if is_text(column.dtype):
        return without_formula(text)
    is_decimal = column.dtype.is_float() or column.dtype.is_decimal()
    return text.str.replace(".", ",", literal=True) if comma and is_decimal else text


def _name(plan: Plan) -> pl.Expr:
    parts = [as_text(column.name, column.dtype).str.strip_chars() for column in plan.names]
    if not parts:
        return pl.lit(None, pl.String)
    # First name before last name; one of them alone without a blank.
    return pl.concat_str(parts, separator=" ", ignore_nulls=True).str.strip_chars()


def _json(columns: tuple[Column, ...], rows: pl.DataFrame) -> pl.Series:
    """The attributes of each row as a JSON object without those that are not known; `{}` for none."""
    values = rows.select(_json_value(column).alias(str(place)) for place, column in enumerate(columns))
    headers = [column.header for column in columns]
    texts = [
        json.dumps(
            {name: value for name, value in zip(headers, row, strict=True) if value is not None},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for row in values.iter_rows()
    ]
    return pl.Series("attributes", texts or ["{}"] * rows.height, dtype=pl.String)


def _json_value(column: Column) -> pl.Expr:
    value, dtype = pl.col(column.name), column.dtype
    if dtype.is_integer() or dtype == pl.Boolean:
        return value
    if dtype.is_float() or dtype.is_decimal():
        real = value.cast(pl.Float64)
        # −0 is 0.
        return pl.when(real.is_finite()).then(real.round(_DECIMALS) + 0.0)
    return as_text(column.name, dtype)
