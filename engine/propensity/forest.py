"""LightGBM's trees as bit masks, and the sums of their leaves for many rows at once.

The method is QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive
ensembles of regression trees"): the leaves of a tree, from left to right, are the bits of a word; a split that sends a
row right clears the leaves below its left child; the first leaf that no split of the tree has cleared is the row's. No
split waits for another. As in V-QuickScorer (Lucchese et al. 2016) rows go side by side; unlike both, every split is
evaluated for 64 rows by comparing small whole numbers, without a jump: a value is first turned into the number of its
feature's thresholds below it. A tree of more than 64 leaves is several units of 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.propensity.forest_kernel import LEAVES, MISSING_RIGHT, bit_positions, load_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.propensity.model_text import Tree

_CATEGORY_SPLIT, _MISSING_LEFT, _MISSING_IS_NAN = 1, 2, 8
_WORD_BITS: Final = 32
# Rows of one piece of work: its columns fit into the cache of a core.
_PIECE: Final = 2048
_MAX_TABLE_BYTES: Final = 2**28
_FULL: Final = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Forest:
    """A model as arrays. Each feature has two columns of codes: `2 f` where a missing value goes left, `2 f + 1` right.

    Attributes:
        edges: The thresholds of each numeric feature, ascending, filled up with infinity to one less than a power of 2.
        edge_start: Where those of a feature start; one more than features.
        levels: For a categorical feature, one more than the greatest category of any split; 0 for a numeric one.
        unit_start: Where the units of a tree start; one more than trees.
        split_start: Where the numeric splits of a unit start; one more than units.
        split_column: The column of codes that a split looks at.
        split_rank: A row goes right when its code is above this.
        split_mask: The leaves of the unit that are left when it does.
        group_start: Where the categorical features of a unit start; one more than units.
        group_column: The column of codes.
        group_offset: Where the masks of its categories start.
        category_mask: The leaves of the unit that are left for a category, all splits of the feature together.
        leaf_value: Units x 64.
        bit_position: See `engine.propensity.forest_kernel.bit_positions`.
    """

    edges: NDArray[np.float64]
    edge_start: NDArray[np.int64]
    levels: NDArray[np.int64]
    unit_start: NDArray[np.int64]
    split_start: NDArray[np.int64]
    split_column: NDArray[np.int64]
    split_rank: NDArray[np.uint16]
    split_mask: NDArray[np.uint64]
    group_start: NDArray[np.int64]
    group_column: NDArray[np.int64]
    group_offset: NDArray[np.int64]
    category_mask: NDArray[np.uint64]
    leaf_value: NDArray[np.float64]
    bit_position: NDArray[np.int64]


class UnfitForestError(ValueError):
    """The model is too large for the kernel."""


@dataclass(frozen=True, eq=False)
class _Splits:
    """One entry for each unit that has leaves below the left child of a split: the unit, the node, the leaves left."""

    unit: NDArray[np.int64]
    node: NDArray[np.int64]
    mask: NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class _Nodes:
    """The inner nodes of all trees, one after another, and the leaves below each, counted from the left of its tree."""

    tree: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    decision: NDArray[np.int64]
    first_leaf: NDArray[np.int64]
    """The first leaf below the left child."""
    end_leaf: NDArray[np.int64]
    """One more than the last leaf below the left child."""


@dataclass(frozen=True, eq=False)
class _Groups:
    """The splits by category of one feature in one unit, one entry for each such pair, in the order of the units."""

    levels: NDArray[np.int64]
    unit: NDArray[np.int64]
    feature: NDArray[np.int64]
    offset: NDArray[np.int64]
    mask: NDArray[np.uint64]


def compile_forest(trees: Sequence[Tree], features: int) -> Forest:
    """The arrays of a model of so many features; some milliseconds for hundreds of trees.

    Raises:
        UnfitForestError: A feature has more thresholds or categories than 16 bits can count, or the masks of the
            categories need more than 256 MiB.
    """
    nodes, leaf_position = _nodes(trees)
    leaves = np.array([tree.leaf_value.size for tree in trees], dtype=np.int64)
    unit_start = _starts(-(-leaves // LEAVES))
    leaf_value = np.zeros((int(unit_start[-1]), LEAVES), dtype=np.float64)
    leaf_unit = np.repeat(unit_start[:-1], leaves) + leaf_position // LEAVES
    leaf_value[leaf_unit, leaf_position % LEAVES] = np.concatenate([tree.leaf_value for tree in trees])

    by_category = (nodes.decision & _CATEGORY_SPLIT) != 0
    numeric = _splits(nodes, np.flatnonzero(~by_category), unit_start)
    edges, edge_start, rank = _edges(nodes, by_category, features)
    missing_left = np.where(
        (nodes.decision & _MISSING_IS_NAN) != 0, (nodes.decision & _MISSING_LEFT) != 0, nodes.threshold >= 0
    )
    column = 2 * nodes.feature + ~missing_left
    # Splits of one column next to each other find it in the nearest cache.
    order = np.lexsort((rank[numeric.node], column[numeric.node], numeric.unit))
    units = int(unit_start[-1])
    groups = _category_groups(trees, nodes, by_category, unit_start, features)
    return Forest(
        edges=edges,
        edge_start=edge_start,
        levels=groups.levels,
        unit_start=unit_start,
        split_start=_starts(np.bincount(numeric.unit, minlength=units)),
        split_column=column[numeric.node[order]],
        split_rank=rank[numeric.node[order]].astype(np.uint16),
        split_mask=numeric.mask[order],
        group_start=_starts(np.bincount(groups.unit, minlength=units)),
        group_column=2 * groups.feature,
        group_offset=groups.offset,
        category_mask=groups.mask,
        leaf_value=leaf_value,
        bit_position=bit_positions(),
    )


def forest_scores(forest: Forest, matrix: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    """The raw score of each row: its leaf values added in the order of the trees, as LightGBM adds them, bit for bit.

    Every row is scored by itself: the same bits for any number of threads and any cut of the rows.

    Args:
        forest: From `compile_forest`.
        matrix: One row per row, one column per feature of the model; NaN is missing. Column after column in memory
            (Fortran order) is the faster way.
        threads: Threads that may be used.
    """
    kernel = load_kernel()
    rows = len(matrix)
    scores = np.empty(rows, dtype=np.float64)
    arrays = tuple(getattr(forest, name) for name in Forest.__dataclass_fields__)

    def score(start: int) -> None:
        # A copy that no one else has is always writable and contiguous: one compiled program for every caller.
        columns = np.array(matrix[start : start + _PIECE].T, dtype=np.float64, order="C", copy=True)
        kernel(columns, *arrays, scores[start : start + _PIECE])

    starts = range(0, rows, _PIECE)
    if threads == 1 or len(starts) < 2:
        for start in starts:
            score(start)
    else:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            list(pool.map(score, starts))
    return scores


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)))


def _nodes(trees: Sequence[Tree]) -> tuple[_Nodes, NDArray[np.int64]]:
    """The inner nodes, and for each leaf of each tree its place among the leaves of its tree, from the left."""
    inner = np.array([tree.left_child.size for tree in trees], dtype=np.int64)
    tree = np.repeat(np.arange(len(trees)), inner)
    node_start, leaf_start = _starts(inner), _starts(inner + 1)
    nodes = int(node_start[-1])

    def children(local: NDArray[np.int64]) -> NDArray[np.int64]:
        # One numbering for all: first the nodes of every tree, then the leaves of every tree.
        return np.where(local >= 0, node_start[tree] + local, nodes + leaf_start[tree] - local - 1)

    left = children(np.concatenate([tree.left_child for tree in trees]))
    right = children(np.concatenate([tree.right_child for tree in trees]))
    levels = []
    level = node_start[:-1][inner > 0]
    while level.size:
        levels.append(level)
        below = np.concatenate((left[level], right[level]))
        level = below[below < nodes]
    leaves_below = np.ones(nodes + int(leaf_start[-1]), dtype=np.int64)
    for level in reversed(levels):
        leaves_below[level] = leaves_below[left[level]] + leaves_below[right[level]]
    first_leaf = np.zeros_like(leaves_below)
    for level in levels:
        first_leaf[left[level]] = first_leaf[level]
        first_leaf[right[level]] = first_leaf[level] + leaves_below[left[level]]
    return _Nodes(
        tree=tree,
        feature=np.concatenate([tree.split_feature for tree in trees]),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        decision=np.concatenate([tree.decision_type for tree in trees]),
        first_leaf=first_leaf[left],
        end_leaf=first_leaf[right],
    ), first_leaf[nodes:]


def _splits(nodes: _Nodes, which: NDArray[np.int64], unit_start: NDArray[np.int64]) -> _Splits:
    lowest = nodes.first_leaf[which] // LEAVES
    units = (nodes.end_leaf[which] - 1) // LEAVES - lowest + 1
    node = np.repeat(which, units)
    unit = np.arange(node.size) - np.repeat(_starts(units)[:-1] - lowest, units)
    low = np.maximum(nodes.first_leaf[node] - unit * LEAVES, 0)
    high = np.minimum(nodes.end_leaf[node] - unit * LEAVES, LEAVES)
    cleared = (_FULL >> (LEAVES - high + low).astype(np.uint64)) << low.astype(np.uint64)
    return _Splits(unit=unit_start[nodes.tree[node]] + unit, node=node, mask=~cleared)


def _edges(
    nodes: _Nodes, by_category: NDArray[np.bool_], features: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The thresholds of each feature, where they start, and for each node the rank of its own among them."""
    rank = np.zeros(nodes.feature.size, dtype=np.int64)
    edges = []
    for feature in range(features):
        which = np.flatnonzero((nodes.feature == feature) & ~by_category)
        values, rank[which] = np.unique(nodes.threshold[which], return_inverse=True)
        if values.size >= MISSING_RIGHT:
            raise UnfitForestError(f"feature {feature} has {values.size} thresholds")
        filled = np.full((1 << values.size.bit_length()) - 1, np.inf)
        filled[: values.size] = values
        edges.append(filled)
    return np.concatenate(edges), _starts(np.array([part.size for part in edges])), rank


