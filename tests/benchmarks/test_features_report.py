from __future__ import annotations

import json

import pytest

from benchmarks.features_report import BEGIN, END, README, Section, ratios, summarize, tables, with_tables
from benchmarks.measure import RESULTS, Measurement

MEASURED = [
    Measurement("duckdb", 10.0, 500.0),
    Measurement("scan", 1.0, 50.0),
    *(Measurement("tamis cold", seconds, peak) for seconds, peak in ((4.0, 300.0), (9.0, 200.0), (5.0, 250.0))),
    Measurement("tamis daily", 1.5, 100.0),
    Measurement("tamis cold 4x", 20.0, 330.0),
    Measurement("tamis daily 4x", 3.0, 125.0),
]


def test_ratios_are_of_medians_and_of_the_fastest() -> None:
    section = Section({"users": 1}, MEASURED, source_bytes=200, store_bytes=100).to_json(growth=4)
    assert section["summary"]["tamis cold"] == {
        "runs": 3,
        "min_seconds": 4.0,
        "median_seconds": 5.0,
        "max_peak_mb": 300.0,
    }
    assert section["ratios"] == {
        "cold_vs_duckdb": 0.5,
        "cold_vs_scan": 5.0,
        "cold_peak_mb": 300.0,
        "daily_vs_duckdb": 0.15,
        "daily_vs_scan": 1.5,
        "daily_peak_mb": 100.0,
        "growth_4x_time": 4.0,
        "growth_4x_memory": 1.1,
        "growth_4x_daily_time": 2.0,
        "growth_4x_daily_memory": 1.25,
        "store_vs_source": 0.5,
    }
    assert section["ratios_of_minima"]["cold_vs_duckdb"] == 0.4
    assert section["ratios_of_minima"]["growth_4x_time"] == 5.0


def test_no_growth_without_a_larger_log() -> None:
    summaries = summarize([one for one in MEASURED if not one.what.endswith("4x")])
    assert not [name for name in ratios(summaries, lambda one: one.min_seconds, 4) if name.startswith("growth")]


def test_tables_show_both_logs() -> None:
    part = Section({"rows": 1234, "files": 5, "turns": 1}, MEASURED, 200, 100).to_json()
    size = {"users": 1_000_000, "events": 50_000_000, "days": 100, "turns": 3, "growth": 4}
    result = Section(size, MEASURED, 200, 100).to_json(4)
    versions = {"cpus": "2", "python": "3.11.7", "duckdb": "2.0.0"}
    text = tables({**result, "date": "2026-01-01", "versions": versions, "complete_journey": part})
    assert "1,000,000 users, 50,000,000 events, 100 days, 3 turns on 2 cores; python 3.11.7, duckdb 2.0.0" in text
    assert "| tamis cold | 4.00 | 5.00 | 300 |" in text
    assert "| `cold_vs_duckdb` | 0.50 | 0.40 |" in text
    assert "Complete Journey: 1,234 rows in 5 files." in text
    assert text.count("`daily_vs_duckdb`") == 2
    assert text.count("`growth_4x_time`") == 1


def test_tables_replace_what_is_between_the_markers() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_tables(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert with_tables(with_tables(page, "new"), "new") == with_tables(page, "new")


@pytest.mark.parametrize("page", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_needs_each_marker_once(page: str) -> None:
    with pytest.raises(ValueError, match="each once"):
        with_tables(page, "new")


def test_the_readme_shows_the_result_that_is_kept() -> None:
    page, kept = README.read_text(encoding="utf-8"), RESULTS / "features.json"
    if not kept.exists():
        pytest.skip("no results/features.json: make bench-features writes it")
    assert with_tables(page, tables(json.loads(kept.read_text(encoding="utf-8")))) == page
