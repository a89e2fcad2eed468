from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.propensity.importance import permutation_importance
from engine.propensity.metrics import measure

NAMES = ("signal", "noise", "ignored")


def rows(count: int, rate: float = 0.3) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    generator = np.random.Generator(np.random.PCG64(count))
    matrix = np.round(generator.normal(size=(count, 3)), 2)
    labels = matrix[:, 0] + 0.3 * generator.normal(size=count) > np.quantile(matrix[:, 0], 1 - rate)
    return matrix, labels


def score(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + (2.0 ** -(matrix[:, 0] + 0.1 * matrix[:, 1])))


def test_drops_are_those_of_a_plain_loop() -> None:
    matrix, labels = rows(400)

    def drop(position: int) -> float:
        generator = np.random.Generator(np.random.PCG64([5, position]))
        aucs = []
        for _ in range(3):
            changed = matrix.copy()
            changed[:, position] = matrix[generator.permutation(400), position]
            aucs.append(measure(labels, score(changed)).auc or 0.0)
        return (measure(labels, score(matrix)).auc or 0.0) - sum(aucs) / 3

    found = permutation_importance(score, matrix, labels, NAMES, 5)
    assert [name for name, _ in found] == ["signal", *sorted(NAMES[1:], key=lambda name: -dict(found)[name])]
    assert dict(found) == pytest.approx({name: drop(position) for position, name in enumerate(NAMES)}, abs=1e-12)
    assert found[0][1] > 0.3
    assert dict(found)["ignored"] == 0


def test_the_matrix_is_left_as_it_was_and_the_result_repeats() -> None:
    matrix, labels = rows(200)
    before = matrix.copy()
    first = permutation_importance(score, matrix, labels, NAMES, 1)
    assert permutation_importance(score, matrix, labels, NAMES, 1) == first
    assert permutation_importance(score, matrix, labels, NAMES, 2) != first
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize(("used", "calls"), [(None, 1 + 3 * 4), ({"signal"}, 1 + 4), (set(), 1)])
def test_what_no_tree_splits_on_costs_no_call(used: set[str] | None, calls: int) -> None:
    matrix, labels = rows(100)
    sizes = []

    def counted(given: NDArray[np.float64]) -> NDArray[np.float64]:
        sizes.append(len(given))
        return score(given)

    found = permutation_importance(counted, matrix, labels, NAMES, 1, repeats=4, used=used)
    assert sizes == [100] * calls
    everything = dict(permutation_importance(score, matrix, labels, NAMES, 1, repeats=4))
    assert dict(found) == {name: everything[name] if used is None or name in used else 0.0 for name in NAMES}


@pytest.mark.parametrize(("rate", "positives"), [(0.01, 50), (0.4, 500), (0.99, 950)])
def test_of_many_rows_a_part_is_scored_and_the_rarer_class_is_kept(rate: float, positives: int) -> None:
    matrix, _ = rows(5_000)
    labels = np.arange(5_000) < 5_000 * rate
    matrix[:, 2] = labels
    seen: list[NDArray[Any]] = []

    def watched(given: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(given.copy())
        return given[:, 2]

    permutation_importance(watched, matrix, labels, NAMES, 3, repeats=1, max_rows=1_000, used=())
    assert [len(given) for given in seen] == [1_000]
    assert seen[0][:, 2].sum() == positives
    assert len(np.unique(seen[0], axis=0)) > 900


@pytest.mark.parametrize("label", [False, True])
def test_one_class_tells_nothing(label: bool) -> None:
    matrix, _ = rows(50)
    found = permutation_importance(score, matrix, np.full(50, label), NAMES, 1)
    assert found == (("ignored", 0.0), ("noise", 0.0), ("signal", 0.0))
