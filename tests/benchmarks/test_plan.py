from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.plan import ALLOWED, SIZES, bench, sizes_from


def test_sizes_are_written_in_short() -> None:
    [small, large] = sizes_from("4e4:1e6:30 100000:4000000:60")
    assert (small.users, small.events, small.days) == (40_000, 1_000_000, 30)
    assert (large.users, large.events, large.days) == (100_000, 4_000_000, 60)


@pytest.mark.slow
def test_what_a_plan_says_is_what_runs_take(tmp_path: Path) -> None:
    report = bench(sizes_from(SIZES), tmp_path / "logs", turns=1, results=tmp_path)
    ratios = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["ratios"]
    # Three sizes, from nothing and with one new day.
    assert len(ratios) == 7
    assert ratios["worst_error"] <= ALLOWED, report
