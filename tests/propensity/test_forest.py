from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.propensity import forest as forest_module
from engine.propensity.backend import load_model
from engine.propensity.check_rows import probing_rows
from engine.propensity.forest import UnfitForestError, compile_forest, forest_scores
from engine.propensity.model_text import Tree, canonical_text

if TYPE_CHECKING:
    import lightgbm
    from numpy.typing import NDArray

    from engine.propensity.backend import LoadedModel

NUMERIC, CATEGORICAL = 3, 2
FEATURES = NUMERIC + CATEGORICAL
KINDS = [False] * NUMERIC + [True] * CATEGORICAL
LEVELS = (5, 90)


@dataclass(frozen=True)
class Case:
    missing: float = 0.1
    leaves: int = 7
    rounds: int = 6
    rows: int = 600
    constant: bool = False
    options: tuple[tuple[str, Any], ...] = ()


CASES: Mapping[str, Case] = {
    "missing values": Case(),
    "no missing values in training": Case(missing=0.0),
    "mostly missing": Case(missing=0.8),
    "missing values are zero": Case(options=(("use_missing", False),)),
    "stumps": Case(leaves=2, rounds=20),
    "as many leaves as bits": Case(leaves=64, rows=2000),
    "one leaf more": Case(leaves=65, rows=2000),
    "several words": Case(leaves=300, rows=4000, rounds=3),
    "the most leaves": Case(leaves=1024, rows=12_000, rounds=2),
    "nothing to learn": Case(constant=True),
    "one against the rest": Case(options=(("max_cat_to_onehot", 100),)),
    "monotone": Case(options=(("monotone_constraints", [1, -1, 0, 0, 0]),)),
}


@cache
def trained(name: str) -> LoadedModel:
    import lightgbm

    case = CASES[name]
    generator = np.random.default_rng(3)
    numbers = np.column_stack(
        (
            generator.poisson(1.0, case.rows) - 1.0,
            generator.normal(size=case.rows) * 1e-3,
            np.where(generator.random(case.rows) < 0.5, 0.0, generator.lognormal(8, 3, case.rows)),
        )
    )
    categories = np.column_stack([generator.integers(0, levels, case.rows) for levels in LEVELS])
    effect = numbers[:, 0] + 2e3 * numbers[:, 1] * (categories[:, 1] % 3 - 1) + (numbers[:, 2] > 3000)
    label = effect + categories[:, 0] % 2 + generator.normal(size=case.rows) > 1
    matrix = np.column_stack((numbers, categories)).astype(np.float64)
    matrix[generator.random(matrix.shape) < case.missing] = np.nan
    data = lightgbm.Dataset(
        matrix,
        label=np.zeros(case.rows) if case.constant else label,
        feature_name=[f"f{position}" for position in range(FEATURES)],
        categorical_feature=[position for position, coded in enumerate(KINDS) if coded],
    )
    parameters = {
        "objective": "binary",
        "num_leaves": case.leaves,
        "min_data_in_leaf": 2,
        "min_sum_hessian_in_leaf": 1e-6,
        "cat_smooth": 1.0,
        "num_threads": 1,
        "verbosity": -1,
        "enable_bundle": False,
        **dict(case.options),
    }
    booster = lightgbm.train(parameters, data, num_boost_round=case.rounds)
    return load_model(canonical_text(booster.model_to_string()), KINDS)


def raw(booster: lightgbm.Booster, matrix: NDArray[np.float64]) -> bytes:
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=1)).tobytes()


@pytest.mark.parametrize("name", CASES)
def test_the_sums_are_those_of_lightgbm_bit_for_bit(name: str) -> None:
    model = trained(name)
    forest = compile_forest(model.trees, FEATURES)
    rows = probing_rows(model.trees, forest.levels.tolist())
    assert forest_scores(forest, rows, 1).tobytes() == raw(model.booster, rows)


def test_the_cases_are_what_they_are_called() -> None:
    decisions = {name: {int(d) for tree in trained(name).trees for d in tree.decision_type} for name in CASES}
    # Bits 2 and 3 are 0 where LightGBM has seen no missing value, 8 where it has; categories are odd.
    assert decisions["missing values"] == {8, 9, 10}
    assert decisions["no missing values in training"] == {1, 2, 9}
    assert decisions["missing values are zero"] == {1, 2, 9}
    assert decisions["mostly missing"] == {8, 10}
    assert decisions["nothing to learn"] == set()
    assert max(tree.leaf_value.size for tree in trained("one leaf more").trees) == 65
    assert max(tree.leaf_value.size for tree in trained("the most leaves").trees) > 800


