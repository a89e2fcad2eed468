from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.record import RunRecord


def score_log(out: Path, as_of: date, source: dict[str, Any], **sections: Any) -> RunRecord:
    """Fit and score one source of purchases without models, clusters and rules."""
    config = Config.model_validate(
        {
            "out": str(out),
            "sources": ({"name": "log", **source},),
            "events": {"purchase": "purchase"},
            "clusters": {"enabled": False},
            **sections,
        }
    )
    executor = LocalExecutor(threads=1)
    fit_run(config, as_of, executor=executor)
    return score_run(config, as_of, executor=executor)


def published(out: Path, table: str) -> pl.DataFrame:
    """A published table, with the keys of its folders, sorted by user."""
    files = f"{out}/{table}/**/*.parquet"
    return pl.scan_parquet(files, hive_schema={"as_of": pl.Date, "segment": pl.String}).collect().sort("user_id")
