"""The small shop with a log of consents."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Config
from engine.pipeline import score_run
from engine.record import RunRecord
from tests.consent.logs import Row, frame, saved
from tests.published import published_tables
from tests.samples import AS_OF, FIRST_DAY, TOML, write_sample

USERS = 80
LONG_AGO = FIRST_DAY - timedelta(days=1)
YESTERDAY = datetime(2026, 2, 28, 12, tzinfo=FIRST_DAY.tzinfo)
PROFILING, MAILS, OPENS = "profiling", "email_marketing", "open_tracking"
YES, NO = "granted", "withdrawn"

CONSENT = """
[[segments]]
name = "mailable"
where = "engagement_score > 10"
tag = true
purposes = ["email_marketing"]

[[segments]]
name = "by mail"
where = "purchase_count_30d > 0"
priority = 9
purposes = ["email_marketing"]

[consent]
path = "consents.parquet"

[exports]
readable_by = "owner"
"""


def consents(rows: Sequence[Row] = (), users: Sequence[int] = range(1, USERS + 1)) -> pl.DataFrame:
    """Everybody agreed to all long ago; then `rows`."""
    everybody = [(user, name, YES, LONG_AGO) for user in users for name in (PROFILING, MAILS, OPENS)]
    return frame([*everybody, *rows], pl.Int64())


def write(folder: Path, rows: Sequence[Row] = (), toml: str = TOML + CONSENT) -> Path:
    file = write_sample(folder, USERS, toml=toml)
    saved(consents(rows), folder / "consents.parquet")
    return file


def variant(config: Config, folder: Path, log: pl.DataFrame, **overrides: Any) -> Config:
    """The same configuration and bundle with another log of consents and an output of its own."""
    folder.mkdir(parents=True)
    shutil.copytree(config.out, folder / "out")
    saved(log, folder / "consents.parquet")
    assert config.consent is not None
    changes = {
        "out": str(folder / "out"),
        "consent": config.consent.model_copy(update={"path": str(folder / "consents.parquet")}),
    }
    return config.model_copy(update={**changes, **overrides})


def scored(config: Config, executor: Any) -> tuple[RunRecord, dict[str, pl.DataFrame]]:
    """What a score publishes; the id of the run, which names its input, is left out."""
    record = score_run(config, AS_OF, executor=executor)
    tables = published_tables(Path(config.out), AS_OF)
    return record, {name: table.drop("run_id", strict=False) for name, table in tables.items()}
