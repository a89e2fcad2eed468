from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Columns, Config, Source
from engine.tables.durable import durable_parquet
from engine.tables.layout import partition_folder, table_folder
from engine.tables.manifest import Manifest, TableRecord, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace

DAY = date(2026, 1, 31)
NEXT = date(2026, 2, 1)
NAMES = ("loyal", "Île-de-France", "lost / gone", "it's 100 %")


def config_of(out: Path, kind: str, **publish_keys: object) -> Config:
    columns = Columns(user_id="u", event_type="t", event_time="at")
    return Config.model_validate(
        {
            "out": str(out),
            "sources": (Source(name="log", path="log.parquet", columns=columns),),
            "publish": {"format": kind, "tables": ("segments", "memberships"), **publish_keys},
        }
    )


def users(ids: Sequence[int], more: Mapping[str, pl.Expr] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"user_id": [f"canary-{number}" for number in ids], "orders": ids, "score": [number / 8 for number in ids]},
        {"user_id": pl.String, "orders": pl.Int64, "score": pl.Float64},
    ).with_columns(tags=pl.concat_list(pl.lit("a"), pl.lit(None, pl.String)), since=pl.lit(DAY))
    return frame.with_columns(**(more or {}))


def publish_date(
    out: Path,
    as_of: date,
    segments: Mapping[str, Sequence[int]],
    *,
    note: str = "a",
    more: Mapping[str, pl.Expr] | None = None,
    memberships: bool = True,
    parts: int = 1,
    counts: Mapping[str, Any] | None = None,
) -> Manifest:
    run_id = f"score-{as_of}-{note}"
    with workspace(out, run_id) as work:
        folder = table_folder(work, "segments", as_of)
        files = [
            durable_parquet(
                users(some, more), partition_folder(folder, "segment", name), f"part-{at:05d}-{note}", root=work
            )
            for name, ids in segments.items()
            for at, some in enumerate(_cut(ids, parts))
        ]
        schema = dtypes_of(users([], more).schema)
        tables: list[TableRecord] = []
        if memberships:
            rows = sorted((f"canary-{number}", name) for name, ids in segments.items() for number in ids)
            frame = pl.DataFrame(rows, {"user_id": pl.String, "segment": pl.String}, orient="row")
            file = durable_parquet(frame, table_folder(work, "memberships", as_of), f"part-00000-{note}", root=work)
            tables.append(table_record("memberships", as_of, dtypes_of(frame.schema), [file]))
        tables.append(table_record("segments", as_of, schema, files))
        manifest = Manifest(run_id, as_of, None, {"config": "ab"}, dict(counts or {}), tuple(tables))
        publish(work, out, manifest)
    return manifest


def _cut(ids: Sequence[int], parts: int) -> list[Sequence[int]]:
    size = -(-len(ids) // parts)
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def published(out: Path, as_of: date) -> pl.DataFrame:
    paths = sorted(table_folder(out, "segments", as_of).rglob("*.parquet"))
    frames = [
        pl.read_parquet(path, hive_partitioning=False).with_columns(
            as_of=pl.lit(as_of), segment=pl.lit(_decoded(path.parent.name))
        )
        for path in paths
    ]
    return pl.concat(frames).sort("as_of", "segment", "user_id")


def _decoded(folder: str) -> str:
    from engine.tables.layout import decode_partition

    return decode_partition(folder.partition("=")[2])
