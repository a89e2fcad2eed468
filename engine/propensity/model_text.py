"""The text of a LightGBM model: its canonical form, and the check that it passes before LightGBM may read it.

LightGBM trusts a model file: an edited child index reads outside its arrays or loops for ever, and a shortened file
ends the process (CVE-2026-92786). So the text is held to a grammar narrower than LightGBM's own reader, in which every
line is known, every number is in range and every tree is a tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from engine.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_END = "end of trees\n"
_MAX_LEAVES = 1024
_INT32, _UINT32 = 2**31 - 1, 2**32 - 1
# The sum of any number of leaves stays a number.
_LARGEST_LEAF = 1e100
_INTEGER = r"-?\d{1,10}"
_NUMBER = r"-?\d{1,24}(?:\.\d{1,24})?(?:e[+-]\d{1,3})?"
_INTEGERS = re.compile(rf"{_INTEGER}(?: {_INTEGER})*", re.ASCII)
_NUMBERS = re.compile(rf"{_NUMBER}(?: {_NUMBER})*", re.ASCII)
# LightGBM writes an infinite threshold where a split separates missing values from all others.
_THRESHOLD = rf"(?:{_NUMBER}|-?inf)"
_THRESHOLDS = re.compile(rf"{_THRESHOLD}(?: {_THRESHOLD})*", re.ASCII)
_INFO = re.compile(rf"none|\[{_NUMBER}:{_NUMBER}\]|{_INTEGER}(?::{_INTEGER})*", re.ASCII)
_CATEGORY_KEYS = ("cat_boundaries", "cat_threshold")
_KEYS = (
    *("Tree", "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type"),
    *("left_child", "right_child", "leaf_value", "leaf_weight", "leaf_count"),
    *("internal_value", "internal_weight", "internal_count", *_CATEGORY_KEYS, "is_linear", "shrinkage"),
)
# Bit 0: split by category, bit 1: missing goes left, bits 2 and 3: what counts as missing (none, or NaN).
_NUMERIC_DECISIONS, _CATEGORY_DECISIONS = (0, 2, 8, 10), (1, 9)


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree: its inner nodes, the root first, and its leaves; a negative child `c` is leaf `-c - 1`."""

    split_feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    """A row goes left when its value is at most this; for a category split, the number of the set of categories."""
    decision_type: NDArray[np.int64]
    left_child: NDArray[np.int64]
    right_child: NDArray[np.int64]
    leaf_value: NDArray[np.float64]
    cat_boundaries: NDArray[np.int64]
    """Set `n` of categories is the words `[n]` to `[n + 1]` of `cat_threshold`; of size 1 without such splits."""
    cat_threshold: NDArray[np.int64]
    """Words of 32 bits: a category in the set goes left; one that is not, is negative or is missing goes right."""


def feature_name(position: int) -> str:
    """Name of a feature inside the text; LightGBM does not allow every character, so the real names are in the spec."""
    return f"f{position}"


def canonical_text(text: str) -> str:
    """The part of a saved model that decides its predictions.

    What follows the trees (importances and parameters) names the number of threads, and reading it back would let a
    file set LightGBM's parameters. Monotone constraints count in training only.
    """
    trees, _, _ = text.partition(_END)
    return re.sub(r"^monotone_constraints=.*\n", "", trees, count=1, flags=re.MULTILINE) + _END


def parse_model_text(text: str, categorical: Sequence[bool]) -> tuple[Tree, ...]:
    """The trees of a canonical model text, after every line of it was checked.

    Args:
        text: As `canonical_text` gives it.
        categorical: One entry per feature of the model, in order: whether it is split by category.

    Raises:
        IntegrityError: The text is not exactly what LightGBM writes for a binary model of these features.
    """
    if not text.isascii():
        _damaged("the text", "has characters outside ASCII")
    head, _, body = text.partition("\n\n")
    sizes = _check_header(head.split("\n"), len(categorical))
    trees = []
    start = 0
    for number, size in enumerate(sizes):
        trees.append(_parse_tree(body[start : start + size], number, np.asarray(categorical, dtype=bool)))
        start += size
    if body[start:] != _END:
        _damaged("the text", "does not end after its last tree")
    return tuple(trees)


def _check_header(lines: list[str], features: int) -> list[int]:
    fixed = [
        *("tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0"),
        f"max_feature_idx={features - 1}",
        "objective=binary sigmoid:1",
        "feature_names=" + " ".join(feature_name(position) for position in range(features)),
    ]
    if lines[: len(fixed)] != fixed:
        _damaged("the header", f"is not that of a binary model of {features} features")
    fields = dict(line.partition("=")[::2] for line in lines[len(fixed) :])
    if len(lines) != len(fixed) + 2 or list(fields) != ["feature_infos", "tree_sizes"]:
        _damaged("the header", "has other lines than feature_infos and tree_sizes")
    infos = fields["feature_infos"].split(" ")
    if len(infos) != features or not all(_INFO.fullmatch(info) for info in infos):
        _damaged("the header", f"feature_infos does not describe {features} features")
    if not _INTEGERS.fullmatch(fields["tree_sizes"]):
        _damaged("the header", "tree_sizes is not a list of whole numbers")
    sizes = [int(size) for size in fields["tree_sizes"].split(" ")]
    if min(sizes) < 1:
        _damaged("the header", "tree_sizes has a size below 1")
    return sizes


