from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.record import RunRecord
from tests.golden.runs import published, score_log

SOURCE = {
    "same_id": "lines",
    "where": "CustomerID IS NOT NULL AND InvoiceNo NOT LIKE 'C%' AND Quantity > 0 AND UnitPrice > 0",
    "columns": {
        "user_id": "CustomerID",
        "event_type": {"value": "purchase"},
        "event_time": "InvoiceDate",
        "event_id": "InvoiceNo",
        "amount": {"sql": "Quantity * UnitPrice"},
        "quantity": "Quantity",
    },
}
RFM = {"recency": "quantile", "frequency": "rank", "monetary": "quantile", "segment_map": "rf_10"}


@pytest.fixture(scope="module")
def expected(reference_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reference_data / "published_expectations.json").read_text())["online_retail"]
    return found


@pytest.fixture(scope="module")
def run(reference_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, pl.DataFrame]:
    out = tmp_path_factory.mktemp("retail") / "out"
    source = {"path": str(reference_data / "online_retail.parquet"), **SOURCE}
    # More rows than one task takes: four buckets.
    execution = {"rows_per_task": 200_000}
    record = score_log(out, date(2011, 12, 11), source, rfm=RFM, execution=execution)
    return record, published(out, "segments")


def test_every_row_is_accounted_for(run: tuple[RunRecord, pl.DataFrame]) -> None:
    rows = run[0].counts["rows"]
    assert rows["read"] == 541_909
    assert rows["kept"] == 18_532
    assert rows["kept"] + rows["merged"] == 397_884
    assert rows["left_out"] == 541_909 - 397_884
    assert rows["duplicate"] == rows["rejected"] == rows["after_as_of"] == 0


def test_customers_orders_and_revenue(run: tuple[RunRecord, pl.DataFrame]) -> None:
    segments = run[1]
    assert run[0].counts["users"] == segments.height == segments["user_id"].n_unique() == 4_338
    assert segments["rfm_frequency"].sum() == 18_532
    assert round(segments["rfm_monetary"].sum(), 2) == 8_911_407.90


def test_the_published_segments(run: tuple[RunRecord, pl.DataFrame], expected: dict[str, Any]) -> None:
    found = {
        name: values
        for name, *values in run[1]
        .group_by("segment")
        .agg(pl.len(), pl.mean("rfm_recency_days"), pl.mean("rfm_frequency"), pl.mean("rfm_monetary"))
        .iter_rows()
    }
    assert {name: values[0] for name, values in found.items()} == {
        name: values[0] for name, values in expected["seg"].items()
    }
    # Published recency is whole days since the time of the last invoice; from day to day it is one more, as no invoice
    # was written at midnight. This file has one postage row of 18.00 less than the published one.
    spend = {"champions": expected["champions_monetary_on_this_file"]}
    for name, (_, recency, frequency, monetary) in expected["seg"].items():
        assert found[name][1:] == pytest.approx([recency + 1, frequency, spend.get(name, monetary)], abs=6e-5), name
    assert {name: size["users"] for name, size in run[0].counts["segments"].items()} == {
        name: values[0] for name, values in found.items()
    }
