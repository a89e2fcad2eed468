"""A small log of people with names for ids, with everything on that the project can write about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.config_file import load_config
from engine.execution.local import LocalExecutor

FIRST = date(2026, 2, 20)
LAST = date(2026, 2, 27)
BEGIN = datetime(2025, 12, 1, tzinfo=UTC)
KEY = "5a" * 32
LOCAL = LocalExecutor(threads=1)

TOML = """
out = "out"

[[sources]]
name = "shop"
path = "shop/*.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
event_id = "order"
amount = "total"
item_id = "item"

[[sources]]
name = "mail"
path = "mail/*.csv"
[sources.columns]
user_id = "customer"
anonymous_id = "device"
event_type = "kind"
event_time = "at"
event_id = "message"

[contacts]
path = "contacts.parquet"
user_id = "customer"
columns = ["region", "email"]

[identity]
path = "links.parquet"
anonymous_id = "device"
user_id = "customer"

[events]
purchase = "purchase"
send = "email_send"
open = "email_open"

[features]
windows = [7, 30]

[rfm]
recency = "rank"
frequency = "rank"
monetary = "rank"

[checks]
max_reject_share = 0.5

[clusters]
k_min = 2
k_max = 3
resamples = 3

[[points]]
name = "warmth"
[[points.rules]]
name = "opens"
points = 5
where = "email_open_count_30d > 0"

[[segments]]
name = "spenders"
where = "purchase_amount_30d > 40"

[[segments]]
name = "some"
group = "list"
list = "list.txt"
frozen_on = 2026-01-01

[[segments]]
name = "latecomers"
group = "seen"
where = "event_count('purchase', 3) >= 1"

[[experiments]]
name = "trial"
key = "trial-2026"
arms = { a = 50, b = 50 }

[exports]
email = "email"

[execution]
rows_per_task = 300
"""


def person(number: int) -> str:
    return f"person-{number:04d}"


def device(number: int) -> str:
    return f"device-{number:04d}-xyz"


def email(number: int) -> str:
    return f"someone.{number:04d}@example.org"


def shop(users: int, seed: int = 3) -> pl.DataFrame:
    rng = random.Random(f"shop {seed}")
    rows = [
        (
            person(user),
            f"order-{user}-{number}",
            _moment(rng),
            round(rng.lognormvariate(3, 0.7), 2),
            f"item{rng.randrange(9)}",
        )
        for user in range(users)
        for number in range(1 + int(rng.paretovariate(1.2)) % 9)
    ]
    schema = {
        "customer": pl.String,
        "order": pl.String,
        "at": pl.Datetime("us", "UTC"),
        "total": pl.Float64,
        "item": pl.String,
    }
    return pl.DataFrame(rows, schema, orient="row").sort("at")


def mail(users: int, seed: int = 3) -> pl.DataFrame:
    """Sends under the person's id, opens under that of a device, which the links lead to the person."""
    rng = random.Random(f"mail {seed}")
    rows = []
    for user in range(users):
        for number in range(rng.randrange(1, 7)):
            sent = _moment(rng)
            rows.append((person(user), None, "email_send", sent, f"message-{user}-{number}"))
            if rng.random() < 0.5:
                rows.append((None, device(user), "email_open", sent + timedelta(hours=1), f"open-{user}-{number}"))
    schema = {
        "customer": pl.String,
        "device": pl.String,
        "kind": pl.String,
        "at": pl.Datetime("us", "UTC"),
        "message": pl.String,
    }
    return pl.DataFrame(rows, schema, orient="row").sort("at")


def _moment(rng: random.Random) -> datetime:
    days = (LAST - BEGIN.date()).days
    return BEGIN + timedelta(seconds=rng.randrange(days * 86_400))


def write_sources(folder: Path, users: int = 40, toml: str = TOML) -> Path:
    """The sources in a folder, cut into files by month; returns the configuration file."""
    for name in ("shop", "mail"):
        (folder / name).mkdir(parents=True)
    events = shop(users)
    for (month,), part in events.group_by(pl.col("at").dt.truncate("1mo").dt.date(), maintain_order=True):
        part.write_parquet(folder / "shop" / f"{month}.parquet")
    mails = mail(users).with_columns(pl.col("at").dt.to_string("%Y-%m-%d %H:%M:%S"))
    mails.write_csv(folder / "mail" / "2026-01-01.csv")
    everyone = range(users + 2)
    pl.DataFrame(
        {
            "customer": [person(user) for user in everyone],
            "region": [("nord", "sud", None)[user % 3] for user in everyone],
            "email": [email(user) for user in everyone],
        }
    ).write_parquet(folder / "contacts.parquet")
    pl.DataFrame(
        {"device": [device(user) for user in range(users)], "customer": [person(user) for user in range(users)]}
    ).write_parquet(folder / "links.parquet")
    (folder / "list.txt").write_text("\n".join(person(user) for user in range(0, users, 5)), encoding="utf-8")
    (folder / "tamis.toml").write_text(toml, encoding="utf-8")
    return folder / "tamis.toml"


def configured(file: Path, **overrides: object) -> Config:
    return load_config(file, overrides=[(key.replace("__", "."), value) for key, value in overrides.items()]).config


def run_dates(config: Config, days: Sequence[date] = (FIRST, LAST)) -> None:
    from engine.pipeline import run

    for day in days:
        run(config, day, executor=LOCAL)
