from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from benchmarks.features_by_hand import main
from benchmarks.features_compare import feature_differences
from benchmarks.generate import generate

END = date(2026, 1, 1)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("log")
    generate(out, users=300, events=12_000, days=40, end=END)
    return out / "events"


@pytest.mark.parametrize("as_of", [END, END - timedelta(days=5), END - timedelta(days=39)])
def test_polars_and_duckdb_compute_the_same(events: Path, tmp_path: Path, as_of: date) -> None:
    for contender in ("duckdb", "polars"):
        main([contender, f"--events={events}", f"--as-of={as_of}", f"--to={tmp_path / contender}.parquet"])
    assert feature_differences(tmp_path / "polars.parquet", tmp_path / "duckdb.parquet") == []
    assert pl.read_parquet(tmp_path / "duckdb.parquet").width == 73


def test_the_scan_reads_every_row(events: Path, tmp_path: Path) -> None:
    main(["scan", f"--events={events}", f"--as-of={END}", f"--to={tmp_path / 'scan.parquet'}"])
    rows = pl.read_parquet(events / "*" / "*.parquet", hive_partitioning=False)
    [scanned] = pl.read_parquet(tmp_path / "scan.parquet").to_dicts()
    assert scanned["rows"] == rows.height
    assert scanned["user_id"] == rows["user_id"].str.len_bytes().sum()
    assert scanned["amount"] == pytest.approx(rows["amount"].sum())
