"""Rows stored with a model and their scores, which show at load that it still predicts what it predicted when made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.propensity.model_text import Tree

CHECK_ROWS = 20
_CANDIDATES = 400
_ODD_SHARE = 0.2
# LightGBM takes for zero what is nearer to it than 1e-35, and the whole part of a category.
_ODD_NUMBERS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 5e-324, 1e300, -1e300, -1.0, 1.0])
_ODD_CATEGORIES = np.array([np.nan, np.inf, -np.inf, -1.0, -0.5, -0.0, 0.5, 1.9, 31.0, 32.0, 65_536.0, 1e10, -1e10])


def candidate_rows(trees: Sequence[Tree], levels: Sequence[int | None], seed: int) -> NDArray[np.float64]:
    """Made-up rows on both sides of every kind of split of the model, with gaps.

    No value is taken from a user's row: a bundle holds nothing of a person that an erasure would have to find.

    Args:
        trees: The trees of the model.
        levels: One entry per feature: the number of its codes, or None for a numeric feature.
        seed: Which rows are drawn.

    Returns:
        One row per candidate, one column per feature.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    columns = [_values(trees, feature, count) for feature, count in enumerate(levels)]
    return np.column_stack([values[generator.integers(values.size, size=_CANDIDATES)] for values in columns])


def probing_rows(trees: Sequence[Tree], levels: Sequence[int]) -> NDArray[np.float64]:
    """Rows that two readings of the same trees must agree on: like `candidate_rows`, with what no training row has.

    Args:
        trees: The trees of the model.
        levels: One entry per feature: one more than its greatest category, or 0 for a numeric feature.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    columns = []
    for feature, count in enumerate(levels):
        usual = _values(trees, feature, count or None)
        values = np.concatenate((usual, np.nextafter(usual, -np.inf))) if not count else usual
        odd = _ODD_CATEGORIES if count else _ODD_NUMBERS
        column = values[generator.integers(values.size, size=_CANDIDATES)]
        is_odd = generator.random(_CANDIDATES) < _ODD_SHARE
        columns.append(np.where(is_odd, odd[generator.integers(odd.size, size=_CANDIDATES)], column))
    return np.column_stack(columns)


def _values(trees: Sequence[Tree], feature: int, levels: int | None) -> NDArray[np.float64]:
    if levels is not None:
        return np.append(np.arange(levels, dtype=np.float64), np.nan)
    thresholds = np.unique(np.concatenate([tree.threshold[tree.split_feature == feature] for tree in trees]))
    thresholds = thresholds[np.isfinite(thresholds)]
    if not thresholds.size:
        return np.array([0.0, np.nan])
    return np.concatenate((thresholds, np.nextafter(thresholds, np.inf), [np.nan]))


def choose_rows(leaves: NDArray[np.integer]) -> NDArray[np.int64]:
    """Positions of the rows that together visit the most leaves: greedily, each adds the most leaves not yet visited.

    Args:
        leaves: For each candidate row (first axis), the leaf it ends in for each tree (second axis).
    """
    trees = np.arange(leaves.shape[1])
    visited = np.zeros((leaves.shape[1], int(leaves.max()) + 1), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(CHECK_ROWS, leaves.shape[0])):
        gains = np.count_nonzero(~visited[trees, leaves], axis=1)
        gains[chosen] = -1
        best = int(np.argmax(gains))
        chosen.append(best)
        visited[trees, leaves[best]] = True
    return np.array(sorted(chosen), dtype=np.int64)
