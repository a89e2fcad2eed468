from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.config_file import load_config
from engine.execution.local import LocalExecutor
from engine.pipeline import run

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs" / "retail.toml"
AS_OF = date(2011, 12, 10)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, reference_data: Path) -> Path:
    out = tmp_path_factory.mktemp("retail") / "out"
    overrides: list[tuple[str, object]] = [
        ("out", str(out)),
        ("sources.shop.path", str(reference_data / "online_retail.parquet")),
        ("targets", []),
        ("clusters.enabled", False),
    ]
    run(load_config(CONFIG, overrides=overrides).config, AS_OF, executor=LocalExecutor(threads=2))
    return out


@pytest.fixture(scope="module")
def orders(reference_data: Path) -> dict[int, list[tuple[int, float]]]:
    """Of each customer, the invoices: days from the first line's day to the day of the run, and their worth."""
    lines = (
        pl.read_parquet(reference_data / "online_retail.parquet")
        .filter(pl.col("CustomerID").is_not_null() & (pl.col("Quantity") > 0) & (pl.col("UnitPrice") > 0))
        .group_by("CustomerID", "InvoiceNo")
        .agg(pl.col("InvoiceDate").min(), (pl.col("Quantity") * pl.col("UnitPrice")).sum().alias("worth"))
    )
    found: dict[int, list[tuple[int, float]]] = {}
    for customer, at, worth in lines.select("CustomerID", "InvoiceDate", "worth").iter_rows():
        found.setdefault(int(customer), []).append(((AS_OF - at.date()).days, worth))
    return found


Orders = list[tuple[int, float]]


def within(orders: Orders, days: int) -> bool:
    return any(ago <= days for ago, _ in orders)


TAGS: dict[str, Callable[[Orders], bool]] = {
    "bought in the last 30 days": lambda orders: within(orders, 30),
    "stopped buying": lambda orders: (
        not within(orders, 60) and any(60 < ago <= 180 for ago, _ in orders) and len(orders) >= 3
    ),
    "monthly regulars": lambda orders: len({(ago - 1) // 30 for ago, _ in orders if ago <= 180}) >= 5,
    "back after a pause": lambda orders: (
        within(orders, 30) and not any(30 < ago <= 120 for ago, _ in orders) and any(ago > 120 for ago, _ in orders)
    ),
    "regular_buyer": lambda orders: len({ago for ago, _ in orders if ago <= 182}) >= 3,
    "inactive_buyer": lambda orders: not within(orders, 181),
}


@pytest.mark.parametrize("segment", TAGS)
def test_a_segment_of_real_customers_is_that_of_a_plain_loop(
    segment: str, published: Path, orders: dict[int, Orders]
) -> None:
    members = pl.read_parquet(f"{published}/memberships/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    found = {int(user) for user in members.filter(pl.col("segment") == segment)["user_id"]}
    assert found == {customer for customer, listed in orders.items() if TAGS[segment](listed)}
    assert len(found) > 100
