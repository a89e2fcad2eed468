from __future__ import annotations

from dataclasses import replace

from engine.clusters.identity import Event, Identity
from engine.clusters.moves import Moves
from engine.clusters.record import Clustered
from engine.clusters.stability import Stability
from engine.reporting.facts import Facts
from engine.reporting.sections.stability import section
from engine.reporting.words import Voice
from tests.bundles import clusters, full_bundle
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, told


def with_clusters(**changes: object) -> Facts:
    found: Clustered = replace(clusters(), **changes)  # type: ignore[arg-type]
    return facts_of(bundle=replace(full_bundle(), clusters=found))


def test_a_first_fit_has_stability_and_no_moves() -> None:
    facts = learnt()
    made = section(facts)
    check(facts, made)
    assert [figure.key for figure in made.figures] == ["clusters_stability"]
    found = clusters().stability
    assert found is not None
    assert sorted(figure(made, "clusters_stability").table["jaccard"].to_list()) == sorted(
        jaccard for jaccard in found.jaccards if jaccard is not None
    )
    assert "there are none" in told(facts, made)


def test_unstable_clusters_are_marked_and_an_alarm() -> None:
    names = clusters().clustering.names
    facts = with_clusters(stability=Stability(20, 0.5, 0.2, (0.9, 0.4), (1,)))
    made = section(facts)
    check(facts, made)
    assert figure(made, "clusters_stability").marked == (names[1],)
    assert f"“{names[1]}” is unstable" in Voice("en").put(made.alarms[0])


def test_moves_are_a_matrix_with_names_of_what_is_gone() -> None:
    moves = Moves(((0, 0, 100), (0, 1, 30), (1, 0, 20), (1, 1, 80), (7, 1, 40), (7, 0, 12)))
    events = (Event("kept", 0, (), 120), Event("vanished", 7, (1,), 52))
    facts = with_clusters(moves=moves, identity=Identity((0, 1), 8, events, None))
    made = section(facts)
    check(facts, made)
    table = figure(made, "clusters_moves").table
    names = clusters().names
    assert set(table["old"].to_list()) == {names[0], names[1], "#7"}
    assert table["users"].sum() == 282
    text = told(facts, made)
    assert f"“cluster 7” is gone; most of its users are in “{names[1]}”." in text
    assert "The largest move: 40 users from “cluster 7”" in text


def test_moves_of_a_few_people_cannot_be_worked_out() -> None:
    moves = Moves(((0, 0, 100), (0, 1, 3), (1, 0, 20), (1, 1, 80)))
    facts = with_clusters(moves=moves)
    made = section(facts)
    check(facts, made)
    # The totals of rows and columns are known: one hidden cell of four would be no secret.
    assert figure(made, "clusters_moves").table["users"].to_list() == [None] * 4
    assert "The largest move" not in told(facts, made)


def test_stability_that_was_not_asked_for_is_said() -> None:
    facts = with_clusters(stability=None)
    made = section(facts)
    check(facts, made)
    assert "clusters.resamples = 0" in told(facts, made)
    assert section(facts_of()).missing is not None
