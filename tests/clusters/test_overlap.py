from __future__ import annotations

import numpy as np

from engine.clusters.moves import count_moves
from engine.clusters.overlap import merge_overlaps, overlap_of


def test_blocks_add_up_to_the_means_of_all() -> None:
    rows = np.round(np.random.default_rng(0).normal(0, 50, (1000, 2)) * 2**20) / 2**20
    old = np.arange(len(rows)) % 3 - 1
    new = np.arange(len(rows)) % 5 - 1
    whole = overlap_of(old, new, 4, rows)
    parts = [overlap_of(old[cut], new[cut], 4, rows[cut]) for cut in (slice(300), slice(300, 301), slice(301, None))]
    assert merge_overlaps(parts) == merge_overlaps(parts[::-1]) == whole
    inside = (old >= 0) & (new >= 0)
    expected = [rows[inside & (new == place)].mean(axis=0) for place in range(4)]
    assert whole.centroids is not None
    np.testing.assert_allclose(whole.centroids, expected, rtol=1e-12)
    assert whole.moves == count_moves(old, new)


def test_without_coordinates_nothing_is_added_up() -> None:
    overlap = overlap_of(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), 1)
    assert overlap.centroids is None
    assert merge_overlaps([overlap, overlap]).moves.users == 6
