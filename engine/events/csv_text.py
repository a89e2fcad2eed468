"""CSV files as frames of text of bounded size."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Csv
from engine.errors import DataError
from engine.events.json_lines import open_text, unreadable

BLOCK_BYTES: Final = 16_000_000


def read_blocks(file: Path, settings: Csv) -> Iterator[pl.DataFrame]:
    """The rows of a file in their order, every column as text; at least one frame, which may have no rows.

    The first line names the columns; blank lines are passed over.

    Args:
        file: A CSV file, compressed when its name ends in `.gz`.
        settings: How it is written.

    Raises:
        DataError: No header, repeated names, rows that are longer or shorter than the header, text that is not UTF-8, a
            quote that is not closed, compressed data that is cut off.
        OSError: The file cannot be read.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    compressed = file.name.casefold().endswith(".gz")
    delimiter = settings.delimiter or delimiter_of(file)
    last: pl.DataFrame | None = None
    try:
        with pa.input_stream(str(file), compression="gzip" if compressed else None) as stream:
            reader = arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    default_column_type=pa.string(),
                    null_values=list(settings.null_values),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            repeated = [name for name, times in Counter(reader.schema.names).items() if times > 1]
            if repeated:
                raise unreadable(f"line 1: the header names {', '.join(map(repr, repeated))} more than once")
            yield pl.DataFrame(schema=dict.fromkeys(reader.schema.names, pl.String()))
            for batch in reader:
                last = pl.DataFrame(pa.Table.from_batches([batch]))
                yield last
    except pa.ArrowInvalid as error:
        raise unreadable(_first_problem(file, delimiter) or "cannot be read as CSV") from error
    except OSError as error:
        if compressed and error.errno is None:
            raise unreadable("its compressed data is damaged or cut off") from error
        raise
    # A quote that is not closed takes the rest of the file for its value, without an error.
    if last is not None and last.height and any("\n" in (value or "") for value in last.row(-1)):
        problem = _first_problem(file, delimiter)
        if problem:
            raise unreadable(problem)


def delimiter_of(file: Path) -> str:
    """What separates values where the configuration does not say: a tab in `.tsv` files, a comma in others."""
    return "\t" if file.name.casefold().removesuffix(".gz").endswith(".tsv") else ","


def _first_problem(file: Path, delimiter: str) -> str:
    """The first line that is no CSV row, said slowly; empty when there is none."""
    rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
    width, start = 0, 1
    try:
        for row in rows:
            width = width or len(row)
            if row and len(row) != width:
                return f"line {start}: expected {width} values, as the header has, got {len(row)}"
            start = rows.line_num + 1
    except csv.Error:
        return f"line {start}: a quote that is not closed, or text behind a closed one"
    except DataError as error:
        return error.message
    return "" if width else "line 1: expected a header that names the columns, got an empty file"


def _lines(file: Path) -> Iterator[str]:
    number = 0
    with open_text(file) as handle:
        try:
            for line in handle:
                number += 1
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise unreadable(f"line {number}: not UTF-8 (byte 0x{error.object[error.start]:02x})") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise unreadable("its compressed data is damaged or cut off") from error
