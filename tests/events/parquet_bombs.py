"""Parquet files built byte by byte, whatever their footers and pages claim, and damaged copies of good ones."""

from __future__ import annotations

import gzip
import io
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import polars as pl

HUGE = 2**31 - 1


class I32(int):
    pass


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def thrift(value: object) -> tuple[int, bytes]:
    """Type and bytes of a value in Thrift's compact protocol; dictionaries are structures by number of field."""
    match value:
        case I32():
            return 5, zigzag(value)
        case int():
            return 6, zigzag(value)
        case str():
            return 8, varint(len(value.encode())) + value.encode()
        case dict():
            return 12, structure(value)
        case list():
            kind = thrift(value[0])[0] if value else 12
            head = bytes([len(value) << 4 | kind]) if len(value) < 15 else bytes([0xF0 | kind]) + varint(len(value))
            return 9, head + b"".join(thrift(item)[1] for item in value)
    raise TypeError(value)


def structure(fields: Mapping[int, object]) -> bytes:
    out, before = b"", 0
    for number, value in sorted(fields.items()):
        kind, content = thrift(value)
        out += bytes([number - before << 4 | kind]) + content
        before = number
    return out + b"\0"


def parquet(body: bytes, footer: bytes) -> bytes:
    return b"PAR1" + body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def one_column(raw: bytes, rows: int, *, page: Mapping[int, Any] | None = None, **claims: Any) -> bytes:
    """A file with one page of one column `user` of Int64; what it claims may be anything."""
    is_gzip, optional = claims.get("gzip", False), claims.get("optional", False)
    data = gzip.compress(raw) if is_gzip else raw
    values = {1: I32(rows), 2: I32(0), 3: I32(3), 4: I32(3)}
    head = structure({1: I32(0), 2: I32(len(raw)), 3: I32(len(data)), 5: values, **(page or {})})
    chunk, encodings = head + data, [I32(0), I32(3)]
    unfolded = claims.get("unfolded", len(head) + len(raw))
    column = {1: I32(2), 2: encodings, 3: ["user"], 4: I32(2 * is_gzip), 5: rows, 6: unfolded, 7: len(chunk), 9: 4}
    schema = [{4: "schema", 5: I32(1)}, {1: I32(2), 3: I32(optional), 4: "user"}]
    group = {1: [{2: 4, 3: column}], 2: unfolded, 3: rows}
    return parquet(chunk, structure({1: I32(1), 2: schema, 3: rows, 4: [group]}))


def int64s(count: int) -> bytes:
    return struct.pack(f"<{count}q", *range(count))


def all_null(rows: int) -> bytes:
    run = varint(rows << 1) + b"\0"
    return one_column(struct.pack("<I", len(run)) + run, rows, optional=True)


def nested(depth: int) -> bytes:
    groups = [{3: I32(1), 4: "g", 5: I32(1)} for _ in range(depth)]
    schema = [{4: "schema", 5: I32(1)}, *groups, {1: I32(2), 3: I32(1), 4: "leaf"}]
    return parquet(b"", structure({1: I32(1), 2: schema, 3: 0, 4: []}))


def wide(columns: int) -> bytes:
    listed = bytes([0xFC]) + varint(columns + 1) + structure({4: "schema", 5: I32(columns)})
    listed += structure({1: I32(2), 3: I32(1), 4: "c"}) * columns
    # The version, the list of columns, no rows, no groups of rows.
    return parquet(b"", bytes([0x15, 2, 0x19]) + listed + bytes([0x16, 0, 0x19, 0x0C, 0]))


# Files by name, and what is said of each; empty for those that are good. Every process that collects the tests needs
# the names, and the one that runs them the files, which take a second to make.
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "good": (lambda: one_column(int64s(3), 3), ""),
    "good-gzip": (lambda: one_column(int64s(1_000), 1_000, gzip=True), ""),
    "good-nulls": (lambda: all_null(100_000), ""),
    "two-billion-rows": (lambda: one_column(int64s(3), HUGE), "more values than"),
    "two-billion-nulls": (lambda: all_null(HUGE), "more values than"),
    "many-nulls": (lambda: all_null(10**8), "more values than"),
    "too-many-to-count": (lambda: one_column(int64s(3), 2**62), "more values than"),
    "page-of-two-gigabytes": (lambda: one_column(int64s(99), 99, gzip=True, page={2: I32(HUGE)}), "decompress to more"),
    "stated-gigabytes": (lambda: one_column(int64s(99), 99, unfolded=2**40), "decompress to more"),
    "deep": (lambda: nested(200), "malformed"),
    "deeper": (lambda: nested(50_000), "malformed"),
    "wide": (lambda: wide(20_000), "20000 columns, more than 10000"),
    "wider": (lambda: wide(1_000_000), "malformed"),
}


