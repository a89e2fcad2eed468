from __future__ import annotations

from dataclasses import replace

import pytest

from engine.clusters.profiles import Figure, LevelShare, Profile
from engine.clusters.record import Clustered
from engine.reporting.facts import Facts
from engine.reporting.sections.cluster_profiles import section
from tests.bundles import clusters, full_bundle
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, told


def with_clusters(found: Clustered) -> Facts:
    return facts_of(bundle=replace(full_bundle(), clusters=found))


def profile(cluster: int, users: int, everyone: int, **changes: object) -> Profile:
    score = Figure("tenure_days", 1.0, 10.0 * cluster, 9.0, 5.0, cluster - 0.5)
    level = LevelShare("region", "sud", 0.2, 0.3, 0.4)
    made = Profile(cluster, users, users / everyone, 100 * users, users / everyone, (score,), (level,))
    return replace(made, **changes)  # type: ignore[arg-type]


def test_real_profiles_are_shown_whole() -> None:
    facts = learnt()
    made = section(facts)
    check(facts, made)
    found = clusters()
    heat = figure(made, "clusters_heat").table
    expected = {
        (each.name, found.names[profile.cluster]): each.z_score
        for profile in found.profiles
        for each in profile.figures
        if each.z_score is not None
    }
    assert {
        (name, cluster): score for name, cluster, score in heat.select("feature", "cluster", "z_score").iter_rows()
    } == (expected)
    assert figure(made, "clusters_values").table.height == len(found.profiles[0].figures)


def test_names_are_put_into_the_other_language() -> None:
    facts = learnt()
    names = facts.names("fr")
    translated = {name: names.get(("cluster", name)) for name in clusters().clustering.names}
    assert None not in translated.values()
    assert all(name != other for name, other in translated.items())
    assert all(str(other) in told(facts, section(facts), "fr") for other in translated.values())


@pytest.mark.parametrize(
    ("sizes", "shown", "hidden"),
    [((50, 40), (50, 40), 0), ((50, 9), (), 2), ((50, 40, 9), (50,), 2), ((5, 4), (), 2)],
)
def test_clusters_of_a_few_people_cannot_be_worked_out(
    sizes: tuple[int, ...], shown: tuple[int, ...], hidden: int
) -> None:
    found = clusters()
    everyone = sum(sizes)
    names = tuple(f"cluster {place}" for place in range(len(sizes)))
    clustering = replace(found.clustering, ids=tuple(range(len(sizes))), names=names)
    profiles = tuple(profile(place, users, everyone) for place, users in enumerate(sizes))
    facts = with_clusters(replace(found, clustering=clustering, profiles=profiles))
    made = section(facts)
    check(facts, made)
    if not shown:
        assert made.missing is not None
        assert made.figures == ()
        return
    assert tuple(figure(made, "clusters_sizes").table["users"].unique(maintain_order=True).to_list()) == shown
    if hidden:
        assert f"{hidden} clusters are not shown" in told(facts, made)


def test_shares_of_values_are_of_those_who_have_one_and_few_are_left_out() -> None:
    found = clusters()
    many = profile(found.clustering.ids[0], 300, 400)
    few = profile(found.clustering.ids[1], 100, 400, levels=(LevelShare("region", "sud", 0.09, 0.3, 0.8),))
    facts = with_clusters(replace(found, profiles=(many, few)))
    table = figure(section(facts), "clusters_levels").table
    # 0.2 of 0.4; of all 0.3 of (300 · 0.4 + 100 · 0.8) / 400. Nine people of the other cluster are too few.
    assert table.select("share", "base").rows() == [pytest.approx((0.5, 0.6))]


def test_without_profiles_the_section_says_so() -> None:
    assert section(with_clusters(replace(clusters(), profiles=()))).missing is not None
    assert section(facts_of()).missing is not None
