from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from engine.clusters.choose import Choice, choose_k
from engine.clusters.moves import count_moves
from engine.clusters.stability import (
    Labelled,
    Resampled,
    best_jaccards,
    resample,
    resample_tasks,
    summarise,
    write_labelled,
)
from engine.clusters.units import rounded
from engine.config_learning import Clusters


def blobs(centres: list[list[float]], n: int = 450, spread: float = 0.4, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    places = np.array(centres)
    labels = random.integers(len(places), size=n)
    return rounded(places[labels] + random.normal(scale=spread, size=(n, places.shape[1])))


def chosen(rows: np.ndarray, k: int, algorithm: str = "kmeans", resamples: int = 4) -> tuple[Choice, Clusters]:
    settings = Clusters.model_validate(
        {"k_min": k, "k_max": k, "algorithm": algorithm, "resamples": resamples, "neighbours": 10}
    )
    return choose_k(rows, settings, 1), settings


APART = [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]


@pytest.mark.parametrize("algorithm", ["kmeans", "mixture", "ward", "dbscan", "hdbscan"])
def test_clusters_far_apart_are_stable_whatever_finds_them(algorithm: str) -> None:
    choice, settings = chosen(blobs(APART), 3, algorithm)
    tasks = resample_tasks(Labelled(choice.users, choice.labels), choice.fit, settings, 1)
    stability = summarise([resample(task) for task in tasks], settings.stable_at)
    assert stability.resamples == 4
    # Density leaves some users at the edges alone, not the same ones in every sample.
    least = 0.8 if algorithm in {"dbscan", "hdbscan"} else 0.97
    assert stability.ari > least
    assert stability.ari_low <= stability.ari
    assert len(stability.jaccards) == 3
    assert all(value is not None and value > least for value in stability.jaccards)
    assert stability.unstable == ()


def test_a_cluster_that_is_cut_at_will_is_unstable_and_the_far_one_is_not() -> None:
    # A ball has no seams: cut into three, it is cut elsewhere in every sample.
    random = np.random.default_rng(5)
    ball, far_away = random.normal(size=(400, 6)), random.normal(scale=0.3, size=(150, 6))
    far_away[:, 0] += 40
    choice, settings = chosen(rounded(np.vstack([ball, far_away])), 4, resamples=8)
    far = int(choice.labels[-1])
    tasks = resample_tasks(Labelled(choice.users, choice.labels), choice.fit, settings, 3)
    stability = summarise([resample(task) for task in tasks], 0.8)
    assert stability.jaccards[far] == 1.0
    assert stability.unstable == tuple(label for label in range(4) if label != far)


def test_files_threads_and_order_change_no_bit(tmp_path: Path) -> None:
    choice, settings = chosen(blobs(APART, spread=3.0), 3)
    labelled = Labelled(choice.users, choice.labels)
    here = [resample(task) for task in resample_tasks(labelled, choice.fit, settings, 7)]
    path = write_labelled(labelled, tmp_path / "sample.npz")
    tasks = resample_tasks(path, choice.fit, settings, 7, threads=2)
    with ThreadPoolExecutor(2) as pool:
        there = list(pool.map(resample, tasks))
    assert there == here
    assert len(set(here)) == len(here)
    assert summarise(here[::-1], 0.6) == summarise(here, 0.6)
    assert here != [resample(task) for task in resample_tasks(labelled, choice.fit, settings, 8)]


def test_rows_of_several_users_are_drawn_as_users() -> None:
    # One row stands for most users, so that a sample of rows would not be one of users.
    rows = np.vstack([np.zeros((5000, 1)), np.full((40, 1), 5.0), [[9.0]]])
    choice, settings = chosen(rows, 3, resamples=8)
    results = [resample(t) for t in resample_tasks(Labelled(choice.users, choice.labels), choice.fit, settings, 1)]
    assert all(result.jaccards[0] == result.jaccards[1] == 1.0 for result in results)
    # The only user of a cluster is in about 63 % of the samples.
    assert {result.jaccards[2] for result in results} == {1.0, None}
    assert summarise(results, 0.6).jaccards == (1.0, 1.0, 1.0)


def test_summary_of_made_up_samples() -> None:
    resampled = [
        Resampled(0.8, (1.0, 0.5, None)),
        Resampled(1.0, (0.8, None, None)),
        Resampled(0.6, (0.9, 0.6, None)),
    ]
    stability = summarise(resampled, 0.6)
    assert stability.ari == pytest.approx(0.8)
    assert stability.ari_low == pytest.approx(0.62)
    assert stability.jaccards == (pytest.approx(0.9), pytest.approx(0.55), None)
    assert stability.unstable == (1,)


labels = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=2, max_size=40)


@given(labels)
def test_figures_are_those_of_sets_and_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    old, new = (np.array(side) for side in zip(*pairs, strict=True))
    moves = count_moves(old, new)
    assert moves.ari == pytest.approx(adjusted_rand_score(old, new), abs=1e-12)
    for label, found in enumerate(best_jaccards(moves, 4)):
        own = set(np.flatnonzero(old == label).tolist())
        others = [set(np.flatnonzero(new == other).tolist()) for other in range(4)]
        expected = max((len(own & other) / len(own | other) for other in others if other), default=0.0)
        assert found == (expected if own else None)
