from __future__ import annotations

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from engine.config import Rfm
from engine.segments.rfm_cells import NO_PURCHASE
from engine.segments.rfm_maps import PublishedMap, published_table, segment_names, segment_of, segment_table
from engine.segments.rfm_scores import RfmEdges, learn_edges, score

QUARTILES = ("quartile_6", "quartile_names")


def named(scored: pl.DataFrame, segment_map: PublishedMap) -> pl.DataFrame:
    table = published_table(segment_map)
    expr = segment_of(table, pl.col("r_score"), pl.col("f_score"), pl.col("m_score"))
    return scored.with_columns(expr.alias("rfm_segment"))


@pytest.fixture
def maps(reference_data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((reference_data / "rfm_segment_maps.json").read_text())
    return content


@pytest.fixture
def published(reference_data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((reference_data / "published_expectations.json").read_text())
    return content


@pytest.mark.parametrize("segment_map", get_args(PublishedMap))
def test_every_score_triple_has_a_segment(segment_map: PublishedMap) -> None:
    table = published_table(segment_map)
    scores = range(1, 5 if segment_map in QUARTILES else 6)
    codes = [100 * r + 10 * f + m for r in scores for f in scores for m in scores]
    assert list(table) == codes
    assert segment_table(Rfm(segment_map=segment_map)) == table
    assert segment_names(table) == (*sorted(set(table.values())), NO_PURCHASE)
    scored = pl.DataFrame(
        {
            "r_score": [c // 100 for c in codes],
            "f_score": [c // 10 % 10 for c in codes],
            "m_score": [c % 10 for c in codes],
        },
        schema=dict.fromkeys(("r_score", "f_score", "m_score"), pl.Int8),
    )
    scored = pl.concat([scored, scored.clear(1)])
    assert named(scored, segment_map)["rfm_segment"].to_list() == [*table.values(), NO_PURCHASE]


@pytest.mark.parametrize(
    ("segment_map", "count"),
    [
        ("rf_10", 10),
        ("rfm_11", 11),
        ("r_fm_11", 11),
        ("r_rfm", 10 + len(["Others"])),
        ("quartile_6", 6 + len(["Others"])),
        ("quartile_names", 5 + len(["Other"])),
    ],
)
def test_number_of_segments(segment_map: PublishedMap, count: int) -> None:
    assert len(segment_names(published_table(segment_map))) == count + len([NO_PURCHASE])


def six(r: int, f: int, m: int) -> str:
    if r == f == m == 4:
        return "Champions"
    if min(r, f, m) >= 3:
        return "Loyal"
    if r >= 3 and f == 1 and m <= 2:
        return "New Customers"
    if r >= 2 and f <= 2 and m <= 2:
        return "Regular"
    if r <= 2 and min(f, m) >= 2:
        return "At Risk"
    return "Churned" if r == 1 else "Others"


def test_the_six_segments_by_quartiles_equal_conditions_in_order() -> None:
    for code, name in published_table("quartile_6").items():
        assert name == six(*map(int, str(code))), code


def test_the_names_by_quartiles_are_what_they_promise() -> None:
    table = published_table("quartile_names")
    members = {name: {str(code) for code, of in table.items() if of == name} for name in set(table.values())}
    assert {name: len(codes) for name, codes in members.items()} == {
        "Premium Customer": 8,
        "Repeat Customer": 7,
        "Top Spender": 13,
        "At Risk Customer": 11,
        "Inactive Customer": 7,
        "Other": 18,
    }
    assert members["Premium Customer"] == {str(code) for code in table if min(map(int, str(code))) >= 3}
    # Lowest quartile in two dimensions at least.
    assert all(code.count("1") >= 2 for code in members["Inactive Customer"])
    assert all(min(code[1:]) >= "3" or code[1] >= "3" for code in members["Repeat Customer"])
    assert all(code[2] >= "3" for code in members["Top Spender"])


@pytest.mark.parametrize(
    ("segment_map", "code", "name"),
    [
        ("rf_10", 411, "promising"),
        ("rf_10", 155, "cant_loose"),
        ("rfm_11", 115, "Cannot Lose Them"),
        ("rfm_11", 312, "About To Sleep"),
        ("r_fm_11", 545, "Champions"),
        ("r_fm_11", 534, "Champions"),  # the mean 3.5 counts as 4
        ("r_fm_11", 533, "Loyal Customers"),
        ("r_fm_11", 151, "At Risk"),
        ("r_fm_11", 112, "Hibernating"),  # the mean 1.5 counts as 2
        ("r_rfm", 555, "Champions"),
        ("r_rfm", 554, "Potential Loyalist"),
        ("r_rfm", 333, "Potential Loyalist"),  # the first that fits, before Loyal Customers
        ("r_rfm", 541, "Others"),
        ("quartile_6", 413, "Others"),  # bought once, lately and for much: not among the new ones
        ("quartile_6", 412, "New Customers"),
        ("quartile_6", 441, "Others"),  # bought last week: not churned
        ("quartile_6", 222, "Regular"),  # the first that fits, before At Risk
        ("quartile_6", 122, "At Risk"),
        ("quartile_6", 114, "Churned"),
        ("quartile_names", 143, "Repeat Customer"),
        ("quartile_names", 242, "Other"),
    ],
)
def test_single_codes(segment_map: PublishedMap, code: int, name: str) -> None:
    assert published_table(segment_map)[code] == name


def test_tables_equal_the_published_ones(maps: dict[str, Any]) -> None:
    patterns = maps["rf_25_regex_10_segments_vbo"]
    for code, name in published_table("rf_10").items():
        assert [n for n, pattern in patterns.items() if re.fullmatch(pattern, str(code)[:2])] == [name]
    for code, name in published_table("rfm_11").items():
        assert [n for n, codes in maps["rfm_125_code_11_segments"].items() if str(code) in codes] == [name]
    for code, name in published_table("r_fm_11").items():
        r, f, m = map(int, str(code))
        cell = f"{r}{int((f + m) / 2 + 0.5)}"
        assert [n for n, cells in maps["r_fm_25_grid_11_segments"].items() if cell in cells] == [name]


def test_the_table_of_the_r_package(maps: dict[str, Any]) -> None:
    source = maps["r_package_rfm_0.3.0"]
    table = published_table("r_rfm")
    assert sorted(str(code) for code, name in table.items() if name == "Others") == source["unmatched_codes"]
    for code, name in table.items():
        fits = [
            segment
            for index, segment in enumerate(source["order"])
            if all(
                source[f"{dimension}_lower"][index] <= int(digit) <= source[f"{dimension}_upper"][index]
                for dimension, digit in zip(("recency", "frequency", "monetary"), str(code), strict=True)
            )
        ]
        assert name == [*fits, "Others"][0]


def test_online_retail_gives_the_published_ten_segments(reference_data: Path, published: dict[str, Any]) -> None:
    expected = published["online_retail"]
    lines = (
        pl.scan_parquet(reference_data / "online_retail.parquet")
        .filter(
            pl.col("CustomerID").is_not_null(),
            ~pl.col("InvoiceNo").str.starts_with("C"),
            pl.col("Quantity") > 0,
            pl.col("UnitPrice") > 0,
        )
        .select(
            user_id=pl.col("CustomerID").cast(pl.Int64),
            invoice="InvoiceNo",
            time="InvoiceDate",
            # Unit prices have up to three decimals.
            mills=pl.col("Quantity").cast(pl.Int64) * (pl.col("UnitPrice") * 1000).round().cast(pl.Int64),
        )
        .collect()
    )
    assert (lines.height, lines["invoice"].n_unique()) == (397_884, 18_532)
    users = lines.group_by("user_id").agg(
        # Whole days from the last invoice to midnight: the last day counts 0.
        recency_days=(pl.lit(datetime(2011, 12, 11)) - pl.col("time").max()).dt.total_days(),
        frequency=pl.col("invoice").n_unique().cast(pl.Int64),
        monetary_minor=pl.col("mills").sum(),
    )
    assert users.height == expected["n_customers"]
    scored = score(users, learn_edges(users, Rfm(frequency="rank"), 3))
    summary = (
        named(scored, "rf_10")
        .group_by("rfm_segment")
        .agg(
            pl.len(),
            pl.col("recency_days").mean(),
            pl.col("frequency").mean(),
            pl.col("monetary_minor").sum() / pl.len() / 1000,
        )
    )
    found = {row[0]: list(row[1:]) for row in summary.iter_rows()}
    wanted = expected["seg"]
    wanted["champions"][3] = expected["champions_monetary_on_this_file"]
    assert found.keys() == wanted.keys()
    for name, (count, *means) in wanted.items():
        assert found[name][0] == count, name
        # Six digits are printed; the mean of the champions four.
        assert found[name][1:] == pytest.approx(means, abs=6e-5 if name == "champions" else 6e-7), name


@pytest.mark.parametrize("money", ["dollars", "cents"])
def test_orders_of_the_r_package_give_its_published_segments(
    reference_data: Path, published: dict[str, Any], money: str
) -> None:
    expected = published["rfm_data_orders"]
    digits = 0 if money == "dollars" else 2
    orders = pl.read_parquet(reference_data / "rfm_orders.parquet")
    users = orders.group_by(user_id="customer_id").agg(
        recency_days=(pl.lit(date(2006, 12, 31)) - pl.col("order_date").max().cast(pl.Date)).dt.total_days(),
        frequency=pl.len().cast(pl.Int64),
        monetary_minor=pl.col("revenue").cast(pl.Int64).sum() * 10**digits,
    )
    assert users.height == expected["n_customers"]
    edges = learn_edges(users, Rfm(recency="r_rfm", frequency="r_rfm", monetary="r_rfm"), digits)
    check_cuts(edges, expected["cuts"], 10**digits)
    summary = (
        named(score(users, edges), "r_rfm")
        .group_by("rfm_segment")
        .agg(pl.len(), pl.col("frequency").sum(), pl.col("monetary_minor").sum() // 10**digits)
    )
    assert {row[0]: list(row[1:]) for row in summary.iter_rows()} == expected["segments"]


def check_cuts(edges: RfmEdges, cuts: dict[str, list[float]], one: int) -> None:
    # The printed cuts have the plus one in them; an edge is the largest integer below.
    for dimension, unit in (("recency", 1), ("frequency", 1), ("monetary", one)):
        for upper, cut in zip(getattr(edges, dimension).upper, cuts[dimension], strict=True):
            assert upper < cut * unit <= upper + 1
