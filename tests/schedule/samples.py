"""A log with one file per day, small enough for many runs: no models, one fit for all dates."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.config import Config
from tests.samples import configuration

FIRST = date(2026, 1, 1)
DAYS = 20
TOML = """\
out = "out"
refit_after_days = 60

[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
event_id = "order"
amount = "total"

[contacts]
path = "contacts.parquet"
user_id = "customer"

[events]
purchase = "purchase"

[features]
windows = [7]

[clusters]
enabled = false

[[segments]]
name = "big"
where = "purchase_amount_7d > 40"
"""
SCHEMA = {"customer": pl.Int64, "order": pl.String, "at": pl.Datetime("us", "UTC"), "total": pl.Float64}


def day_of(number: int) -> date:
    return FIRST + timedelta(days=number)


def purchases(day: date, users: int = 30, mark: str = "") -> pl.DataFrame:
    """A third of the users buys something on a day."""
    rng = random.Random(f"{day} {mark}")
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        (user, f"{day}-{user}{mark}", begin + timedelta(seconds=rng.randrange(86_400)), round(rng.uniform(1, 60), 2))
        for user in range(1, users + 1)
        if rng.random() < 1 / 3
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def write_day(folder: Path, day: date, *frames: pl.DataFrame) -> Path:
    """The file of a day, with more than its own purchases if they are given."""
    file = folder / "shop" / f"{day}.parquet"
    file.parent.mkdir(exist_ok=True)
    # A file of that name may have other names elsewhere.
    file.unlink(missing_ok=True)
    pl.concat([purchases(day), *frames]).write_parquet(file)
    return file


def write_log(folder: Path, days: int = DAYS) -> Path:
    """The log of the first days; returns the configuration file."""
    for number in range(days):
        write_day(folder, day_of(number))
    ids = range(1, 31)
    pl.DataFrame({"customer": ids, "region": ["nord" if user % 2 else "sud" for user in ids]}).write_parquet(
        folder / "contacts.parquet"
    )
    (folder / "tamis.toml").write_text(TOML, encoding="utf-8")
    return folder / "tamis.toml"


def config_in(folder: Path, **overrides: object) -> Config:
    return configuration(folder / "tamis.toml", **overrides)
