"""Files of JSON lines, one event per line, as frames of bounded size."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, cast

import polars as pl

from engine.errors import DataError

CHUNK_BYTES: Final = 16_000_000
_LONGEST_LINE = 64_000_000
_BOM = b"\xef\xbb\xbf"


def read_chunks(file: Path, schema: Mapping[str, pl.DataType] | None = None) -> Iterator[pl.DataFrame]:
    """The objects of a file in their order; blank lines are passed over.

    Args:
        file: A file of JSON lines, compressed when its name ends in `.gz`.
        schema: The keys to read, in this order, and their types: a missing key is null, and text takes every value as
            it stands. Without it each chunk has the keys and types that it shows.

    Raises:
        DataError: The first line that is no JSON object, or the end of a file that was cut off.
        OSError: The file cannot be read.
    """
    for start, chunk in _chunks(file):
        yield from _frames(start, chunk, schema)


def unreadable(problem: str) -> DataError:
    """The error of a text file with this problem; whoever knows the file names it."""
    return DataError(problem, code="input-unreadable", hint="Mend the line, or take the file out of the source's path.")


def open_text(file: Path) -> IO[bytes]:
    """The bytes of a text file, decompressed when its name ends in `.gz`."""
    return cast("IO[bytes]", gzip.open(file)) if file.name.casefold().endswith(".gz") else file.open("rb")


def _chunks(file: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines of about `CHUNK_BYTES` with the number of the first, from 1; none of blank lines alone."""
    line, rest = 1, b""
    with open_text(file) as handle:
        while True:
            try:
                more = handle.read(CHUNK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise unreadable("its compressed data is damaged or cut off") from error
            block = rest + more
            if line == 1:
                block = block.removeprefix(_BOM)
            end = block.rfind(b"\n") + 1 if more else len(block)
            whole, rest = block[:end], block[end:]
            lines = whole.count(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise unreadable(f"line {line + lines}: longer than {_LONGEST_LINE:,} bytes")
            if whole.strip():
                yield line, whole
            line += lines
            if not more:
                return


def _frames(start: int, chunk: bytes, schema: Mapping[str, pl.DataType] | None) -> Iterator[pl.DataFrame]:
    try:
        yield pl.read_ndjson(chunk, schema=schema, infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        lines = chunk.split(b"\n")
        filled = [number for number, line in enumerate(lines) if line.strip()]
        if len(filled) == 1:
            raise unreadable(f"line {start + filled[0]}: {_problem_of(lines[filled[0]])}") from error
        # A line is wrong, or some types have none in common for Polars (a number here, a truth value there).
        middle = filled[len(filled) // 2]
        yield from _frames(start, b"\n".join(lines[:middle]), schema)
        yield from _frames(start + middle, b"\n".join(lines[middle:]), schema)


def _problem_of(line: bytes) -> str:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte 0x{line[error.start]:02x})"
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not JSON ({error.msg if isinstance(error, json.JSONDecodeError) else 'nested too deeply'})"
    return "cannot be read as a JSON object" if isinstance(value, dict) else "expected a JSON object"
