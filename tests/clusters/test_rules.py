from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.rules import CurvePoint, chosen
from engine.config_learning import Clusters


def curve(k_min: int = 2, **columns: list[float | None]) -> list[CurvePoint]:
    figures: dict[str, list[float | None]] = {}
    length = len(next(iter(columns.values())))
    for name, default in (("silhouette", 0.5), ("inertia", 1.0), ("smallest_share", 0.2)):
        figures[name] = columns.get(name, [default] * length)
    return [
        CurvePoint(
            k=k_min + i,
            silhouette=figures["silhouette"][i],
            inertia=figures["inertia"][i] or 0.0,
            smallest_share=figures["smallest_share"][i] or 0.0,
            calinski_harabasz=1.0,
            davies_bouldin=1.0,
            iterations=1,
            converged=True,
            **{name: columns[name][i] for name in ("gap", "gap_error", "bic") if name in columns},
        )
        for i in range(length)
    ]


def choose(points: list[CurvePoint], rule: str, **settings: float) -> int:
    given = {"choose": rule, "algorithm": "mixture" if rule == "bic" else "kmeans", **settings}
    return chosen(points, Clusters.model_validate(given))[0]


@pytest.mark.parametrize(
    ("silhouettes", "tolerance", "k"),
    [
        ([0.50, 0.54, 0.60, 0.55], 0.0, 4),
        ([0.50, 0.54, 0.60, 0.55], 0.1, 3),
        ([0.50, 0.54, 0.60, 0.55], 0.2, 2),
        ([-0.30, -0.21, -0.20], 0.1, 3),
        ([-0.30, -0.21, -0.20], 0.04, 4),
        ([None, 0.2, 0.3], 0.0, 4),
        ([None, None], 0.1, 2),
    ],
)
def test_silhouette_takes_the_smallest_near_the_best(silhouettes: list[float | None], tolerance: float, k: int) -> None:
    assert choose(curve(silhouette=silhouettes), "silhouette", tolerance=tolerance) == k


@pytest.mark.parametrize(
    ("inertias", "k"),
    [
        ([100.0, 40.0, 30.0, 22.0, 15.0], 3),
        ([100.0, 80.0, 20.0, 18.0, 16.0], 4),
        ([100.0, 75.0, 50.0, 25.0, 0.0], 2),
        ([100.0, 99.0, 98.0, 60.0, 0.0], 2),
        ([100.0, 100.0, 100.0], 2),
        ([100.0, 10.0], 2),
        ([7.0], 2),
    ],
)
def test_elbow_is_the_point_farthest_below_the_chord(inertias: list[float | None], k: int) -> None:
    assert choose(curve(inertia=inertias), "elbow") == k


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=10))
def test_elbow_is_the_largest_distance_to_the_line_through_the_ends(drops: list[float]) -> None:
    inertias = np.cumsum([0.0, *drops])[::-1]
    if inertias[0] - inertias[-1] < 1e-3:
        return
    k = choose(curve(inertia=inertias.tolist()), "elbow")
    x = np.linspace(0, 1, len(inertias))
    y = (inertias - inertias[-1]) / (inertias[0] - inertias[-1])
    distance = (1 - x - y) / np.sqrt(2)
    assert distance[k - 2] == pytest.approx(distance.max(), abs=1e-12)


@pytest.mark.parametrize(
    ("gaps", "errors", "k"),
    [
        ([0.2, 0.5, 0.9, 0.85], [0.01] * 4, 4),
        ([0.2, 0.19, 0.9, 0.85], [0.01] * 4, 2),
        ([0.20, 0.21, 0.9, 0.85], [0.02] * 4, 2),
        ([0.2, 0.3, 0.4], [0.01] * 3, 4),
        ([None, 0.3, 0.1], [None, 0.1, 0.1], 3),
        ([None, None], [None, None], 2),
    ],
)
def test_gap_takes_the_first_that_the_next_does_not_beat(
    gaps: list[float | None], errors: list[float | None], k: int
) -> None:
    assert choose(curve(gap=gaps, gap_error=errors), "gap") == k


def test_bic_takes_the_least() -> None:
    assert choose(curve(bic=[30.0, 10.0, 10.0, 12.0]), "bic") == 3


SHARES = [0.2, 0.004, 0.02, 0.009]


@pytest.mark.parametrize(
    ("rule", "columns", "k"),
    [
        ("silhouette", {"silhouette": [0.2, 0.9, 0.3, 0.8]}, 4),
        ("elbow", {"inertia": [100.0, 20.0, 18.0, 17.0]}, 4),
        ("gap", {"gap": [0.1, 0.9, 0.3, 0.4], "gap_error": [0.01] * 4}, 4),
        ("bic", {"bic": [50.0, 10.0, 20.0, 5.0]}, 4),
    ],
)
def test_a_k_with_a_tiny_cluster_is_not_taken_if_another_can_be(
    rule: str, columns: dict[str, list[float | None]], k: int
) -> None:
    points = curve(**columns, smallest_share=list(SHARES))
    assert choose(points, rule, min_share=0.01) == k
    assert choose(points, rule, min_share=0) == {"silhouette": 3, "elbow": 3, "gap": 3, "bic": 5}[rule]


def test_the_best_of_all_is_taken_with_a_note_where_every_k_has_a_tiny_cluster() -> None:
    points = curve(silhouette=[0.2, 0.9], smallest_share=[0.01, 0.004])
    k, notes = chosen(points, Clusters(min_share=0.05))
    assert k == 3
    assert len(notes) == 1
    assert "less than 5.0% of the users" in notes[0]
    assert chosen(points, Clusters(min_share=0.01)) == (2, ())


def test_a_rule_without_figures_takes_the_smallest_and_says_so() -> None:
    k, notes = chosen(curve(gap=[None, None]), Clusters(choose="gap"))
    assert k == 2
    assert "clusters.choose = 'gap' has no figure" in notes[0]