def _parse_tree(block: str, number: int, categorical: NDArray[np.bool_]) -> Tree:
    where = f"tree {number}"
    if not block.endswith("\n\n\n"):
        _damaged(where, "does not end where tree_sizes says")
    lines = block[:-3].split("\n")
    values = dict(line.partition("=")[::2] for line in lines)
    categories = int(_integers(where, values, "num_cat", 1, 0, _MAX_LEAVES - 1)[0])
    keys = [key for key in _KEYS if categories or key not in _CATEGORY_KEYS]
    if len(lines) != len(keys) or list(values) != keys or values["Tree"] != str(number) or values["is_linear"] != "0":
        _damaged(where, "has other lines than expected")
    leaves = int(_integers(where, values, "num_leaves", 1, 1, _MAX_LEAVES)[0])
    nodes = leaves - 1
    boundaries, words = _category_sets(where, values, categories)
    tree = Tree(
        split_feature=_integers(where, values, "split_feature", nodes, 0, categorical.size - 1),
        threshold=np.array(_tokens(where, values, "threshold", nodes, _THRESHOLDS), dtype=np.float64),
        decision_type=_integers(where, values, "decision_type", nodes, 0, 10),
        left_child=_integers(where, values, "left_child", nodes, -leaves, nodes - 1),
        right_child=_integers(where, values, "right_child", nodes, -leaves, nodes - 1),
        leaf_value=_numbers(where, values, "leaf_value", leaves),
        cat_boundaries=boundaries,
        cat_threshold=words,
    )
    if np.any(np.abs(tree.leaf_value) > _LARGEST_LEAF):
        _damaged(where, f"leaf_value is beyond {_LARGEST_LEAF:g}")
    # A model that learned nothing is one leaf, for which LightGBM writes no weight.
    _numbers(where, values, "leaf_weight", leaves if nodes else 0)
    _integers(where, values, "leaf_count", leaves, 0, _INT32)
    _integers(where, values, "internal_count", nodes, 0, _INT32)
    for key in ("split_gain", "internal_value", "internal_weight"):
        _numbers(where, values, key, nodes)
    _numbers(where, values, "shrinkage", 1)
    _check_children(where, tree)
    _check_decisions(where, tree, categorical)
    return tree


def _check_children(where: str, tree: Tree) -> None:
    """Every node but the root and every leaf has one parent, and a node comes after its parent: so no cycle."""
    nodes = tree.left_child.size
    children = np.concatenate((tree.left_child, tree.right_child))
    expected = np.concatenate((np.arange(-nodes - 1, 0), np.arange(1, nodes))) if nodes else children
    parents = np.tile(np.arange(nodes), 2)
    if not np.array_equal(np.sort(children), expected) or np.any((children >= 0) & (children <= parents)):
        _damaged(where, "the children do not form a tree")


def _check_decisions(where: str, tree: Tree, categorical: NDArray[np.bool_]) -> None:
    by_category = categorical[tree.split_feature]
    known = np.where(
        by_category,
        np.isin(tree.decision_type, _CATEGORY_DECISIONS),
        np.isin(tree.decision_type, _NUMERIC_DECISIONS),
    )
    if not known.all():
        _damaged(where, "decision_type does not fit the features")
    if not np.array_equal(np.sort(tree.threshold[by_category]), np.arange(tree.cat_boundaries.size - 1)):
        _damaged(where, "the category splits and their sets do not match")


def _category_sets(where: str, values: dict[str, str], categories: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not categories:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    bounds = _integers(where, values, "cat_boundaries", categories + 1, 0, _INT32)
    if bounds[0] != 0 or np.any(np.diff(bounds) < 1):
        _damaged(where, "cat_boundaries does not ascend from 0")
    return bounds, _integers(where, values, "cat_threshold", int(bounds[-1]), 0, _UINT32)


def _integers(where: str, values: dict[str, str], key: str, count: int, low: int, high: int) -> NDArray[np.int64]:
    array = np.array(_tokens(where, values, key, count, _INTEGERS), dtype=np.int64)
    if np.any((array < low) | (array > high)):
        _damaged(where, f"{key} is not between {low} and {high}")
    return array


def _numbers(where: str, values: dict[str, str], key: str, count: int) -> NDArray[np.float64]:
    array = np.array(_tokens(where, values, key, count, _NUMBERS), dtype=np.float64)
    if not np.isfinite(array).all():
        _damaged(where, f"{key} is not finite")
    return array


def _tokens(where: str, values: dict[str, str], key: str, count: int, grammar: re.Pattern[str]) -> list[str]:
    text = values.get(key)
    if text is None:
        _damaged(where, f"{key} is missing")
    if count == 0 and text == "":
        return []
    tokens = text.split(" ")
    if len(tokens) != count or not grammar.fullmatch(text):
        _damaged(where, f"{key} is not a list of {count} numbers")
    return tokens


def _damaged(where: str, what: str) -> NoReturn:
    message = f"the text of a propensity model is damaged: {where} {what}"
    raise IntegrityError(
        message, code="model-text", hint="restore the bundle from a copy, or make a new one with `tamis fit`"
    )
