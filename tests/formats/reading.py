from __future__ import annotations

from pathlib import Path

import polars as pl

from engine.config import Config
from engine.formats.commit import open_tables, tables_url


def read_table(config: Config, name: str = "segments") -> pl.DataFrame:
    """A table by the format's own reader, sorted by all that tells rows apart."""
    with open_tables(config) as tables:
        opened = tables.open(name)
        if opened is None:
            return pl.DataFrame()
        arrow = opened.to_pyarrow_table() if config.publish.format == "delta" else opened.scan().to_arrow()
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    return frame.sort([name for name in ("as_of", "segment", "user_id") if name in frame.columns])


def versions(config: Config, name: str = "segments") -> int:
    """How many versions or snapshots a table has; Delta's first one only makes it."""
    with open_tables(config) as tables:
        opened = tables.open(name)
        if opened is None:
            return 0
        return opened.version() if config.publish.format == "delta" else len(opened.snapshots())


def parquet_files(config: Config, name: str = "segments") -> set[str]:
    root = Path(tables_url(config)) / name
    return {path.relative_to(root).as_posix() for path in root.rglob("*.parquet") if "_delta_log" not in path.parts}
