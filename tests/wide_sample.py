"""A log with every role, column and kind of input there is, in one file per day."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from tests.samples import AS_OF

USERS = 60
DAYS = 45
END = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC)
MONITOR = 999
FAMILIES = (
    "funnel",
    "lifecycle",
    "cadence",
    "type_days",
    "trend",
    "seasonality",
    "value",
    "orders",
    "items",
    "cart",
    "sessions",
    "hours",
    "social",
    "engagement_forms",
)
TOML = f"""\
out = "out"

[[sources]]
name = "log"
path = "log"
[sources.columns]
user_id = "user"
anonymous_id = "visitor"
event_type = "kind"
event_time = "at"
event_id = "id"
amount = "amount"
quantity = "quantity"
item_id = "item"
category = "category"
page = "page"
promotion = "promotion"
machine = "bot"

[identity]
path = "links.parquet"
anonymous_id = "visitor"
user_id = "user"

[exclude]
user_ids = [{MONITOR}]

[events]
purchase = "purchase"
refund = "refund"
send = "send"
open = "open"
click = "click"
page_view = "view"
cart_add = "cart_add"
cart_remove = "cart_remove"
comment = "comment"
share = "share"

[features]
windows = [7, 30]
families = [{", ".join(f'"{name}"' for name in FAMILIES)}]

[[features.events]]
name = "shoes"
event = "purchase"
where = "category = 'shoes'"

[[features.events]]
name = "dear"
event = "purchase"
where = "amount >= 15"

[[targets]]
name = "buys"
event = "purchase"
horizon_days = 7

[[targets]]
name = "buys_dear"
event = "dear"
horizon_days = 14

[[targets]]
name = "buys_dear_shoes"
event = "dear"
where = "category = 'shoes'"
horizon_days = 14

[model]
trees = 6
leaves = 4
min_rows_per_leaf = 5
train_anchors = 2
min_rows = 20
min_positives = 1
gate = "warn"

[clusters]
features = ["session_count_30d", "dear_count_30d", "tenure_days"]
k_min = 2
k_max = 3
resamples = 3

[[segments]]
name = "shoe lovers"
where = "shoes_count_30d >= 1 AND distinct_categories_30d >= 1"

[[segments]]
name = "browsers"
where = "session_pages_30d > 1"

[execution]
rows_per_task = 500
"""
SCHEMA = {
    "user": pl.Int64,
    "visitor": pl.Int64,
    "kind": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "id": pl.String,
    "amount": pl.Float64,
    "quantity": pl.Int64,
    "item": pl.String,
    "category": pl.String,
    "page": pl.String,
    "promotion": pl.String,
    "bot": pl.Boolean,
}
KINDS = ("purchase", "refund", "send", "open", "click", "view", "cart_add", "cart_remove", "comment", "share")


def visitor_of(user: int) -> int:
    """The id a user has before logging in."""
    return 10_000 + user


def wide_log(seed: int = 3) -> pl.DataFrame:
    """Events of users, some of them before they were known, a few by machines, and those of a monitor."""
    rng = random.Random(f"wide {seed}")
    rows = []
    for number in range(1500):
        user = MONITOR if number % 50 == 0 else rng.randrange(1, USERS + 1)
        kind = rng.choice((*KINDS, "purchase"))
        has_item = kind in {"purchase", "refund", "cart_add", "cart_remove"}
        is_visit = kind == "view" and rng.random() < 0.3
        rows.append(
            (
                None if is_visit else user,
                visitor_of(user) if kind == "view" else None,
                kind,
                END - timedelta(seconds=rng.randrange(1, DAYS * 86_400)),
                f"e{number}",
                round(rng.lognormvariate(3, 0.8), 2) if kind in {"purchase", "refund"} else None,
                rng.randrange(1, 4) if has_item else None,
                f"i{rng.randrange(20)}" if has_item else None,
                rng.choice(("shoes", "shoes", "coats", None)) if has_item else None,
                f"/{rng.randrange(5)}" if kind == "view" else None,
                "sale" if kind == "purchase" and rng.random() < 0.3 else None,
                kind in {"open", "click"} and rng.random() < 0.2,
            )
        )
    return pl.DataFrame(rows, SCHEMA, orient="row")


def links() -> pl.DataFrame:
    """Which visitor is which user."""
    users = [*range(1, USERS + 1), MONITOR]
    return pl.DataFrame({"visitor": [visitor_of(user) for user in users], "user": users})


def write_days(folder: Path, frame: pl.DataFrame) -> None:
    """One file per day of the events."""
    folder.mkdir(parents=True, exist_ok=True)
    for (day,), rows in frame.with_columns(day=pl.col("at").dt.date()).partition_by("day", as_dict=True).items():
        rows.drop("day").write_parquet(folder / f"{day}.parquet")


def write_wide_sample(folder: Path, frame: pl.DataFrame | None = None) -> Path:
    """The whole sample; returns its configuration file."""
    write_days(folder / "log", wide_log() if frame is None else frame)
    links().write_parquet(folder / "links.parquet")
    (folder / "tamis.toml").write_text(TOML, encoding="utf-8")
    return folder / "tamis.toml"


def before(day: date) -> pl.Expr:
    """The rows of the days before one."""
    return pl.col("at") < pl.lit(datetime(day.year, day.month, day.day), pl.Datetime("us")).dt.replace_time_zone("UTC")
