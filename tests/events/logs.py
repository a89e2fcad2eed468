"""Small logs for the tests of reading: one canonical file, and sources and configurations over it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Clusters, Columns, Config, Source

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AS_OF = date(2026, 2, 1)
AS_OF_US = 1_769_904_000_000_000
COLUMNS: Mapping[str, Any] = {"user_id": "user", "event_type": "type", "event_time": "time"}
SCHEMA = {
    "user": pl.Int64,
    "type": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "id": pl.String,
    "amount": pl.Float64,
}


def log(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Rows of user, type, time, id and amount; what is left off is null."""
    return pl.DataFrame([(*row, *[None] * (len(SCHEMA) - len(row))) for row in rows], SCHEMA, orient="row")


def source(path: Path | str, name: str = "log", columns: Mapping[str, Any] | None = None, **fields: Any) -> Source:
    return Source(name=name, path=str(path), columns=Columns(**{**COLUMNS, **(columns or {})}), **fields)


def config(*sources: Source, **fields: Any) -> Config:
    return Config(sources=sources, **{"clusters": Clusters(enabled=False), **fields})


def write(frame: pl.DataFrame, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(file)
    return file
