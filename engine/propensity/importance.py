"""Which features a model needs: how much of its AUC is lost when one of them no longer belongs to its rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.propensity.groups import group_by_score, twice_ordered_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray


def permutation_importance(
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    matrix: NDArray[np.float64],
    labels: NDArray[Any],
    features: Sequence[str],
    seed: int,
    repeats: int = 3,
    max_rows: int = 20_000,
    *,
    used: Collection[str] | None = None,
) -> tuple[tuple[str, float], ...]:
    """The mean drop in AUC when the values of one feature are dealt to the rows anew.

    Breiman (2001, Random Forests, section 10). Of two features that say the same, each seems worthless while the
    other is there. A figure below 0 is noise: the dealt values happened to do better.

    Above `max_rows` a share of the rows of each class is drawn, all of the rarer one if it fits into half of the rows:
    AUC does not depend on the share of positives. A drawn permutation of a feature does not depend on the other
    features, so adding one changes no figure of the others but through the model.

    Args:
        score: A score per row of a matrix, in any monotone scale; called once per used feature and repeat, and once
            more. It must not keep the matrix.
        matrix: Encoded features: one row per user, one column per feature; the model has not learned from these rows.
        labels: One per row, false or true (0 or 1).
        features: Names of the columns.
        seed: Seed of the draws.
        repeats: Permutations per feature.
        max_rows: Rows that are scored at most.
        used: The features that some tree splits on; the others are 0 without a call. All when None.

    Returns:
        Every feature with its drop, the greatest first, then by name; all 0 when only one class is there.
    """
    rows = _draw(np.asarray(labels, dtype=bool), seed, max_rows)
    truth = np.asarray(labels, dtype=bool)[rows]
    positives = int(np.count_nonzero(truth))
    drops = dict.fromkeys(features, 0.0)
    if 0 < positives < truth.size:
        # A copy, of which one column at a time is replaced.
        drawn = np.array(matrix[rows], dtype=np.float64)
        whole = _auc(truth, score(drawn))
        for position, name in enumerate(features):
            if used is not None and name not in used:
                continue
            own = drawn[:, position].copy()
            generator = np.random.Generator(np.random.PCG64([seed, position]))
            lost = []
            for _ in range(repeats):
                drawn[:, position] = own[generator.permutation(own.size)]
                lost.append(whole - _auc(truth, score(drawn)))
            drawn[:, position] = own
            drops[name] = math.fsum(lost) / repeats
    return tuple(sorted(drops.items(), key=lambda entry: (-entry[1], entry[0])))


def _draw(truth: NDArray[np.bool_], seed: int, limit: int) -> NDArray[np.int64]:
    """Positions of at most `limit` rows, ascending."""
    if truth.size <= limit:
        return np.arange(truth.size)
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    rarer, other = sorted((positive, negative), key=len)
    of_rarer = min(rarer.size, limit // 2)
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = (
        generator.permutation(rarer)[:of_rarer],
        generator.permutation(other)[: limit - of_rarer],
    )
    return np.sort(np.concatenate(chosen))


def _auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    groups = group_by_score(truth, scores)
    positives = int(np.count_nonzero(truth))
    pairs = twice_ordered_pairs(groups.positives, groups.rows - groups.positives)
    return pairs / (2 * positives * (truth.size - positives))
