from __future__ import annotations

from typing import Any

import pytest

from benchmarks.compare import differences

SAME: dict[str, Any] = {
    "users": 20_000,
    "purchases": 7,
    "spend": 12.34,
    "segments": {"loyal": 15_000, "others": 5000},
    "clusters": [12_000, 8000],
    "scores": {"purchase": 0.25},
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"segments": {"others": 5000, "loyal": 15_000}},
        {"clusters": [12_001, 7999]},
        {"scores": {"purchase": 0.25 * (1 + 1e-9)}},
    ],
)
def test_agree(change: dict[str, Any]) -> None:
    assert differences(SAME, SAME | change) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"users": 19_999}, "users"),
        ({"purchases": 8}, "purchases"),
        ({"spend": 12.36}, "spend"),
        ({"segments": {"loyal": 15_001, "others": 4999}}, "segments"),
        ({"clusters": [12_010, 7990]}, "clusters"),
        ({"clusters": [12_000, 7999, 1]}, "clusters"),
        ({"scores": {"purchase": 0.2501}}, "mean score of purchase"),
    ],
)
def test_disagree(change: dict[str, Any], named: str) -> None:
    [problem] = differences(SAME, SAME | change)
    assert problem.startswith(named)
