from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from engine.tables.durable import durable_parquet
from engine.tables.layout import partition_folder, table_folder, work_folder
from engine.tables.manifest import Manifest, TableRecord, dtypes_of, table_record
from engine.tables.publish import LISTING_SECONDS

AS_OF = date(2018, 1, 1)

Segments = Mapping[str, Sequence[int]]
RUN_A: Segments = {"loyal": [1, 2, 3], "Île-de-France": [4], "lost / gone": [5, 6]}
RUN_B: Segments = {"loyal": [1, 4], "new": [2, 3, 7, 8]}


def users(ids: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"user_id": ids, "score": [value / 8 for value in ids]}, {"user_id": pl.Int64, "score": pl.Float64}
    )


def stage_segments(out: Path, run_id: str, segments: Segments, as_of: date = AS_OF) -> TableRecord:
    root = work_folder(out, run_id)
    files = [
        durable_parquet(
            users(ids), partition_folder(table_folder(root, "segments", as_of), "segment", name), "part-0", root=root
        )
        for name, ids in segments.items()
    ]
    return table_record("segments", as_of, dtypes_of(users([]).schema), files)


def stage_plain(out: Path, run_id: str, table: str, ids: Sequence[int], as_of: date = AS_OF) -> TableRecord:
    root = work_folder(out, run_id)
    file = durable_parquet(users(ids), table_folder(root, table, as_of), "part-0", root=root)
    return table_record(table, as_of, dtypes_of(users([]).schema), [file])


def stage(
    out: Path, run_id: str, segments: Segments, *, plain: Iterable[str] = ("features", "scores"), as_of: date = AS_OF
) -> Manifest:
    ids = sorted(value for values in segments.values() for value in values)
    tables = [
        stage_segments(out, run_id, segments, as_of),
        *(stage_plain(out, run_id, name, ids, as_of) for name in plain),
    ]
    return Manifest(
        run_id=run_id,
        as_of=as_of,
        bundle="0123abcd",
        fingerprints={"config": "ab" * 32},
        counts={"users": {"in": len(ids), "out": len(ids)}, "rejected": 0},
        tables=tuple(tables),
    )


def read_segments(out: Path, as_of: date = AS_OF) -> dict[str, list[int]]:
    """What a reader gets who lists the published date and then reads each file.

    It lists again when a file is gone, or when it was kept waiting for longer than a publish waits for it.
    """
    while True:
        found: dict[str, list[int]] = {}
        started = time.monotonic()
        try:
            paths = sorted(table_folder(out, "segments", as_of).glob("**/*.parquet"))
            if time.monotonic() - started > LISTING_SECONDS:
                continue
            for path in paths:
                name = path.parent.name
                found[name] = found.get(name, []) + read_ids(path)
        except FileNotFoundError:
            continue
        return found


def read_ids(path: Path) -> list[int]:
    with path.open("rb") as handle:
        return pl.read_parquet(handle.read())["user_id"].to_list()


def as_read(segments: Segments) -> dict[str, list[int]]:
    return {partition_folder(Path(), "segment", name).name: list(ids) for name, ids in segments.items()}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, and every folder."""
    return {
        path.relative_to(folder).as_posix(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
