"""The pairs as files: to be reviewed, edited and given back.

<out>/_contacts/pairs.parquet
<out>/_contacts/pairs.csv
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.contacts.duplicates.decisions import Kind, Pair, contacts_folder, make_folder, pair_of
from engine.errors import ConfigError
from engine.events.probe import read_footers
from engine.tables import disk
from engine.tables.durable import durable_bytes, durable_parquet_at

_COLUMNS: Final = ("user_id", "other_id")
_DECISION: Final = "decision"
_SEPARATORS: Final = ",;\t"
_SHOWN: Final = 5
_KINDS: Final[dict[str, Kind | None]] = {
    "": None,
    "review": None,
    "merge": "merge",
    "merged": "merge",
    "confirm": "merge",
    "confirmed": "merge",
    "undo": "undo",
    "undone": "undo",
    "refuse": "refuse",
    "refused": "refuse",
}
_STATES: Final = frozenset({"merged", "confirmed", "undone", "refused"})
"""What stands in a file that `tamis duplicates find` wrote."""


@dataclass(frozen=True)
class Asked:
    """A row of a file of pairs.

    Attributes:
        pair: The two ids.
        kind: What is asked; None to leave it as it is.
        by_hand: Whether it says more than that the pair was merged without asking.
        is_state: Whether it says how the pair was when the file was written, and not what is to be done.
    """

    pair: Pair
    kind: Kind | None
    by_hand: bool = True
    is_state: bool = False


def pairs_files(out: Path) -> tuple[Path, Path]:
    """Where the pairs of an output root are: Parquet and CSV."""
    return contacts_folder(out) / "pairs.parquet", contacts_folder(out) / "pairs.csv"


def write_pairs(pairs: pl.DataFrame, out: Path) -> tuple[Path, Path]:
    """Write the pairs in place of those that are there.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    parquet, text = pairs_files(out)
    make_folder(out)
    durable_parquet_at(pairs, parquet)
    durable_bytes(pairs.write_csv().encode(), text)
    for path in (parquet, text):
        disk.make_private(path)
    return parquet, text


def read_pairs_file(file: Path, default: Kind) -> list[Asked]:
    """What a file of pairs asks for, in its order.

    Args:
        file: CSV (UTF-8; separated by commas, semicolons or tabs) or Parquet with the columns `user_id` and `other_id`,
            and where each row is to say for itself what is asked, `decision`.
        default: What is asked where there is no such column.

    Raises:
        ConfigError: A file that cannot be read, without the columns, or with rows that ask for nothing known.
    """
    table = _table(file)
    decisions = (
        table[_DECISION].fill_null("").str.strip_chars().str.to_lowercase() if _DECISION in table.columns else None
    )
    ids = table.select(pl.col(_COLUMNS).cast(pl.String).str.strip_chars().fill_null(""))
    same = ids["user_id"] == ids["other_id"]
    bad = ids.select(((pl.col("user_id") == "") | (pl.col("other_id") == "")) | same).to_series()
    if decisions is not None:
        bad |= ~decisions.is_in(list(_KINDS))
    if bad.any():
        rows = [place + 1 for place in bad.arg_true().head(_SHOWN)]
        more = ", …" if bad.sum() > _SHOWN else ""
        raise ConfigError(
            f"{file}: {bad.sum()} rows are no decision about two ids: rows {', '.join(map(str, rows))}{more}",
            code="duplicates-pairs",
            hint=f"Give two different ids a row; decision is one of {', '.join(name for name in _KINDS if name)}, or "
            "empty.",
        )
    asked = decisions.to_list() if decisions is not None else [default] * ids.height
    return [
        Asked(pair_of(first, second), _KINDS[word], word != "merged", word in _STATES)
        for (first, second), word in zip(ids.iter_rows(), asked, strict=True)
    ]


def _table(file: Path) -> pl.DataFrame:
    wanted = [*_COLUMNS, _DECISION]
    try:
        if file.suffix.lower() in {".parquet", ".pq"}:
            # In a child process first: a damaged footer may abort whoever reads it.
            [footer] = read_footers([file])
            if footer.problem:
                raise OSError(0, footer.problem)
            columns = list(pl.read_parquet_schema(file))
            _check(file, columns)
            return pl.read_parquet(file, columns=[name for name in wanted if name in columns], glob=False)
        text = file.read_text(encoding="utf-8-sig")
        header = text.split("\n", 1)[0].removesuffix("\r")
        split = {one: next(csv.reader(io.StringIO(header), delimiter=one), []) for one in _SEPARATORS}
        separator = max(_SEPARATORS, key=lambda one: sum(name in split[one] for name in wanted))
        _check(file, split[separator])
        names = [name for name in wanted if name in split[separator]]
        return pl.read_csv(text.encode(), separator=separator, columns=names, infer_schema=False)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        # What Polars says of a file may quote it.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no table of text (UTF-8)"
        raise ConfigError(
            f"cannot read the pairs in {file}: {reason}",
            code="duplicates-pairs-file",
            hint="Give the pairs.csv that `tamis duplicates find` wrote, or a file with user_id and other_id.",
        ) from None


def _check(file: Path, columns: list[str]) -> None:
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise ConfigError(
            f"{file}: no column {' and no column '.join(map(repr, missing))}",
            code="duplicates-pairs-file",
            hint="Give the pairs.csv that `tamis duplicates find` wrote, or a file with user_id and other_id.",
        )
