"""A small log of two sources with contacts, a target, clusters and rules: enough to fit, small enough to fit often."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.config_file import load_config
from engine.rollups.update import STORE_NAME

AS_OF = date(2026, 3, 1)
FIRST_DAY = datetime(2025, 12, 1, tzinfo=UTC)
DAYS = (AS_OF - FIRST_DAY.date()).days

TOML = """\
out = "out"

[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
event_id = "order"
amount = "total"

[[sources]]
name = "mail"
path = "mail"
[sources.columns]
user_id = "customer"
event_type = "kind"
event_time = "at"
event_id = "message"

[contacts]
path = "contacts.parquet"
user_id = "customer"
model_columns = ["region"]

[events]
purchase = "purchase"
send = "email_send"
open = "email_open"

[features]
windows = [7, 30]

[checks]
max_reject_share = 0.5

[[targets]]
name = "buys"
event = "purchase"
where = "amount >= 20"
horizon_days = 14

[model]
trees = 8
leaves = 4
min_rows_per_leaf = 5
train_anchors = 3
min_rows = 50
min_positives = 1
test_users = 0.4
gate = "warn"

[clusters]
k_min = 2
k_max = 3
resamples = 3

[[segments]]
name = "North / big"
where = "region = 'nord-été' AND purchase_amount_30d > 60"

[[segments]]
name = "likely"
where = "propensity_buys >= 0.5"

[[segments]]
name = "warm"
where = "engagement_score > 60"

[execution]
rows_per_task = 920
"""

SHOP = {"customer": pl.Int64, "order": pl.String, "at": pl.Datetime("us", "UTC"), "total": pl.Float64}
MAIL = {"customer": pl.Int64, "kind": pl.String, "at": pl.Datetime("us", "UTC"), "message": pl.String}


def shop(users: int = 80, seed: int = 7, days: int = DAYS) -> pl.DataFrame:
    """One row per purchase; a tenth of the users never buys, and each has a taste for it."""
    rng = random.Random(f"shop {seed}")
    rows = [
        (user, f"o{user}-{number}", _moment(rng, days), round(rng.lognormvariate(3, 0.7), 2))
        for user in range(1, users + 1)
        if user % 10
        for number in range(1 + int(rng.paretovariate(1.2)) % 25)
    ]
    return pl.DataFrame(rows, SHOP, orient="row")


def mail(users: int = 80, seed: int = 7, days: int = DAYS) -> pl.DataFrame:
    """Sends to everyone, opened by some."""
    rng = random.Random(f"mail {seed}")
    rows = []
    for user in range(1, users + 1):
        for number in range(rng.randrange(1, 15)):
            sent = _moment(rng, days)
            rows.append((user, "email_send", sent, f"s{user}-{number}"))
            if rng.random() < user / users:
                rows.append((user, "email_open", sent + timedelta(minutes=rng.randrange(1, 600)), f"p{user}-{number}"))
    return pl.DataFrame(rows, MAIL, orient="row")


def contacts(users: int = 80) -> pl.DataFrame:
    """One row per user, a few of them strangers to the log."""
    ids = range(1, users + 5)
    return pl.DataFrame({"customer": ids, "region": [("nord-été", "sud", None)[user % 3] for user in ids]})


def _moment(rng: random.Random, days: int) -> datetime:
    return FIRST_DAY + timedelta(seconds=rng.randrange(days * 86_400))


def write_files(folder: Path, frames: Sequence[pl.DataFrame]) -> None:
    """The frames as the files of a source."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        frame.write_parquet(folder / f"{index:03d}.parquet")


def write_sample(folder: Path, users: int = 80, seed: int = 7, toml: str = TOML) -> Path:
    """The whole sample in a folder; returns its configuration file."""
    write_files(folder / "shop", [shop(users, seed)])
    write_files(folder / "mail", [mail(users, seed)])
    contacts(users).write_parquet(folder / "contacts.parquet")
    (folder / "tamis.toml").write_text(toml, encoding="utf-8")
    return folder / "tamis.toml"


def configuration(file: Path, **overrides: object) -> Config:
    """The configuration in a file; `execution__executor="ray"` sets `execution.executor`."""
    return load_config(file, overrides=[(key.replace("__", "."), value) for key, value in overrides.items()]).config


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes.

    Left out are the lock that stays, the rollups, which nobody reads, and the history of runs, which tells of times.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {STORE_NAME, "_runs"} & {*path.parts} and path.parts[-2:] != ("_work", "lock")
    }


def rows_of(out: Path, table: str, as_of: date = AS_OF) -> list[tuple[object, ...]]:
    """The rows of a published table, segment names included, in an order that does not depend on the files.

    The id of the run is left out: it names the whole configuration.
    """
    frame = pl.read_parquet(f"{out}/{table}/as_of={as_of}/**/*.parquet", hive_partitioning=True, glob=True)
    return sorted(frame.select(sorted(set(frame.columns) - {"run_id"})).rows(), key=repr)
