"""Lists of people who must not be written to: addresses or user ids, from files of several kinds."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import ConfigError
from engine.events.probe import read_footers
from engine.exports.addresses import trimmed
from engine.exports.listed import TEL, Phones, forms, numbers_alone
from engine.privacy.key import Key
from engine.privacy.opposed import Opposed
from engine.privacy.tombstones import Form
from engine.suggest import some_of

_HEADERS: Final = frozenset({"email", "emailaddress", "adresseemail", "mail", "address", "userid"})
_PHONE_HEADERS: Final = frozenset({"phone", "phonenumber", "mobile", "telephone", "tel", "sms"})
_SEPARATORS: Final = ";,\t"


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
        addresses: Each value as an address is compared, numbers as `engine.exports.listed` has them; a value that is an
            id of a user does no harm here.
        ids: Each value as the texts of an id that it may be.
        files: Path and number of values of each list.
        hashed: The list that an output root keeps; None without one.
    """

    addresses: pl.Series
    ids: pl.Series
    files: tuple[tuple[str, int], ...]
    hashed: Hashed | None = None

    def holds(self, address: pl.Expr, user_id: pl.Expr, numbers: Sequence[pl.Expr] = ()) -> pl.Expr:
        """Whether a user is on a list: by the address (as it is compared), by the text of the id, or by a number."""
        on = [user_id.is_in(self.ids.implode()), *map(self.reaches, (address, *numbers))]
        if self.hashed is not None:
            on.append(self.hashed.opposed.holds(user_id, self.hashed.form, self.hashed.key))
        return pl.any_horizontal(*(found.fill_null(False) for found in on))

    def reaches(self, address: pl.Expr) -> pl.Expr:
        """Whether an address, or a telephone number as `engine.exports.listed` has it, is on a list."""
        on = address.is_in(self.addresses.implode()).fill_null(value=False)
        if self.hashed is None:
            return on
        return on | self.hashed.opposed.holds(address, "address", self.hashed.key)


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


def read_suppressed(paths: Iterable[Path], headers: Collection[str] = (), phones: Phones | None = None) -> Suppressed:
    """The lists in some files, each file once; see `read_lists`."""
    values, files = read_lists(paths, headers, phones)
    every = forms(values, phones)
    addresses = every["address"].unique(maintain_order=True)
    return Suppressed(addresses, every["id"].unique(maintain_order=True), files)


def read_lists(
    paths: Iterable[Path], headers: Collection[str] = (), phones: Phones | None = None
) -> tuple[pl.Series, tuple[tuple[str, int], ...]]:
    """The values of some lists, and path and number of values of each file; each file once.

    A Parquet file or a CSV file with a header has columns `email` or `user_id` (or one of `headers`; capitals, blanks
    and signs do not count), and `phone` where numbers of contacts are known; all such columns are used. Any other text
    file has one address, id or number per line.

    Args:
        paths: The files.
        headers: More names of such columns.
        phones: The numbers of the contacts; None where none can be compared.

    Returns:
        Texts, trimmed; those of a column of numbers begin with `tel:`.

    Raises:
        ConfigError: Files that are not there, cannot be read, have no such column, or have telephone numbers where
            nothing is known to compare them with; all of them at once.
    """
    named = () if phones is None else phones.columns
    numbers = {*_PHONE_HEADERS, *map(_plain, named)} if named else set()
    kinds = dict.fromkeys(numbers, TEL) | dict.fromkeys((*_HEADERS, *map(_plain, headers)), "")
    columns: list[pl.Series] = []
    files: list[tuple[str, int]] = []
    problems: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            values = _values(path, kinds, phones)
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
            hint="A list is text (UTF-8) with one address, user id or telephone number per line, or CSV or Parquet "
            "with a column email, user_id or phone. Nothing was written.",
        )
    every = pl.concat(columns) if columns else pl.Series("value", [], dtype=pl.String)
    return every, tuple(files)


def values_of_lines(lines: Iterable[str], phones: Phones | None = None) -> pl.Series:
    """The values in lines of text, one each, trimmed.

    Raises:
        ConfigError: Telephone numbers, where nothing is known to compare them with.
    """
    values = pl.Series("value", [line.removeprefix("\ufeff") for line in lines], dtype=pl.String)
    found = values.to_frame().select(trimmed(pl.col("value"))).drop_nulls()["value"]
    try:
        _check_numbers(found, phones)
    except ValueError as error:
        raise ConfigError(str(error), code="export-suppress", hint="Nothing was written.") from error
    return found


def _check_numbers(values: pl.Series, phones: Phones | None) -> None:
    """Stop where nobody would be found by a telephone number: who gave it must not believe that it is honoured.

    Raises:
        ValueError: How many numbers there are, and what is missing.
    """
    found = 0 if phones is None or phones.columns else numbers_alone(values)
    if found:
        message = (
            f"{found} of its values can only be telephone numbers (they begin with +), and no column of the contacts "
            "is known to compare them with: name it in contacts.cleaning.phone or exports.phone; ids stand below a "
            "header user_id"
        )
        raise ValueError(message)


def _values(path: Path, kinds: Mapping[str, str], phones: Phones | None) -> pl.Series:
    """Texts of the columns of a list; `kinds` says what those of a header begin with."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        columns = _parquet_columns(path, kinds, phones)
    else:
        columns = [pl.Series("value", _text_values(path, kinds, phones), dtype=pl.String)]
    value = pl.col("value")
    # What has no digit says nobody's number.
    said = ~value.str.contains(rf"^{TEL}\D*$")
    return pl.concat(columns).to_frame().select(trimmed(value)).drop_nulls().filter(said)["value"]


def _parquet_columns(path: Path, kinds: Mapping[str, str], phones: Phones | None) -> list[pl.Series]:
    (footer,) = read_footers([path])
    if footer.problem:
        raise ValueError(footer.problem)
    schema = pl.read_parquet_schema(path)
    names = [name for name in schema if _plain(name) in kinds]
    unnamed = not names and len(schema) == 1
    names = list(schema) if unnamed else names
    usable = [name for name in names if schema[name].is_integer() or schema[name] in (pl.String, pl.Categorical)]
    if not usable or len(usable) < len(names):
        raise ValueError(_no_column(f"{name} {dtype}" for name, dtype in schema.items()))
    frame = pl.read_parquet(path, columns=usable, glob=False)
    texts = {name: frame[name].cast(pl.String).alias("value") for name in usable}
    if unnamed:
        _check_numbers(texts[usable[0]], phones)
    return [(kinds.get(_plain(name), "") + text).alias("value") for name, text in texts.items()]


def _text_values(path: Path, kinds: Mapping[str, str], phones: Phones | None) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = lines.readline().rstrip("\r\n")
        for separator in _SEPARATORS:
            cells = next(csv.reader([header], delimiter=separator), [])
            places = [(place, kinds[_plain(cell)]) for place, cell in enumerate(cells) if _plain(cell) in kinds]
            if places:
                rows = csv.reader(lines, delimiter=separator)
                return [
                    kind + row[place]
                    for row in rows
                    for place, kind in places
                    if row[place : place + 1] not in ([], [""])
                ]
        if any(separator in header for separator in _SEPARATORS):
            raise ValueError(_no_column([]))
        values = [line.strip().removeprefix('"').removesuffix('"') for line in (header, *lines)]
    _check_numbers(pl.Series(values, dtype=pl.String), phones)
    return values


def _no_column(columns: Iterable[str]) -> str:
    listed = some_of(columns)
    return "expected a column email, user_id or, where numbers of contacts are known, phone" + (
        f", got {listed}" if listed else ""
    )


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
