"""A log to measure a machine with: as many events as asked for, of a shop that sends e-mail, in one file per day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from engine.config import Config
from engine.config_file import load_config
from engine.tables import disk

END: Final = date(2026, 1, 1)
_TYPES: Final = ("email_sent", "email_open", "email_click", "page_view", "cart_add", "purchase")
_SHARES: Final = (0.30, 0.10, 0.02, 0.45, 0.08, 0.05)
_ID_FACTOR: Final = 0x5851F42D4C957F2D


@dataclass(frozen=True)
class Shape:
    """Size of a generated log.

    Attributes:
        users: Users; each has about `events / users` events, a few have many more.
        events: Rows of all files.
        days: Files, one per day.
        rows_per_task: `execution.rows_per_task` of its configuration.
        trees: Trees of its model.
        resamples: Times that its clusters are found again.
    """

    users: int
    events: int
    days: int
    rows_per_task: int
    trees: int = 40
    resamples: int = 20


def write_log(folder: Path, shape: Shape, *, seed: int = 1, hold_back: int = 0) -> Config:
    """Write a log, contacts and a configuration with two targets, clusters and rules; returns the configuration.

    Args:
        folder: An empty folder, which may be left behind: nothing in it is of anybody.
        shape: The size.
        seed: Of everything random.
        hold_back: Days at the end whose files are not written yet: call it again without, and they are new.
    """
    draw = np.random.default_rng(seed)
    disk.make_folder(folder / "log")
    activity = draw.lognormal(0.0, 1.0, shape.users)
    cumulative = np.cumsum(activity) / activity.sum()
    per_day = np.diff(np.linspace(0, shape.events, shape.days + 1).astype(np.int64))
    first = 0
    for day, rows in enumerate(per_day.tolist()):
        when = END - timedelta(days=shape.days - day)
        table = _day(draw, cumulative, when, first, rows)
        file = folder / "log" / f"{when.isoformat()}.parquet"
        if day < shape.days - hold_back and not file.exists():
            table.write_parquet(file, compression="zstd", row_group_size=250_000)
        first += rows
    regions = ("north", "south", "east", "west")
    contacts = pl.DataFrame({"user_id": _ids(np.arange(shape.users))}).with_columns(
        region=pl.Series(regions).gather(draw.integers(0, len(regions), shape.users))
    )
    if not (folder / "contacts.parquet").exists():
        contacts.write_parquet(folder / "contacts.parquet")
    config = folder / "tamis.toml"
    config.write_text(_configuration(shape), encoding="utf-8")
    return load_config(config).config


def _ids(numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.Series:
    return pl.Series("user_id", numbers).cast(pl.String).str.zfill(9).str.replace("^", "u")


def _day(
    draw: np.random.Generator,
    cumulative: np.ndarray[tuple[int], np.dtype[np.float64]],
    when: date,
    first: int,
    rows: int,
) -> pl.DataFrame:
    users = np.searchsorted(cumulative, draw.random(rows)).clip(max=len(cumulative) - 1)
    kinds = draw.choice(len(_TYPES), rows, p=_SHARES)
    seconds = np.sort(draw.integers(0, 86_400, rows))
    numbers = np.arange(first, first + rows, dtype=np.uint64) * np.uint64(_ID_FACTOR)
    bought = kinds == len(_TYPES) - 1
    start = pl.lit(when).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.DataFrame(
        {
            "event_id": (numbers & np.uint64(2**63 - 1)).astype(np.int64),
            "user_id": _ids(users),
            "event_type": pl.Series(_TYPES).gather(kinds),
            "seconds": seconds,
            "amount": pl.Series(np.round(draw.lognormal(3.4, 0.8, rows), 2)).zip_with(
                pl.Series(bought), pl.Series([None], dtype=pl.Float64).new_from_index(0, rows)
            ),
        }
    ).select(
        "event_id",
        "user_id",
        "event_type",
        event_time=start + pl.duration(seconds="seconds"),
        amount="amount",
    )


def _configuration(shape: Shape) -> str:
    horizon = max(2, min(30, shape.days // 6))
    return f"""out = "out"

[[sources]]
name = "log"
path = "log"
[sources.columns]
user_id = "user_id"
event_type = "event_type"
event_time = "event_time"
event_id = "event_id"
amount = "amount"

[contacts]
path = "contacts.parquet"
user_id = "user_id"
model_columns = ["region"]

[events]
purchase = "purchase"
send = "email_sent"
open = "email_open"
click = "email_click"

[[targets]]
name = "buys"
event = "purchase"
horizon_days = {horizon}

[model]
trees = {shape.trees}
early_stopping_rounds = 0
train_anchors = 2
min_rows = 50
min_positives = 1
gate = "warn"

[clusters]
max_moved = 1
resamples = {shape.resamples}

[[segments]]
name = "regulars"
where = "purchase_count_30d >= 2 AND days_since_purchase <= 14"

[[segments]]
name = "north, reading"
where = "region = 'north' AND email_open_count_30d >= 1"

[[segments]]
name = "likely"
where = "propensity_buys >= 0.5"

[execution]
rows_per_task = {shape.rows_per_task}
"""
