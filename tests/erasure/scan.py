"""Looks for text in every file, by other means than the engine: raw bytes, and every value of every column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq


def found_in(root: Path, needles: Iterable[str]) -> list[str]:
    """Files below a folder with one of the texts, as bytes or as a value, relative to the folder."""
    wanted = [needle.lower() for needle in needles]
    return [
        path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file() and _has(path, wanted)
    ]


def _has(path: Path, wanted: list[str]) -> bool:
    content = path.read_bytes()
    if any(needle.encode() in content.lower() for needle in wanted):
        return True
    return any(needle in text for text in _values(path) for needle in wanted)


def _values(path: Path) -> list[str]:
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            statistics = [str(_statistics(path))]
        elif path.suffix == ".arrow":
            table, statistics = pa.ipc.open_file(str(path)).read_all(), []
        else:
            return []
    except (pa.ArrowException, OSError):
        return []
    texts = [str(value).lower() for column in table.columns for value in pc.unique(_flat(column)).to_pylist()]
    return [*texts, *statistics]


def _flat(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_list(column.type) or pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return pa.array([json.dumps(value, default=str) for value in column.to_pylist()])
    return column


def _statistics(path: Path) -> list[object]:
    metadata = pq.read_metadata(path)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(place).statistics for group in groups for place in range(metadata.num_columns))
    return [(one.min, one.max) for one in columns if one is not None and one.has_min_max] + [metadata.metadata]
