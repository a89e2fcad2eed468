"""The files of a log of consents: their columns checked, and their rows as numbers.

In: Parquet or CSV files with a user, a purpose, a status, an instant, a form version and a source. Out: lazy rows with
the purpose and the status as codes and the instant in µs; texts that are neither known purposes nor known statuses stop
the run with their number, and rows without user, purpose or instant are told by file and row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from engine.config_consent import Consent
from engine.config_sources import Csv
from engine.consent.instants import instant, instant_problem
from engine.errors import DataError
from engine.events.csv_text import read_blocks
from engine.events.files import locate_files, text_kind
from engine.events.probe import Footer, read_footers
from engine.events.read import reading
from engine.events.untrusted import naming_files
from engine.remote.fetch import fetched_as
from engine.rollups.parts import write_part
from engine.suggest import did_you_mean

OWNER: Final = "consent"
GRANTED: Final = 0
WITHDRAWN: Final = 1
SHOWN: Final = 20
_WORD: Final = re.compile(r"[^\W\d]?[^@\d]{0,40}\d{0,4}[^@\d]{0,8}")
_FEW_TEXTS: Final = 8
ROW: Final = "row"
_ROW_OF_FILE: Final = "__tamis_row"
_HINT: Final = (
    "Name the columns in [consent]: user_id, purpose, status, at, form_version and source. The last two are the proof "
    "of a consent (which text, given where) and must be there; their values may be null."
)


@dataclass(frozen=True)
class Piece:
    """Rows of a file of the log: a Parquet file, the file they came from, and the number of the first of them."""

    parquet: str
    file: str
    first_row: int


@dataclass(frozen=True)
class Vocabulary:
    """What the texts of a log mean.

    Attributes:
        purposes: Each text of the column of purposes that is one, with its code.
        statuses: Each text of the column of statuses, with `GRANTED` or `WITHDRAWN`.
        ignored: Unknown purposes that are passed over, with their rows; sorted.
    """

    purposes: Mapping[str, int]
    statuses: Mapping[str, int]
    ignored: tuple[tuple[str, int], ...]


def consent_files(consent: Consent, cache: Path | None = None) -> tuple[str, ...]:
    """The files of the log, their columns checked as far as their footers and first lines tell.

    Args:
        consent: Its configuration.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: Unreadable files, or columns that are missing or of a type that cannot be used; all at once.
    """
    located = locate_files(OWNER, consent.path, text=True)
    with fetched_as(located, cache) as found:
        _check_columns(consent, found)
    return tuple(str(file) for file in located)


@contextmanager
def opened_log(consent: Consent, scratch: Path | None = None, cache: Path | None = None) -> Iterator[tuple[Piece, ...]]:
    """The rows of the log as Parquet files, for as long as they are read; text files are converted before.

    Args:
        consent: The configuration.
        scratch: Folder for what is converted, emptied again at the end; one of the system's when None.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: Files that cannot be read, or whose columns do not fit.
    """
    located = locate_files(OWNER, consent.path, text=True)
    with fetched_as(located, cache) as found, TemporaryDirectory(dir=scratch, prefix="consent-") as folder:
        _check_columns(consent, found)
        pieces: list[Piece] = []
        for number, (local, named) in enumerate(zip(found, located, strict=True)):
            if text_kind(local) is None:
                pieces.append(Piece(str(local), str(named), 0))
            else:
                pieces += _converted(local, str(named), Path(folder) / str(number), _columns(consent))
        files = [piece.parquet for piece in pieces]
        with naming_files(OWNER, files, _columns(consent)), reading(OWNER, _named(pieces)):
            yield tuple(pieces)


def vocabulary(consent: Consent, pieces: Sequence[Piece]) -> Vocabulary:
    """What the texts of the log mean.

    Raises:
        DataError: Purposes that are not known, unless they are to be passed over (`consent-purposes`), and statuses
            that neither grant nor withdraw (`consent-status`); with the number of their rows.
    """
    texts = [
        pl.scan_parquet(piece.parquet, glob=False, hive_partitioning=False).select(
            purpose=pl.col(consent.purpose).cast(pl.String), status=pl.col(consent.status).cast(pl.String)
        )
        for piece in pieces
    ]
    counted = pl.concat(texts).group_by("purpose", "status").len().collect(engine="streaming")
    known = {name: code for code, name in enumerate(consent.known)}
    purposes = counted.group_by("purpose").agg(pl.col("len").sum()).sort("purpose")
    # A row without a purpose is told by its place; one without a status would be neither.
    unknown = [(str(name), int(rows)) for name, rows in purposes.drop_nulls().iter_rows() if name and name not in known]
    if unknown and consent.unknown_purposes == "refuse":
        raise _unknown_purposes(unknown, consent)
    of_known = counted.filter(pl.col("purpose").is_in(list(known)))
    meant = {text.casefold(): GRANTED for text in consent.granted}
    meant |= {text.casefold(): WITHDRAWN for text in consent.withdrawn}
    statuses = dict(of_known.group_by("status").agg(pl.col("len").sum()).sort("status", nulls_last=True).iter_rows())
    codes = {text: meant.get(text.strip().casefold()) for text in statuses if text is not None}
    neither = [(text, rows) for text, rows in statuses.items() if text is None or codes[text] is None]
    if neither:
        raise DataError(
            "consent: statuses that neither grant nor withdraw\n" + listed_texts(neither),
            code="consent-status",
            hint="Name them in consent.granted or consent.withdrawn, or mend the rows.",
        )
    return Vocabulary(known, {text: code for text, code in codes.items() if code is not None}, tuple(unknown))


def listed_texts(counted: Sequence[tuple[str | None, int]]) -> str:
    """A line per text with its number of rows, the first ones; what may be more than a word is not shown."""
    lines = [f"  {_shown(text)}: {rows} row{'' if rows == 1 else 's'}" for text, rows in counted[:SHOWN]]
    more = [f"  and {len(counted) - SHOWN} more"] if len(counted) > SHOWN else []
    return "\n".join([*lines, *more])


def _shown(text: str | None) -> str:
    if text is None:
        return "none"
    # A column that was mistaken for another may hold addresses or numbers of people.
    return repr(text) if _WORD.fullmatch(text) else f"a text of {len(text)} characters"


def _unknown_purposes(unknown: Sequence[tuple[str, int]], consent: Consent) -> DataError:
    return DataError(
        "consent: rows of purposes that are not known\n" + listed_texts(unknown),
        code="consent-purposes",
        hint=f"Known are {', '.join(consent.known)}. List more in consent.purposes, or set "
        'unknown_purposes = "ignore" to pass over their rows.',
    )


def rows_of(
    consent: Consent, pieces: Sequence[Piece], words: Vocabulary, more: Sequence[str] = ()
) -> list[tuple[Piece, pl.LazyFrame]]:
    """The rows of each piece: `row`, `user_id`, `purpose`, `status` (UInt8), `at` (µs since 1970 UTC), `ignored`.

    `user_id` is Int64 when it is a whole number in all files, else String. `ignored` tells a purpose that is passed
    over; `purpose` is null then, as it is where there is none, and as the others are where there is nothing.

    Args:
        consent: The configuration.
        pieces: What `opened_log` gave.
        words: What `vocabulary` gave.
        more: Of `form_version` and `source`, those that are wanted.
    """
    ids = _id_dtype(consent, pieces)
    further = {"form_version": consent.form_version, "source": consent.source}
    found = []
    for piece in pieces:
        scan = pl.scan_parquet(
            piece.parquet,
            glob=False,
            hive_partitioning=False,
            row_index_name=_ROW_OF_FILE,
            row_index_offset=piece.first_row,
        )
        schema = scan.collect_schema()
        user = pl.col(consent.user_id).cast(ids)
        columns = {
            "user_id": user if ids == pl.Int64 else pl.when(user != "").then(user),
            "purpose": _coded(consent.purpose, words.purposes),
            "ignored": pl.col(consent.purpose)
            .cast(pl.String)
            .is_in([name for name, _ in words.ignored])
            .fill_null(value=False),
            "status": _coded(consent.status, words.statuses),
            "at": instant(pl.col(consent.at), schema[consent.at], consent.timezone),
            **{name: pl.col(further[name]).cast(pl.String) for name in more},
        }
        found.append((piece, scan.select(pl.col(_ROW_OF_FILE).cast(pl.Int64).alias(ROW), **columns)))
    return found


def _id_dtype(consent: Consent, pieces: Sequence[Piece]) -> pl.DataType:
    """Numbers are told apart faster than texts."""
    kinds = {pl.read_parquet_schema(piece.parquet)[consent.user_id] for piece in pieces}
    fits = all(kind.is_integer() and kind not in (pl.UInt64, pl.Int128, pl.UInt128) for kind in kinds)
    return pl.Int64() if kinds and fits else pl.String()


def _coded(column: str, codes: Mapping[str, int]) -> pl.Expr:
    text = pl.col(column).cast(pl.String)
    if not codes:
        return pl.lit(None, pl.UInt8)
    if len(codes) > _FEW_TEXTS:
        return text.replace_strict(list(codes), list(codes.values()), default=None, return_dtype=pl.UInt8)
    # One comparison per text takes less than looking every row's up in a table, as long as there are few.
    return pl.coalesce(pl.when(text == word).then(pl.lit(code, pl.UInt8)) for word, code in codes.items())


def _columns(consent: Consent) -> tuple[str, ...]:
    names = (consent.user_id, consent.purpose, consent.status, consent.at, consent.form_version, consent.source)
    return tuple(dict.fromkeys(names))


def _named(pieces: Sequence[Piece]) -> str:
    files = list(dict.fromkeys(piece.file for piece in pieces))
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _converted(local: Path, named: str, stem: Path, columns: Sequence[str]) -> list[Piece]:
    pieces: list[Piece] = []
    rows = 0
    with reading(OWNER, named):
        for block in read_blocks(local, Csv()):
            if block.is_empty() and pieces:
                continue
            part = f"{stem}-{len(pieces):05d}.parquet"
            write_part(block.select(columns), part)
            pieces.append(Piece(part, named, rows))
            rows += block.height
    return pieces


def _check_columns(consent: Consent, found: Sequence[Path]) -> None:
    tables = [file for file in found if text_kind(file) is None]
    footers = {footer.file: footer for footer in read_footers(tables)}
    bad = [f"  {footer.file}: {footer.problem}" for footer in footers.values() if footer.problem]
    if bad:
        raise DataError("consent: cannot read\n" + "\n".join(bad), code="input-unreadable", hint="Restore the files.")
    problems: list[str] = []
    known: dict[str, None] = {}
    for file in found:
        schema = _schema(file, footers.get(file))
        known |= dict.fromkeys(schema)
        problems += _column_problems(consent, file, schema)
    if problems:
        raise DataError(
            "consent: the columns do not fit\n" + "\n".join(problems[:SHOWN]),
            code="consent-columns",
            hint=f"{_HINT} Columns of the files: {', '.join(known)}.",
        )


def _schema(file: Path, footer: Footer | None) -> dict[str, pl.DataType]:
    with reading(OWNER, str(file)):
        if footer is None:
            kind = text_kind(file)
            if kind != "csv":
                raise DataError(
                    "expected Parquet or CSV, got JSON lines",
                    code="input-not-parquet",
                    hint="Write the log of consents as Parquet or CSV.",
                )
            return dict(next(read_blocks(file, Csv())).schema)
        return dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())


def _column_problems(consent: Consent, file: Path, schema: Mapping[str, pl.DataType]) -> list[str]:
    named = {key: getattr(consent, key) for key in ("user_id", "purpose", "status", "at", "form_version", "source")}
    problems = [
        f"  consent.{key}: no column {name!r} in {file}{did_you_mean(name, schema)}"
        for key, name in named.items()
        if name not in schema
    ]
    expected: dict[str, tuple[str, Callable[[pl.DataType], bool]]] = {
        "user_id": ("an integer or a string", _is_id),
        "purpose": ("text", _is_text),
        "status": ("text, true or false, or 1 or 0", lambda dtype: dtype == pl.Boolean or _is_id(dtype)),
        "form_version": ("text or an integer", _is_id),
        "source": ("text or an integer", _is_id),
    }
    for key, (wanted, fits) in expected.items():
        dtype = schema.get(named[key], pl.Null())
        if dtype != pl.Null and not fits(dtype):
            problems.append(f"  consent.{key}: expected {wanted}, got {dtype} in {file}")
    at = instant_problem(schema.get(consent.at, pl.Null()))
    return [*problems, *([f"  consent.at: {at} in {file}"] if at else [])]


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def _is_id(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or _is_text(dtype)
