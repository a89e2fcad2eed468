from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks.consent import PURPOSES, bench, write_consents
from benchmarks.end_to_end import Size
from engine.config_consent import Consent
from tests.consent.logs import permits


def test_nearly_everybody_agreed(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    pl.DataFrame({"user_id": range(2000)}).write_parquet(tmp_path / "events/0.parquet")
    write_consents(tmp_path / "events", tmp_path)
    record, states = permits(
        Consent(path=str(tmp_path / "consents.parquet")), tmp_path / "work", date(2026, 1, 1), "Int64"
    )
    assert record.rows == record.used > len(PURPOSES) * 2000
    assert all("profiling" in granted for granted, _ in states.values())
    refused = sum("email_marketing" in withdrawn for _, withdrawn in states.values())
    assert 60 < refused < 140
    assert len((tmp_path / "opposed.txt").read_text().split()) == 20


@pytest.mark.slow
def test_a_small_one(tmp_path: Path) -> None:
    told = bench(Size(300, 9000, 60), tmp_path / "data", turns=1, results=tmp_path)
    assert "seconds_vs_without" in told
    assert set(json.loads((tmp_path / "consent.json").read_text())["ratios"]) >= {
        "cpu_vs_without",
        "seconds_vs_without",
    }
