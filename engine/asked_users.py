"""The users that a command is asked about: ids on the command line, or in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from engine.errors import ConfigError

_INTEGER = re.compile(r"[+-]?\d{1,19}")
_COLUMN = "user_id"


def asked_users(ids: Sequence[str], file: Path | None) -> tuple[str, ...]:
    """The ids as text, each once, in the order in which they were given.

    Args:
        ids: Ids from the command line.
        file: A Parquet file with a column `user_id` (or with one column), or a text file with one id per line, UTF-8.

    Raises:
        ConfigError: No id, or a file that cannot be used.
    """
    found = [*ids, *(() if file is None else _read(file))]
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


def _read(file: Path) -> list[str]:
    try:
        if file.suffix.lower() in {".parquet", ".pq"}:
            return _column(file)
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise ConfigError(
            f"cannot read the ids in {file}: {reason}",
            code="users-unreadable",
            hint=f"Give a Parquet file with a column {_COLUMN!r}, or a text file (UTF-8) with one id per line.",
        ) from error


def _column(file: Path) -> list[str]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        # Arrow reads the footer first: on a damaged one Polars may abort the process.
        read_metadata(file)
    except ArrowException as error:
        raise OSError(0, "it is no Parquet file") from error
    columns = pl.read_parquet_schema(file)
    name = _COLUMN if _COLUMN in columns else next(iter(columns), "")
    dtype = columns.get(name)
    if dtype is None or (name != _COLUMN and len(columns) > 1) or not (dtype.is_integer() or dtype == pl.String):
        raise ConfigError(
            f"{file}: expected a column {_COLUMN!r} of text or whole numbers, got "
            + (", ".join(f"{column} {kind}" for column, kind in columns.items()) or "no column"),
            code="users-unreadable",
            hint=f"Name the column of the ids {_COLUMN!r}.",
        )
    return pl.read_parquet(file, columns=[name], glob=False)[name].cast(pl.String).drop_nulls().to_list()
