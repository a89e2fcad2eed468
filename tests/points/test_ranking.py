from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from engine.points.ranking import RankTask, area, gain, rank_card

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=30)


def kernel(came: int, not_came: int) -> float:
    return 1.0 if came > not_came else 0.5 if came == not_came else 0.0


def plain(rows: list[tuple[bool, int]]) -> tuple[float, list[float], list[float]]:
    came = [points for label, points in rows if label]
    others = [points for label, points in rows if not label]
    ten = [sum(kernel(x, y) for y in others) / len(others) for x in came]
    one = [sum(kernel(x, y) for x in came) / len(came) for y in others]
    return sum(ten) / len(ten), ten, one


def mean_variance(values: list[float], mean: float) -> float:
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values) if len(values) > 1 else 0.0


@given(ROWS)
def test_areas_and_gains_are_those_of_a_plain_loop(rows: list[tuple[bool, int, int]]) -> None:
    labels = np.array([label for label, _, _ in rows])
    points, others = (np.array([row[place] for row in rows], dtype=np.int64) for place in (1, 2))
    if labels.all() or not labels.any():
        assert area(labels, points) is None
        assert gain(labels, points, others) is None
        return
    one, ten, left = plain([(label, first) for label, first, _ in rows])
    two, ten2, left2 = plain([(label, second) for label, _, second in rows])
    found, added = area(labels, points), gain(labels, points, others)
    assert found is not None
    assert added is not None
    assert found.value == pytest.approx(roc_auc_score(labels, points))
    half = 1.959963984540054 * math.sqrt(mean_variance(ten, one) + mean_variance(left, one))
    assert (found.low, found.high) == pytest.approx((max(0, one - half), min(1, one + half)))
    moved = [a - b for a, b in zip(ten, ten2, strict=True)]
    moved_left = [a - b for a, b in zip(left, left2, strict=True)]
    half = 1.959963984540054 * math.sqrt(mean_variance(moved, one - two) + mean_variance(moved_left, one - two))
    assert (added.value, added.low, added.high) == pytest.approx((one - two, one - two - half, one - two + half))


def test_neither_the_files_nor_their_order_counts(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "label": random.random(500) < 0.3,
            "0": random.integers(0, 50, 500),
            "1": random.integers(-9, 9, 500),
        }
    ).with_columns(total=pl.col("0") + pl.col("1"))
    whole = tmp_path / "whole.parquet"
    frame.write_parquet(whole)
    parts = [tmp_path / f"{place}.parquet" for place in range(3)]
    for place, path in enumerate(parts):
        frame.sample(fraction=1, shuffle=True, seed=1).gather_every(3, place).write_parquet(path)
    expected = rank_card(RankTask((str(whole),), ("0", "1")))
    assert rank_card(RankTask(tuple(map(str, reversed(parts))), ("0", "1"))) == expected
    labels, total = frame["label"].to_numpy(), frame["total"].to_numpy()
    assert expected.rows == 500
    assert expected.total == area(labels, total)
    assert expected.gains == tuple(gain(labels, total, total - frame[name].to_numpy()) for name in ("0", "1"))
