from __future__ import annotations

from datetime import date
from pathlib import Path
from random import Random

import polars as pl
import pytest

from engine.features.rfm import rfm_features
from tests.features.logs import Event, at, features_of, spec_of

# The 14 transactions of the test suites of lifetimes and pymc-marketing: customer, day of 2015, amount.
TRANSACTIONS = [
    (1, "2015-01-01", 1),
    (1, "2015-02-06", 2),
    (2, "2015-01-01", 2),
    (3, "2015-01-01", 3),
    (3, "2015-01-02", 1),
    (3, "2015-01-05", 5),
    (4, "2015-01-16", 6),
    (4, "2015-02-02", 3),
    (4, "2015-02-05", 3),
    (4, "2015-02-05", 6),
    (5, "2015-01-16", 3),
    (5, "2015-01-17", 1),
    (5, "2015-01-18", 8),
    (6, "2015-02-02", 5),
]
# Frequency, recency, T, mean repeat spend, at the end of 2015-02-07.
BTYD = [(1, 36, 37, 2.0), (0, 0, 37, 0.0), (2, 4, 37, 3.0), (2, 20, 22, 6.0), (2, 2, 22, 4.5), (0, 0, 5, 0.0)]
# Frequency, days since the last purchase, mean spend per purchase day.
SEGMENTATION = [(2, 1, 1.5), (1, 37, 2.0), (3, 33, 3.0), (3, 2, 6.0), (3, 20, 4.0), (1, 5, 5.0)]


def transactions(order: str, *, text: bool) -> list[Event]:
    events = [at(day, f"c{user}" if text else user, amount=100 * amount) for user, day, amount in TRANSACTIONS]
    if order == "reversed":
        events.reverse()
    elif order == "shuffled":
        Random(1).shuffle(events)
    return events


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
def test_the_summary_of_lifetimes(order: str, text: bool, tmp_path: Path) -> None:
    frame = features_of(transactions(order, text=text), date(2015, 2, 8), spec_of(), tmp_path)
    assert frame["user_id"].to_list() == [f"c{user}" if text else user for user in range(1, 7)]
    btyd = frame.select("btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend")
    assert btyd.rows() == BTYD


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_the_segmentation_summary_of_lifetimes(order: str, tmp_path: Path) -> None:
    spec = spec_of(frequency_unit="days")
    frame = features_of(transactions(order, text=False), date(2015, 2, 7), spec, tmp_path)
    per_day = pl.col("rfm_monetary") / pl.col("rfm_frequency")
    assert frame.select("rfm_frequency", "rfm_recency_days", per_day).rows() == SEGMENTATION


def test_orders_of_one_day_count_one_by_one_for_segmentation_and_once_for_btyd(tmp_path: Path) -> None:
    frame = features_of(transactions("sorted", text=False), date(2015, 2, 8), spec_of(), tmp_path)
    row = frame.row(3, named=True)
    assert (row["rfm_frequency"], row["rfm_mean_order"], row["btyd_frequency"]) == (4, 4.5, 2)


def test_there_is_none_without_a_purchase_type() -> None:
    assert rfm_features(pl.LazyFrame(), 0, spec_of(("visit",))) is None


def test_a_user_who_never_bought_has_nulls(tmp_path: Path) -> None:
    events = [at("2024-01-01", 1, "visit"), at("2024-01-01", 2)]
    frame = features_of(events, date(2024, 1, 2), spec_of(("purchase", "visit")), tmp_path)
    rfm = frame.select(pl.selectors.starts_with("rfm_", "btyd_"))
    assert set(rfm.row(0)) == {None}
    assert rfm.row(1) == (1, 1, 0.0, 0.0, 0, 0, 0, 0.0, 0)
