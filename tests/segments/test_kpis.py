from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from engine.segments.definition import Definition
from engine.segments.kpis import KPI_SCHEMA, MEANS, RATES, segment_kpis
from engine.segments.stats import SegmentStats
from tests.segments.counted import SPEC, counted, holds_of, users_of

SHARES = {"half": 0.5, "vip": 0.1, "nobody": 0.0}
DEFINITIONS = (
    Definition("half", "rule", "primary", where="x"),
    Definition("vip", "list", None, cost=50.0),
    Definition("nobody", "arm", None, cost=10.0),
)


def table_of(stats: SegmentStats) -> pl.DataFrame:
    return segment_kpis(stats, DEFINITIONS, window=30, currency_digits=2)


def test_a_row_for_all_users_then_the_largest_segment_first() -> None:
    table = table_of(counted(users_of(300), holds_of(300, SHARES)))
    assert table.schema == KPI_SCHEMA
    assert table.select("segment", "kind", "group", "window_days").rows() == [
        ("(all users)", "all", None, 30),
        ("half", "rule", "primary", 30),
        ("vip", "list", None, 30),
        ("nobody", "arm", None, 30),
    ]


def test_figures_are_those_of_the_users() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    rows = {row["segment"]: row for row in table_of(counted(users, holds)).to_dicts()}
    base = rows["(all users)"]
    for segment in ("half", "vip"):
        some, row = users.filter(holds[segment]), rows[segment]
        delivered = (some["sent_count_30d"] - some["bounced_count_30d"]).clip(0).sum()
        assert row["users"] == some.height
        assert row["user_share"] == some.height / 300
        assert row["delivered"] == delivered
        assert row["open_rate_human"] == some["opened_count_30d"].sum() / delivered
        assert row["open_rate"] == (some["opened_count_30d"] + some["opened_machine_count_30d"]).sum() / delivered
        assert row["unsubscribe_rate"] == some["opted_out_count_30d"].sum() / delivered
        assert row["conversion"] == some.filter(pl.col("bought_count_30d") > 0).height / some.height
        assert row["revenue"] == pytest.approx(some["bought_amount_30d"].sum())
        assert row["total_value"] == (some["rfm_monetary_minor"].sum()) / 100
        assert row["mean_value"] == some["rfm_monetary_minor"].sum() / (100 * some.height)
        assert row["mean_clv"] == pytest.approx(some["value_clv"].mean(), abs=0.005)
        assert row["open_rate_lift"] == row["open_rate"] / base["open_rate"]
    bought = pl.col("bought_count_30d")
    first = users.filter(holds["vip"], bought > 0, bought == pl.col("bought_count_total")).height
    assert rows["vip"]["first_buyers"] == first
    assert rows["vip"]["cost_per_acquisition"] == 50 / first
    assert rows["half"]["cost_per_acquisition"] is None
    assert base["cost"] is None
    assert base["conversion_lift"] == 1


def test_every_rate_is_the_quotient_of_two_columns_beside_it() -> None:
    for row in table_of(counted(users_of(300), holds_of(300, SHARES))).to_dicts():
        for rate, (above, below) in {**RATES, **MEANS}.items():
            expected = pytest.approx(row[above] / row[below]) if row[below] else None
            assert row[rate] == expected, rate


def test_nobody_has_counts_of_zero_and_no_rates() -> None:
    row = table_of(counted(users_of(300), holds_of(300, SHARES))).to_dicts()[-1]
    assert (row["users"], row["user_share"], row["sent"], row["revenue"], row["cost"]) == (0, 0, 0, 0, 10)
    assert [row[name] for name in (*RATES, *MEANS, "cost_per_acquisition", "open_rate_lift")] == [None] * (
        len(RATES) + len(MEANS) + 2
    )


def test_what_the_roles_do_not_allow_is_null_and_the_schema_stays() -> None:
    bare = replace(SPEC, send=None, bounce=None, open=None, click=None, purchase=None, complaint=None, reply=None)
    users = users_of(30).drop("days_since_reactivation", "value_clv")
    table = table_of(counted(users, holds_of(30, SHARES), spec=bare))
    assert table.schema == KPI_SCHEMA
    known = {"segment", "kind", "group", "window_days", "users", "user_share", "unsubscribes", "cost"}
    assert {name for name in table.columns if table[name].null_count() < table.height} == known


def test_money_is_added_before_it_is_divided() -> None:
    users = users_of(3).with_columns(
        rfm_monetary_minor=pl.Series([57, 10, 20]), bought_amount_30d=pl.Series([0.57, 0.1, 0.2])
    )
    table = table_of(counted(users, holds_of(3, {"half": 1.0, "vip": 0.0, "nobody": 0.0})))
    assert table["revenue"][0] == table["total_value"][0] == 0.87
    assert table["mean_value"][0] == 0.29