NUMBERS = st.one_of(
    st.floats(width=64),
    st.integers(-3, 6).map(float),
    st.floats(-3e-3, 3e-3),
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, 1.0000000180025095e-35, -1e-35, 2e-35, 5e-324]),
)
CODES = st.one_of(st.integers(-2, 100).map(float), NUMBERS)
ROWS = st.lists(st.tuples(*[CODES if coded else NUMBERS for coded in KINDS]), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(CASES)), rows=ROWS)
def test_any_values_score_as_in_lightgbm(name: str, rows: list[tuple[float, ...]]) -> None:
    model = trained(name)
    matrix = np.array(rows, dtype=np.float64)
    forest = compile_forest(model.trees, FEATURES)
    assert forest_scores(forest, matrix, 1).tobytes() == raw(model.booster, matrix)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["missing values", "several words"]),
    cuts=st.lists(st.integers(0, 5000), max_size=5),
    threads=st.integers(1, 5),
    order=st.sampled_from(["C", "F"]),
)
def test_threads_slices_and_layout_change_no_bit(name: str, cuts: list[int], threads: int, order: str) -> None:
    model = trained(name)
    forest = compile_forest(model.trees, FEATURES)
    probes = probing_rows(model.trees, forest.levels.tolist())
    rows = probes[np.random.default_rng(1).integers(0, len(probes), 5000)]
    whole = raw(model.booster, rows)
    laid: NDArray[np.float64] = np.asarray(rows, order=order)  # type: ignore[call-overload]
    laid.flags.writeable = False
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [forest_scores(forest, laid[start:end], threads) for start, end in pairwise(bounds)]
    assert np.concatenate(parts).tobytes() == whole


def test_a_value_just_above_a_threshold_goes_right() -> None:
    leaf = np.array([1.0, 2.0])
    tree = one_split(threshold=0.5, decision=8, leaf_value=leaf)
    rows = np.array([[0.5], [np.nextafter(0.5, 1)], [np.nan]])
    assert forest_scores(compile_forest([tree], 1), rows, 1).tolist() == [1.0, 2.0, 2.0]
    left = one_split(threshold=0.5, decision=10, leaf_value=leaf)
    # Two trees of one feature that send missing values different ways.
    assert forest_scores(compile_forest([tree, left], 1), rows, 1).tolist() == [2.0, 4.0, 3.0]


def one_split(threshold: float, decision: int, leaf_value: NDArray[np.float64]) -> Tree:
    return Tree(
        split_feature=np.array([0]),
        threshold=np.array([threshold]),
        decision_type=np.array([decision]),
        left_child=np.array([-1]),
        right_child=np.array([-2]),
        leaf_value=leaf_value,
        cat_boundaries=np.array([0]),
        cat_threshold=np.array([], dtype=np.int64),
    )


def test_a_model_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = np.zeros(2)
    stumps = [one_split(threshold=float(number), decision=8, leaf_value=leaf) for number in range(8)]
    monkeypatch.setattr(forest_module, "MISSING_RIGHT", 8)
    with pytest.raises(UnfitForestError, match="8 thresholds"):
        compile_forest(stumps, 1)
    assert compile_forest(stumps[1:], 1).edges.size == 7
    monkeypatch.setattr(forest_module, "MISSING_RIGHT", 65_535)
    monkeypatch.setattr(forest_module, "_MAX_TABLE_BYTES", 1000)
    with pytest.raises(UnfitForestError, match="groups of splits by category"):
        compile_forest(trained("missing values").trees, FEATURES)


def test_leaves_are_added_in_the_order_of_the_trees() -> None:
    values = [1e16, 1.0, -1e16, 1.0]
    trees = [one_split(threshold=0.0, decision=8, leaf_value=np.full(2, value)) for value in values]
    expected = ((0.0 + 1e16 + 1.0) - 1e16) + 1.0
    assert forest_scores(compile_forest(trees, 1), np.zeros((70, 1)), 1).tolist() == [expected] * 70
