from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.blocks import ArrayBlocks, Block
from engine.clusters.farthest import FarPoint, farthest_points

small = st.integers(-3, 3).map(float)


@given(
    st.lists(st.tuples(small, small, st.integers(0, 3)), min_size=1, max_size=25),
    st.lists(st.integers(0, 25), max_size=3),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_farthest_places_agree_with_brute_force_for_any_cut_and_order(
    points: list[tuple[float, float, int]], cuts: list[int], count: int, random: object
) -> None:
    centroids = np.array([[0.0, 0.0], [2.0, 2.0]])
    weight: dict[tuple[float, float], int] = {}
    for x, y, times in points:
        weight[x, y] = weight.get((x, y), 0) + times
    expected = []
    for place, times in weight.items():
        squared = [float(((np.array(place) - centroid) ** 2).sum()) for centroid in centroids]
        if times and min(squared):
            expected.append(FarPoint(min(squared), place, times, squared.index(min(squared))))
    expected.sort(key=lambda point: (-point.squared, point.place))

    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    values = np.array(shuffled)
    blocks = [Block(part[:, :2], part[:, 2]) for part in np.split(values, sorted(cuts))]
    assert farthest_points(ArrayBlocks(blocks), centroids, count) == expected[:count]


def test_rows_without_weights_count_once_each() -> None:
    rows = np.array([[5.0], [1.0], [5.0], [-5.0], [0.0]])
    blocks = ArrayBlocks([Block(rows[:2]), Block(rows[2:])])
    assert farthest_points(blocks, np.zeros((1, 1)), 9) == [
        FarPoint(25.0, (-5.0,), 1, 0),
        FarPoint(25.0, (5.0,), 2, 0),
        FarPoint(1.0, (1.0,), 1, 0),
    ]
