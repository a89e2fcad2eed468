"""Whether a Parquet file asks for far more memory than its size can be good for; the standard library is enough.

The limits are on what a reader sets aside before it finds that the data is not there, and on what a small file can
unfold to. Polars 2.1 aborts the process on a file of 135 bytes whose footer declares two billion rows.

Footers say how large the pages of a column are once they are decompressed, and so does the head of each page. Readers
believe the latter, so the heads are read here as well: 12 µs for each page, of compressed columns alone. They are in
Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

MAX_COLUMNS: Final = 10_000
MAX_LISTED: Final = 100_000
"""Entries of one list in a footer: columns, groups of rows."""
MAX_RATIO: Final = 1_000
"""Decompressed bytes for each byte of the file, beyond `FREE_BYTES`."""
FREE_BYTES: Final = 256 << 20
MAX_ROWS_PER_BYTE: Final = 64
"""Rows, and values of a column, for each byte of the file, beyond `FREE_ROWS`: a row has at least a user and a time."""
FREE_ROWS: Final = 1 << 24

_HEAD_BYTES: Final = 128
_LONGEST_HEAD: Final = 1 << 20
_DEEPEST: Final = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_SIZE_FIELDS: Final = {2: "uncompressed", 3: "compressed"}


def implausible(metadata: Any, handle: BinaryIO, size: int) -> str:
    """What is wrong with the counts and sizes that a file states; empty when they are plausible.

    Args:
        metadata: The footer as pyarrow reads it.
        handle: The file.
        size: Its bytes.
    """
    if metadata.num_columns > MAX_COLUMNS:
        return f"its footer declares {metadata.num_columns} columns, more than {MAX_COLUMNS}"
    most_bytes, most_values = FREE_BYTES + MAX_RATIO * size, FREE_ROWS + MAX_ROWS_PER_BYTE * size
    rows = unfolded = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        rows += group.num_rows
        for position in range(group.num_columns):
            chunk = group.column(position)
            start, length = _first_byte(chunk), chunk.total_compressed_size
            offset = chunk.data_page_offset
            if min(start, offset, length, chunk.num_values) < 0 or max(start, offset, length) > size:
                return "its footer points outside the file"
            if max(chunk.num_values, group.num_rows) > most_values:
                return f"its footer declares more values than {size} bytes can hold"
            unfolded += max(chunk.total_uncompressed_size, 0)
            if chunk.compression != "UNCOMPRESSED":
                pages = sum(page for page, _ in page_sizes(handle, start, length))
                unfolded += max(pages - max(chunk.total_uncompressed_size, 0), 0)
            if unfolded > most_bytes:
                return f"its {size} bytes decompress to more than {MAX_RATIO} times as many"
    if rows != metadata.num_rows or rows < 0:
        return f"its footer says {metadata.num_rows} rows, its row groups {rows}"
    if rows > most_values:
        return f"its footer declares more rows than {size} bytes can hold"
    return ""


def _first_byte(chunk: Any) -> int:
    first: int = chunk.data_page_offset
    # Some writers state 0 for a dictionary that is not there.
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < first:
        first = chunk.dictionary_page_offset
    return first


def page_sizes(handle: BinaryIO, start: int, length: int) -> Iterator[tuple[int, int]]:
    """Decompressed and compressed bytes of each page of a column, up to where the pages cannot be followed any more.

    Readers cannot follow them either from there: what is wrong is for them to tell.
    """
    position, end = start, start + length
    while position < end:
        found = _page_head(handle, position)
        if found is None:
            return
        uncompressed, compressed, head = found
        if uncompressed < 0 or compressed < 0:
            return
        yield uncompressed, compressed
        position += head + compressed


def _page_head(handle: BinaryIO, position: int) -> tuple[int, int, int] | None:
    wanted = _HEAD_BYTES
    while wanted <= _LONGEST_HEAD:
        handle.seek(position)
        data = handle.read(wanted)
        try:
            return _parse_head(data)
        except IndexError:
            # Heads with long minima and maxima.
            if len(data) < wanted:
                return None
            wanted *= 8
        except ValueError:
            return None
    return None


def _parse_head(data: bytes) -> tuple[int, int, int]:
    """Decompressed and compressed bytes of the page, and bytes of its head."""
    sizes = {"uncompressed": -1, "compressed": -1}
    at = field = 0
    while True:
        field, kind, at = _field(data, at, field)
        if kind == 0:
            return sizes["uncompressed"], sizes["compressed"], at
        if field in _SIZE_FIELDS:
            number, at = _varint(data, at)
            sizes[_SIZE_FIELDS[field]] = (number >> 1) ^ -(number & 1)
        else:
            at = _skip(data, at, kind, 0)


def _field(data: bytes, at: int, before: int) -> tuple[int, int, int]:
    """Number and type of the field at a position, and where its value begins; type 0 ends a structure."""
    byte = data[at]
    if byte == 0:
        return before, 0, at + 1
    step, kind = byte >> 4, byte & 15
    if step:
        return before + step, kind, at + 1
    number, at = _varint(data, at + 1)
    return (number >> 1) ^ -(number & 1), kind, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            message = "a number of more than 64 bits"
            raise ValueError(message)


def _skip(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where the value of a type ends that begins at a position."""
    if depth > _DEEPEST:
        message = "nested too deeply"
        raise ValueError(message)
    if kind in {_TRUE, _FALSE}:
        return at
    if kind == _BYTE:
        return at + 1
    if kind < _DOUBLE:
        return _varint(data, at)[1]
    if kind == _DOUBLE:
        return at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == _STRUCT:
        while kind:
            _, kind, at = _field(data, at, 0)
            at = _skip(data, at, kind, depth + 1) if kind else at
        return at
    # The head of a page has no list and no map in any version of the format.
    message = f"a value of type {kind}"
    raise ValueError(message)
