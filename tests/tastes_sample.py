"""A log of customers with a taste for buying, up to the day from which they buy at random: gates pass, then fail."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

FIRST_DAY = date(2025, 12, 1)
EARLY = date(2026, 2, 2)
LATE = date(2026, 3, 2)
USERS = 120
STRANGERS = 10
TOML = """\
out = "out"

[[sources]]
name = "log"
path = "log"
[sources.columns]
user_id = "customer"
event_type = "kind"
event_time = "at"
amount = "total"

[contacts]
path = "contacts.parquet"
user_id = "customer"

[events]
purchase = "purchase"
send = "send"
open = "open"

[features]
windows = [7, 30]
families = []

[[targets]]
name = "buys"
event = "purchase"
horizon_days = 7

[[targets]]
name = "again"
preset = "repeat_purchase"
horizon_days = 7

[model]
trees = 10
leaves = 3
min_rows_per_leaf = 10
train_anchors = 2
min_rows = 50
min_positives = 5
test_users = 0.5

[clusters]
enabled = false
"""
SCHEMA = {"customer": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC"), "total": pl.Float64}


def tastes_log(random_from: date = LATE, mail_prefix: str = "", seed: int = 5) -> pl.DataFrame:
    """Mails to everyone every week, and purchases by those who like to buy; the strangers never buy.

    Args:
        random_from: Until then every second user buys in nine weeks of ten and the others in one of ten, from then on
            everyone in one of two.
        mail_prefix: Before the ids of users in the events of mails.
        seed: Another one, another log.
    """
    rng = random.Random(seed)
    rows = []
    for user in range(USERS + STRANGERS):
        for week in range((LATE - FIRST_DAY).days // 7):
            monday = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(weeks=week)
            moments = [monday + timedelta(seconds=rng.randrange(7 * 86_400)) for _ in range(3)]
            rows.append((f"{mail_prefix}u{user}", "send", moments[0], None))
            if rng.random() < 0.5:
                rows.append((f"{mail_prefix}u{user}", "open", moments[1], None))
            chance = 0.5 if monday.date() >= random_from else 0.9 if user % 2 else 0.1
            if rng.random() < chance and user < USERS:
                rows.append((f"u{user}", "purchase", moments[2], round(rng.uniform(5, 50), 2)))
    return pl.DataFrame(rows, SCHEMA, orient="row")


def buyers(frame: pl.DataFrame, start: date, end: date) -> set[str]:
    """Who bought in `[start, end)`."""
    bought = frame.filter((pl.col("kind") == "purchase") & pl.col("at").dt.date().is_between(start, end, closed="left"))
    return set(bought["customer"])


def write_tastes(folder: Path, frame: pl.DataFrame, toml: str = TOML, **attributes: object) -> Path:
    """The log, contacts with a region and the given attributes, and the configuration; returns its file."""
    (folder / "log").mkdir(parents=True)
    frame.write_parquet(folder / "log" / "000.parquet")
    users = [f"u{user}" for user in range(USERS + STRANGERS)]
    regions = {"customer": users, "region": [("north", "south", None)[number % 3] for number in range(len(users))]}
    pl.DataFrame({**regions, **attributes}).write_parquet(folder / "contacts.parquet")
    (folder / "tamis.toml").write_text(toml, encoding="utf-8")
    return folder / "tamis.toml"


def customers_log(seed: int = 3) -> pl.DataFrame:
    """Purchases of customers who buy and leave as BG/NBD says and spend as Gamma-Gamma says, beside the mails."""
    rng = random.Random(seed)
    rows = []
    for user in range(USERS):
        rate, leaves, scale = rng.gammavariate(0.9, 0.4), rng.betavariate(0.6, 4), 40 / rng.gammavariate(4, 1)
        day = rng.uniform(0, 60)
        while day < (LATE - FIRST_DAY).days:
            moment = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(days=day)
            rows.append((f"u{user}", "purchase", moment, round(scale * rng.gammavariate(4, 1), 2)))
            if rng.random() < leaves:
                break
            day += rng.expovariate(rate) + 1
    purchases = pl.DataFrame(rows, SCHEMA, orient="row")
    return pl.concat([tastes_log().filter(pl.col("kind") != "purchase"), purchases])
