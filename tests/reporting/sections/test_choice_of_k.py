from __future__ import annotations

from dataclasses import replace

import pytest

from engine.clusters.record import Clustered, Kept
from engine.reporting.facts import Facts
from engine.reporting.sections.choice_of_k import section
from engine.reporting.words import Voice
from tests.bundles import clusters, full_bundle
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, told


def with_clusters(found: Clustered | None) -> Facts:
    return facts_of(bundle=replace(full_bundle(), clusters=found))


def test_the_curve_marks_the_number_that_was_chosen() -> None:
    facts = learnt()
    made = section(facts)
    check(facts, made)
    found = clusters()
    curve = figure(made, "clusters_silhouette")
    assert curve.table["k"].to_list() == [point.k for point in found.curve]
    assert curve.table["silhouette"].to_list() == [point.silhouette for point in found.curve]
    assert curve.marked == (str(len(found.clustering.ids)),)
    assert "clusters_bic" not in {figure.key for figure in made.figures}


@pytest.mark.parametrize(("better", "says"), [(False, "have the best silhouette"), (True, "the best is 0.990 with 3")])
def test_the_title_says_whether_another_number_is_better(better: bool, says: str) -> None:
    found = clusters()
    assert len(found.clustering.ids) == 2
    values = (0.5, 0.99) if better else (0.5, 0.4)
    curve = tuple(replace(point, silhouette=value) for point, value in zip(found.curve, values, strict=True))
    made = section(with_clusters(replace(found, curve=curve)))
    assert says in Voice("en").put(figure(made, "clusters_silhouette").title)


def test_each_cluster_has_its_silhouette() -> None:
    found = clusters()
    made = section(learnt())
    assert found.quality is not None
    table = figure(made, "clusters_silhouette_each").table
    assert sorted(table["silhouette"].to_list()) == sorted(each.silhouette for each in found.quality.clusters)
    assert set(table["cluster"].to_list()) == set(found.clustering.names)


def test_clusters_that_hardly_stand_apart_are_an_alarm() -> None:
    found = clusters()
    assert found.quality is not None
    made = section(with_clusters(replace(found, quality=replace(found.quality, silhouette=0.1))))
    assert "hardly stand apart" in Voice("en").put(made.alarms[0])


def test_notes_and_kept_clusters_are_told() -> None:
    facts = with_clusters(replace(clusters(), notes=("so it is",), kept=Kept("abc", ("too many",)), quality=None))
    made = section(facts)
    check(facts, made)
    text = told(facts, made)
    assert "so it is" in text
    assert "those of the bundle abc" in text


def test_without_clusters_the_section_says_so() -> None:
    facts = with_clusters(None)
    assert "There are no clusters" in told(facts, section(facts))
    assert section(facts_of()).missing is not None