def _category_groups(
    trees: Sequence[Tree],
    nodes: _Nodes,
    by_category: NDArray[np.bool_],
    unit_start: NDArray[np.int64],
    features: int,
) -> _Groups:
    # For each node the words of its set of categories: where they start, and how many.
    start, words = np.zeros_like(nodes.tree), np.zeros_like(nodes.tree)
    word_start = _starts(np.array([tree.cat_threshold.size for tree in trees]))
    node_start = _starts(np.array([tree.left_child.size for tree in trees]))
    for number, tree in enumerate(trees):
        which = np.flatnonzero((tree.decision_type & _CATEGORY_SPLIT) != 0)
        sets = tree.threshold[which].astype(np.int64)
        start[node_start[number] + which] = word_start[number] + tree.cat_boundaries[sets]
        words[node_start[number] + which] = tree.cat_boundaries[sets + 1] - tree.cat_boundaries[sets]
    bits = np.concatenate([tree.cat_threshold for tree in trees])

    splits = _splits(nodes, np.flatnonzero(by_category), unit_start)
    feature = nodes.feature[splits.node]
    levels = np.zeros(features, dtype=np.int64)
    np.maximum.at(levels, feature, words[splits.node] * _WORD_BITS)
    order = np.lexsort((splits.unit, feature))
    unit, feature, node, mask = splits.unit[order], feature[order], splits.node[order], splits.mask[order]
    begins = np.flatnonzero((np.diff(unit, prepend=-1) != 0) | (np.diff(feature, prepend=-1) != 0))
    size = levels[feature[begins]] + 1
    if int(levels.max(initial=0)) >= MISSING_RIGHT or int(size.sum()) * 8 > _MAX_TABLE_BYTES:
        raise UnfitForestError(f"{levels.max()} categories, {begins.size} groups of splits by category")
    tables = [np.empty(0, dtype=np.uint64)]
    for coded in np.flatnonzero(levels):
        own = feature == coded
        heads = np.flatnonzero(own[begins])
        inside = begins[heads] - int(np.argmax(own))
        tables.append(_masks(bits, start[node[own]], words[node[own]], mask[own], inside, int(levels[coded])).ravel())
    by_unit = np.lexsort((feature[begins], unit[begins]))
    return _Groups(
        levels=levels,
        unit=unit[begins][by_unit],
        feature=feature[begins][by_unit],
        offset=_starts(size)[:-1][by_unit],
        mask=np.concatenate(tables),
    )


def _masks(
    bits: NDArray[np.int64],
    start: NDArray[np.int64],
    words: NDArray[np.int64],
    mask: NDArray[np.uint64],
    groups: NDArray[np.int64],
    levels: int,
) -> NDArray[np.uint64]:
    """Groups x (levels + 1): the leaves left for each category, and last for whatever is in no set of categories."""
    table = np.empty((groups.size, levels + 1), dtype=np.uint64)
    table[:, levels] = np.bitwise_and.reduceat(mask, groups)
    for word in range(levels // _WORD_BITS):
        known = word < words
        held = np.where(known, bits[np.where(known, start + word, 0)], 0)
        member = (held[:, np.newaxis] >> np.arange(_WORD_BITS)) & 1
        left = np.where(member, _FULL, mask[:, np.newaxis])
        table[:, word * _WORD_BITS : (word + 1) * _WORD_BITS] = np.bitwise_and.reduceat(left, groups, axis=0)
    return table
