"""Complete Journey, a year of real shopping, as daily files: the log of the second part of `benchmarks.features`."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

from benchmarks.script_sql import FeatureSet

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = date(2018, 1, 1)
JOURNEY = FeatureSet(
    types=("campaign_received", "coupon_redeemed", "purchase"), send="campaign_received", open=None, click=None
)
LOGS = {
    "transactions": ("purchase", "transaction_timestamp"),
    "campaigns": ("campaign_received", "start_date"),
    "coupon_redemptions": ("coupon_redeemed", "redemption_date"),
}
"""Event type and time column of each file."""
COMPLETE = "complete.json"


def ensure_journey(folder: Path) -> int:
    """Write `<folder>/<log>/event_date=YYYY-MM-DD/part-0.parquet` unless it is there: the rows before `AS_OF`.

    Returns:
        Number of rows over all files.

    Raises:
        ConfigError: The package with the data is not installed.
    """
    complete = folder / COMPLETE
    if complete.exists():
        return int(json.loads(complete.read_text(encoding="utf-8"))["rows"])
    import polars as pl

    from jobs.demo import unpack

    unpack(folder / "data")
    rows = 0
    for log, (_, time) in LOGS.items():
        day = pl.col(time).dt.date()
        frame = pl.read_parquet(folder / "data" / f"{log}.parquet").filter(day < AS_OF)
        rows += frame.height
        for (key,), part in frame.group_by(day.alias("day"), maintain_order=True):
            to = folder / "events" / log / f"event_date={key}"
            to.mkdir(parents=True, exist_ok=True)
            part.write_parquet(to / "part-0.parquet", compression="zstd")
    complete.write_text(json.dumps({"rows": rows}) + "\n", encoding="utf-8")
    return rows


def journey_rows(events: Path, as_of: date) -> str:
    """One row per event as `script_sql.query_over` takes them: the lines of a basket are one purchase."""
    midnight = f"TIMESTAMP '{as_of.isoformat()}'"

    def files(log: str) -> str:
        return (
            f"read_parquet('{events}/{log}/*/*.parquet', hive_partitioning = false) WHERE {LOGS[log][1]} < {midnight}"
        )

    def single(log: str) -> str:
        kind, time = LOGS[log]
        return f"""SELECT household_id AS user_id, '{kind}' AS event_type, NULL::BIGINT AS minor,
        datediff('day', {time}, {midnight})::BIGINT AS ago FROM {files(log)}"""

    return f"""SELECT household_id AS user_id, 'purchase' AS event_type,
        sum(round(sales_value * 100)::BIGINT)::BIGINT AS minor,
        datediff('day', min(transaction_timestamp), {midnight})::BIGINT AS ago
    FROM {files("transactions")} GROUP BY household_id, basket_id
    UNION ALL {single("campaigns")}
    UNION ALL {single("coupon_redemptions")}"""


def journey_config(events: Path, out: Path) -> str:
    """The demo's sources and roles over daily files, with the default features."""
    columns = {
        "transactions": 'event_id = "basket_id"\namount = "sales_value"\nquantity = "quantity"',
        "campaigns": 'campaign_id = "campaign_id"',
        "coupon_redemptions": 'campaign_id = "campaign_id"\nitem_id = "coupon_upc"',
    }
    sources = "\n".join(
        f"""[[sources]]
name = "{log}"
path = {json.dumps(str(events / log), ensure_ascii=False)}
{'same_id = "lines"' if log == "transactions" else ""}

[sources.columns]
user_id = "household_id"
event_type = {{ value = "{kind}" }}
event_time = "{time}"
{columns[log]}
"""
        for log, (kind, time) in LOGS.items()
    )
    return f"""out = {json.dumps(str(out), ensure_ascii=False)}

{sources}
[events]
purchase = "{JOURNEY.purchase}"
send = "{JOURNEY.send}"
"""
