"""The users that a command is asked about: ids on the command line, or in a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import ConfigError
from engine.events.probe import read_footers

_INTEGER = re.compile(r"[+-]?\d{1,19}")
_COLUMN: Final = "user_id"
_SEPARATORS: Final = ",;\t"


def asked_users(ids: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """The ids as text, each once, in the order in which they were given.

    Args:
        ids: Ids from the command line.
        file: A file of ids, as `ids_of_file` reads it.

    Raises:
        ConfigError: No id, or a file that cannot be used.
    """
    found = [*ids, *(() if file is None else ids_of_file(file).drop_nulls())]
    known = tuple(dict.fromkeys(stripped for text in found if (stripped := text.strip())))
    if not known:
        raise ConfigError(
            "expected ids of users, got none" + (f" in {file}" if file is not None else ""),
            code="users-missing",
            hint="Name them with --user ID (repeatable), or a file of them with --users FILE.",
        )
    return known


def as_stored(ids: Iterable[str], user_dtype: str) -> dict[str, str | int]:
    """Ids by the text they were given as, in the type of the log's; what no user can have is left out.

    Args:
        ids: Ids as text.
        user_dtype: Int64 or String.
    """
    if user_dtype == "String":
        return {text: text for text in ids}
    numbers = {text: int(text) for text in ids if _INTEGER.fullmatch(text)}
    return {text: number for text, number in numbers.items() if -(2**63) <= number < 2**63}


def ids_of_file(file: Path) -> pl.Series:
    """The ids in a file as text, a row or line each, in their order; null where a table has none.

    Args:
        file: A Parquet or CSV file with a column `user_id` (or with one column), or a text file with one id per line.
            Text is UTF-8; the cells of a CSV file are separated by commas, semicolons or tabs.

    Raises:
        ConfigError: The file cannot be used.
    """
    try:
        if file.suffix.lower() in {".parquet", ".pq"}:
            return _column(file)
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".csv" and (separator := _separator(file, text)) is not None:
            return _cells(text, separator)
        return pl.Series(_COLUMN, text.splitlines(), dtype=pl.String)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ConfigError(
            f"cannot read the ids in {file}: {reason}",
            code="users-unreadable",
            hint=f"Give a Parquet or CSV file with a column {_COLUMN!r}, or a text file (UTF-8) with one id per line.",
        ) from error


def _separator(file: Path, text: str) -> str | None:
    """What stands between the cells of a table with a column of ids; None when each line is an id."""
    header = text.split("\n", 1)[0].removesuffix("\r")
    for separator in _SEPARATORS:
        if _COLUMN in next(csv.reader([header], delimiter=separator), []):
            return separator
    if any(separator in header for separator in _SEPARATORS):
        raise _no_column(file, header)
    return None


def _cells(text: str, separator: str) -> pl.Series:
    table = pl.read_csv(text.encode(), separator=separator, columns=[_COLUMN], infer_schema=False)
    return table[_COLUMN]


def _column(file: Path) -> pl.Series:
    # In a child process first: a damaged footer may abort whoever reads it.
    [footer] = read_footers([file])
    if footer.problem:
        raise OSError(0, footer.problem)
    columns = pl.read_parquet_schema(file)
    name = _COLUMN if _COLUMN in columns else next(iter(columns), "")
    dtype = columns.get(name)
    if dtype is None or (name != _COLUMN and len(columns) > 1) or not (dtype.is_integer() or dtype == pl.String):
        raise _no_column(file, ", ".join(f"{column} {kind}" for column, kind in columns.items()) or "no column")
    return pl.read_parquet(file, columns=[name], glob=False)[name].cast(pl.String).alias(_COLUMN)


def _no_column(file: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{file}: expected a column {_COLUMN!r} of text or whole numbers, got {found}",
        code="users-unreadable",
        hint=f"Name the column of the ids {_COLUMN!r}.",
    )
