from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl

FIRST_DAY = date(2008, 5, 1)
HORIZON = 30
ROUNDS = 30
AS_OF = FIRST_DAY + timedelta(days=HORIZON * (ROUNDS + 1))

CONFIG = """\
out = "out"
segment_fallback = "everyone"

[[sources]]
name = "bank"
path = "events.parquet"
timezone = "UTC"
[sources.columns]
user_id = "user_id"
event_type = "event_type"
event_time = "at"

[contacts]
path = "contacts.parquet"
user_id = "user_id"
model_columns = [{attributes}]

[features]
windows = [30]

[[targets]]
name = "subscribes"
event = "subscription"
population = "call_count_30d > 0"
horizon_days = 30

[model]
train_anchors = 22
valid_anchors = 2
test_anchors = 6
test_users = 0

[clusters]
enabled = false
"""


def rows(reference_data: Path) -> pl.DataFrame:
    """One row per client in the order of the calls; `duration` is known after the call only."""
    raw = pl.read_parquet(reference_data / "bank_additional.parquet").drop("duration")
    return raw.rename(lambda name: name.replace(".", "_")).with_row_index("user_id", offset=1)


def write_bank(reference_data: Path, folder: Path) -> Path:
    """The clients as contacts, a call each, spread evenly in their order, and a subscription a horizon later."""
    clients = rows(reference_data)
    called = (pl.col("user_id") - 1).cast(pl.Int64) * (HORIZON * ROUNDS) // clients.height
    day = pl.lit(FIRST_DAY) + pl.duration(days=called)
    calls = clients.select("user_id", event_type=pl.lit("call"), at=day.cast(pl.Datetime("us")))
    answers = clients.filter(pl.col("y") == "yes").select(
        "user_id",
        event_type=pl.lit("subscription"),
        at=(day + pl.duration(days=HORIZON)).cast(pl.Datetime("us")),
    )
    pl.concat([calls, answers]).write_parquet(folder / "events.parquet")
    contacts = clients.drop("y")
    contacts.write_parquet(folder / "contacts.parquet")
    attributes = ", ".join(f'"{name}"' for name in contacts.columns if name != "user_id")
    path = folder / "tamis.toml"
    path.write_text(CONFIG.format(attributes=attributes), encoding="utf-8")
    return path
