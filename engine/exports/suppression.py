"""Lists of people who must not be written to: addresses or user ids, from files of several kinds."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import ConfigError
from engine.events.probe import read_footers
from engine.exports.addresses import compared, trimmed
from engine.privacy.key import Key
from engine.privacy.opposed import Opposed
from engine.privacy.tombstones import Form
from engine.suggest import some_of

_HEADERS: Final = frozenset({"email", "emailaddress", "adresseemail", "mail", "address", "userid"})
_SEPARATORS: Final = ";,\t"
_WHOLE_NUMBER: Final = r"^[+-]?\d{1,19}$"


@dataclass(frozen=True, eq=False)
class Hashed:
    """The list that an output root keeps, as keyed hashes.

    Attributes:
        opposed: Who is on it.
        key: The key.
        form: What the ids of the published tables are.
    """

    opposed: Opposed
    key: Key
    form: Form


@dataclass(frozen=True, eq=False)
class Suppressed:
    """What is on the lists.

    Attributes:
        addresses: Each value as an address is compared; a value that is an id of a user does no harm here.
        ids: Each value as the text of an id.
        files: Path and number of values of each list.
        hashed: The list that an output root keeps; None without one.
    """

    addresses: pl.Series
    ids: pl.Series
    files: tuple[tuple[str, int], ...]
    hashed: Hashed | None = None

    def holds(self, address: pl.Expr, user_id: pl.Expr) -> pl.Expr:
        """Whether a user is on a list: by the address (as it is compared) or by the text of the id."""
        on = [address.is_in(self.addresses.implode()), user_id.is_in(self.ids.implode())]
        if self.hashed is not None:
            opposed, key, form = self.hashed.opposed, self.hashed.key, self.hashed.form
            on += [opposed.holds(address, "address", key), opposed.holds(user_id, form, key)]
        return pl.any_horizontal(*(found.fill_null(False) for found in on))


def with_linked(suppressed: Suppressed, links: pl.DataFrame | None) -> Suppressed:
    """The lists with every id that is linked to one of them: they are the same person's.

    Args:
        suppressed: The lists.
        links: `from_id` and `to_id`, as the tables have ids; None without.
    """
    if links is None or links.is_empty():
        return suppressed
    texts = links.select(pl.col("from_id", "to_id").cast(pl.String))
    nobody = pl.lit(None, pl.String)
    on = [suppressed.holds(nobody, pl.col(name)) for name in ("from_id", "to_id")]
    ends = texts.filter(pl.any_horizontal(*on))["to_id"].unique()
    linked = texts.filter(pl.col("to_id").is_in(ends.implode()))["from_id"]
    found = pl.concat([one.alias(suppressed.ids.name) for one in (suppressed.ids, ends, linked)])
    return replace(suppressed, ids=found.unique().sort())


def read_suppressed(paths: Iterable[Path], headers: Collection[str] = ()) -> Suppressed:
    """The lists in some files, each file once.

    A Parquet file or a CSV file with a header has columns `email` or `user_id` (or one of `headers`; capitals, blanks
    and signs do not count); all such columns are used. Any other text file has one address or id per line.

    Args:
        paths: The files.
        headers: More names of such columns.

    Raises:
        ConfigError: Files that are not there, cannot be read or have no such column; all of them at once.
    """
    known = _HEADERS | {_plain(header) for header in headers}
    columns: list[pl.Series] = []
    files: list[tuple[str, int]] = []
    problems: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            values = _values(path, known)
        except (OSError, ValueError, csv.Error, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(error)
            problems.append(f"  {path}: {reason}")
            continue
        columns.append(values)
        files.append((str(path), values.len()))
    if problems:
        raise ConfigError(
            "suppression lists cannot be read:\n" + "\n".join(problems),
            code="export-suppress",
            hint="A list is text (UTF-8) with one address or user id per line, or CSV or Parquet with a column email "
            "or user_id. Nothing was written.",
        )
    every = pl.concat(columns) if columns else pl.Series("value", [], dtype=pl.String)
    addresses, ids = _as_compared(every)
    return Suppressed(addresses, ids, tuple(files))


def ids_of_lines(lines: Iterable[str]) -> pl.Series:
    """The ids or addresses in lines of text, one each, as `ids` of `Suppressed`."""
    values = pl.Series("value", [line.removeprefix("\ufeff") for line in lines], dtype=pl.String)
    return _as_compared(values.to_frame().select(trimmed(pl.col("value"))).drop_nulls()["value"])[1]


def _as_compared(every: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Different values as addresses and as ids."""
    value = pl.col("value")
    number = pl.when(value.str.contains(_WHOLE_NUMBER)).then(value.cast(pl.Int64, strict=False).cast(pl.String))
    found = every.unique(maintain_order=True).to_frame().select(address=compared(value), id=number.fill_null(value))
    return found["address"], found["id"]


def _values(path: Path, known: Collection[str]) -> pl.Series:
    if path.suffix.lower() in {".parquet", ".pq"}:
        columns = _parquet_columns(path, known)
    else:
        columns = [pl.Series("value", _text_values(path, known), dtype=pl.String)]
    value = pl.col("value")
    return pl.concat(columns).to_frame().select(trimmed(value)).drop_nulls()["value"]


def _parquet_columns(path: Path, known: Collection[str]) -> list[pl.Series]:
    (footer,) = read_footers([path])
    if footer.problem:
        raise ValueError(footer.problem)
    schema = pl.read_parquet_schema(path)
    names = list(schema) if len(schema) == 1 else [name for name in schema if _plain(name) in known]
    usable = [name for name in names if schema[name].is_integer() or schema[name] in (pl.String, pl.Categorical)]
    if not usable or len(usable) < len(names):
        raise ValueError(_no_column(f"{name} {dtype}" for name, dtype in schema.items()))
    frame = pl.read_parquet(path, columns=usable, glob=False)
    return [frame[name].cast(pl.String).alias("value") for name in usable]


def _text_values(path: Path, known: Collection[str]) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline().rstrip("\r\n")
        for separator in _SEPARATORS:
            cells = next(csv.reader([header], delimiter=separator), [])
            places = [place for place, cell in enumerate(cells) if _plain(cell) in known]
            if places:
                rows = csv.reader(lines, delimiter=separator)
                return [row[place] for row in rows for place in places if place < len(row)]
        if any(separator in header for separator in _SEPARATORS):
            raise ValueError(_no_column([]))
        return [line.strip().removeprefix('"').removesuffix('"') for line in (header, *lines)]


def _no_column(columns: Iterable[str]) -> str:
    listed = some_of(columns)
    return "expected a column email or user_id" + (f", got {listed}" if listed else "")


def _plain(header: str) -> str:
    return re.sub(r"[\W_]+", "", header).casefold()


def _reason(error: BaseException) -> str:
    # What decoders say first names no value; what stands behind a colon might.
    if isinstance(error, UnicodeDecodeError):
        return f"expected UTF-8, got the byte 0x{error.object[error.start]:02x}"
    return (str(error).splitlines() or [""])[0] if type(error) is ValueError else "it cannot be read"


def suppression_files(configured: Sequence[str], given: Sequence[Path]) -> tuple[Path, ...]:
    """The lists of the configuration and those of the command line."""
    return (*map(Path, configured), *given)
