from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl

from engine.bundle import load_bundle
from tests.golden.runs import published, score_log

COLUMNS = {
    "user_id": "customer_id",
    "event_type": {"value": "purchase"},
    "event_time": "order_date",
    "amount": "revenue",
}
RFM = {"recency": "r_rfm", "frequency": "r_rfm", "monetary": "r_rfm", "segment_map": "r_rfm"}


def test_the_published_segments_of_the_orders_of_r_rfm(reference_data: Path, tmp_path: Path) -> None:
    expected = json.loads((reference_data / "published_expectations.json").read_text())["rfm_data_orders"]
    source = {"path": str(reference_data / "rfm_orders.parquet"), "columns": COLUMNS}
    record = score_log(tmp_path / "out", date.fromisoformat(expected["analysis_date"]), source, rfm=RFM)
    table = published(tmp_path / "out", "segments")
    found = {
        name: values
        for name, *values in table.group_by("segment")
        .agg(pl.len(), pl.sum("rfm_frequency"), pl.sum("rfm_monetary"))
        .iter_rows()
    }
    assert found == expected["segments"]
    assert table.schema["user_id"] == pl.String
    assert table.height == expected["n_customers"]
    edges = load_bundle(Path(str(record.bundle))).rfm_edges
    assert edges is not None
    # The cuts of the vignette: a value below the cut belongs to the lower bin.
    for name, unit in (("recency", 1), ("frequency", 1), ("monetary", 100)):
        upper = getattr(edges, name).upper
        cuts = expected["cuts"][name]
        assert all(edge < cut * unit <= edge + 1 for edge, cut in zip(upper, cuts, strict=True)), (name, upper)