@cache
def bombs() -> dict[str, tuple[bytes, str]]:
    """`BOMBS` with the bytes of each."""
    return {name: (made(), problem) for name, (made, problem) in BOMBS.items()}


def log(rows: int, seed: int = 1) -> pl.DataFrame:
    rng = random.Random(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user": [f"u{rng.randrange(50):03d}" for _ in range(rows)],
            "type": [rng.choice(["open", "click", "buy"]) for _ in range(rows)],
            "at": [start + timedelta(seconds=rng.randrange(86_400 * 20)) for _ in range(rows)],
            "amount": [rng.random() if rng.random() < 0.5 else None for _ in range(rows)],
            "number": range(rows),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


@cache
def whole_files() -> dict[str, bytes]:
    """One log as several writers have it."""
    import pyarrow.parquet as pq

    frame = log(600)
    table = frame.to_arrow().cast(_plain(frame))
    files: dict[str, bytes] = {}
    delta = {"user": "DELTA_BYTE_ARRAY", "type": "DELTA_LENGTH_BYTE_ARRAY", "number": "DELTA_BINARY_PACKED"}
    options: dict[str, dict[str, Any]] = {
        "snappy": {"row_group_size": 250},
        "plain": {"compression": "none"},
        "v2": {"compression": "zstd", "data_page_version": "2.0"},
        "delta": {"compression": "none", "use_dictionary": False, "column_encoding": delta},
        "gzip": {"compression": "gzip"},
    }
    for name, chosen in options.items():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **chosen)
        files[f"arrow-{name}"] = buffer.getvalue()
    for compression in ("zstd", "uncompressed", "lz4"):
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression=compression, row_group_size=250)
        files[f"polars-{compression}"] = buffer.getvalue()
    return files


def _plain(frame: pl.DataFrame) -> Any:
    import pyarrow as pa

    kinds = {"user": pa.string(), "type": pa.string(), "at": pa.timestamp("us", "UTC"), "amount": pa.float64()}
    return pa.schema([(name, kinds.get(name, pa.int64())) for name in frame.columns])


DAMAGES = (
    "flip",
    "flips",
    "cut",
    "zeros",
    "footer byte",
    "footer flips",
    "bytes",
    "footer length",
    "number",
    "page head",
)


def mutants(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of the whole files, every damage of every file in turn."""
    rng, whole = random.Random(seed), whole_files()
    for number in range(count):
        name = sorted(whole)[number % len(whole)]
        damage = DAMAGES[number // len(whole) % len(DAMAGES)]
        yield f"{number:04d}-{name}-{damage.replace(' ', '-')}", damaged(whole[name], damage, rng)


def damaged(content: bytes, damage: str, rng: random.Random) -> bytes:  # noqa: C901 - a table of damages
    data, end = bytearray(content), len(content) - 8
    footer = end - struct.unpack("<I", content[-8:-4])[0]
    whole, data_part, footer_part = (0, len(content)), (4, footer), (footer, end)

    def flip(times: int, part: tuple[int, int]) -> None:
        for _ in range(times):
            data[rng.randrange(*part)] ^= 1 << rng.randrange(8)

    match damage:
        case "flip":
            flip(1, whole)
        case "flips":
            flip(rng.randrange(2, 30), whole)
        case "cut":
            del data[rng.randrange(len(data)) :]
        case "zeros":
            start = rng.randrange(len(data))
            length = min(len(data) - start, rng.choice([16, 512, 4096]))
            data[start : start + length] = bytes(length)
        case "footer byte":
            data[rng.randrange(*footer_part)] = rng.randrange(256)
        case "footer flips":
            flip(rng.randrange(1, 12), footer_part)
        case "bytes":
            for _ in range(rng.randrange(1, 20)):
                data[rng.randrange(*data_part)] = rng.randrange(256)
        case "footer length":
            data[-8:-4] = struct.pack("<I", rng.choice([0, 1, end - footer - 1, HUGE, 2**32 - 1, len(data)]))
        case "number":
            start = rng.randrange(footer, end - 12)
            data[start : start + 9] = bytes([0xFE, *[0xFF] * 7, 0x7F])
        case "page head":
            start = 4 if rng.random() < 0.5 else rng.randrange(4, footer - 12)
            data[start : start + 6] = bytes([rng.choice([0x15, 0, 0xFF]), 0xFE, 0xFF, 0xFF, 0xFF, 0x0F])
    return bytes(data)
