"""Find the files of a source whose data cannot be decoded, without risking the process that asks.

`engine.events.probe` has opened their footers, and refused what asks for too much memory. What is left are files whose
data is damaged: Polars says so with an error or a panic, or one day with its death. A child process decodes the columns
that are needed of one file after the other; when it dies or hangs, the file it was at is the culprit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Source
from engine.errors import DataError
from engine.events import untrusted_data
from engine.events.probe import ask_child, read_footers
from engine.events.read import ROW, reading, scan, source_mapping, storage_failure

SECONDS: Final = 10.0
BYTES_PER_SECOND: Final = 10_000_000
"""What a file may take longer than `SECONDS` for: as slow as the slowest storage."""
LISTED: Final = 20
_PORTION_ROWS: Final = 2_000_000


@dataclass(frozen=True)
class DataRequest:
    """A file whose footer was read: the columns to decode, and the rows that it promises."""

    file: str
    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Quarantined:
    """A file that a run goes on without.

    Attributes:
        source: Name of its source.
        file: Its path.
        problem: Why it cannot be read.
    """

    source: str
    file: str
    problem: str


def data_problems(requests: Sequence[DataRequest]) -> list[str]:
    """Why the data of each file cannot be decoded; empty for those whose data can.

    Raises:
        ResourceError: A failing disk, or a limit of the system.
        TransientError: Storage that does not answer; no file is at fault.
    """
    problems: list[str] = []
    while len(problems) < len(requests):
        rest = requests[len(problems) :]
        lines = [json.dumps([one.file, one.columns, one.rows, _PORTION_ROWS]) for one in rest]
        limits = [SECONDS + _size(one.file) / BYTES_PER_SECOND for one in rest]
        answers = ask_child(untrusted_data.__file__, lines, limits)
        problems += [_problem(one, json.loads(line)) for one, line in zip(rest, answers, strict=False)]
        if len(problems) < len(requests):
            problems.append("reading its data crashed or hung the reader")
    return problems


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _problem(request: DataRequest, answer: dict[str, object]) -> str:
    if "problem" not in answer:
        return ""
    number = answer.get("errno")
    failed = OSError(number if isinstance(number, int) else 0, answer["problem"])
    failure = storage_failure(failed, "data", request.file)
    if failure is not None:
        raise failure
    return str(answer["problem"])


def columns_read(source: Source, file: str, currency_digits: int) -> tuple[str, ...]:
    """The columns of a file that its source's mapping reads.

    Raises:
        DataError: A schema that cannot be read, or does not fit the mapping.
    """
    with reading(f"source {source.name!r}", file):
        frame = scan(file)
        mapping = source_mapping(source, frame, currency_digits)
        told = (column.is_empty for column in mapping.told.values())
        expressions = (mapping.keep, mapping.broken, mapping.exclude, *mapping.canonical.values(), *told)
        read = {name for expression in expressions for name in expression.meta.root_names()}
        # Keys of hive folders are columns of the scan and none of the file.
        own = pl.read_parquet_schema(file)
        return tuple(name for name in own if name in read and name != ROW)


@contextmanager
def naming_files(owner: str, files: Sequence[str], columns: Sequence[str]) -> Iterator[None]:
    """When what happens inside fails for a damaged file of a table, say which files of the table are damaged.

    Args:
        owner: Whose files they are: `contacts` or `identity`.
        files: The files, whose footers can be read.
        columns: The columns that are needed of each.

    Raises:
        DataError: All damaged files; what was raised inside, when there is none.
    """
    try:
        yield
    except DataError as error:
        if error.code != "input-unreadable":
            raise
        footers = read_footers([Path(file) for file in files])
        requests = [DataRequest(str(footer.file), tuple(columns), footer.rows) for footer in footers]
        bad = [f"  {one.file}: {why}" for one, why in zip(requests, data_problems(requests), strict=True) if why]
        if not bad:
            raise
        more = [f"  and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
        raise DataError(
            "\n".join([f"{owner}: cannot read", *bad[:LISTED], *more]), code=error.code, hint="Restore the files."
        ) from error


def unreadable(bad: Sequence[Quarantined], files: int) -> DataError:
    """The error that names all files that cannot be read.

    Args:
        bad: The files.
        files: How many were looked at.
    """
    listed = "\n".join(f"  source {one.source!r}: {one.file}: {one.problem}" for one in bad[:LISTED])
    more = f"\n  and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    return DataError(
        f"{len(bad)} of {files} files cannot be read\n{listed}{more}",
        code="input-unreadable",
        hint='Restore the files, or take them out of the source\'s path; checks.bad_files = "quarantine" goes on '
        "without them.",
    )
