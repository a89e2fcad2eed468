from __future__ import annotations

import pytest

from engine.points.findings import Verdict, rule_audit
from engine.points.outcomes import Counts, RuleCounts
from engine.propensity.intervals import Difference

EVERYONE = Counts(1_000, 200)
NOBODY = Counts()
GOOD, BAD, CHANCE = Difference(0.7, 0.6, 0.8), Difference(0.3, 0.2, 0.4), Difference(0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("given", "taken", "area", "verdict"),
    [
        (Counts(300, 120), NOBODY, GOOD, "predicts"),
        (Counts(300, 61), NOBODY, CHANCE, "nothing"),
        (Counts(300, 20), NOBODY, BAD, "wrong way"),
        # Points are taken from users of whom fewer come to it: as it should be.
        (NOBODY, Counts(300, 20), GOOD, "predicts"),
        (NOBODY, Counts(300, 61), CHANCE, "nothing"),
        (NOBODY, Counts(300, 120), BAD, "wrong way"),
        # Without others, or with two kinds of them, the order of the points counts.
        (Counts(1_000, 200), NOBODY, GOOD, "predicts"),
        (Counts(1_000, 200), NOBODY, CHANCE, "nothing"),
        (Counts(300, 120), Counts(300, 20), GOOD, "predicts"),
        (Counts(300, 120), Counts(300, 20), BAD, "wrong way"),
        (NOBODY, NOBODY, CHANCE, "unknown"),
        (Counts(1_000, 200), NOBODY, None, "unknown"),
        (Counts(4, 4), NOBODY, GOOD, "predicts"),
        (Counts(300, 0), NOBODY, BAD, "wrong way"),
        (Counts(5, 0), NOBODY, CHANCE, "unknown"),
        (Counts(40, 9), NOBODY, CHANCE, "unknown"),
        (Counts(40, 10), NOBODY, CHANCE, "nothing"),
        (Counts(950, 195), NOBODY, CHANCE, "unknown"),
        # The others have no outcome to divide by.
        (Counts(900, 200), NOBODY, GOOD, "predicts"),
        (Counts(900, 200), NOBODY, CHANCE, "unknown"),
        (NOBODY, Counts(900, 200), BAD, "wrong way"),
    ],
)
def test_a_rule_is_judged_by_whom_it_gave_points_to(
    given: Counts, taken: Counts, area: Difference | None, verdict: Verdict
) -> None:
    assert rule_audit("r", RuleCounts(given, taken), EVERYONE, area, None).verdict == verdict


def test_nothing_is_known_when_the_outcome_came_for_nobody() -> None:
    found = rule_audit("r", RuleCounts(Counts(10, 0)), Counts(100, 0), None, None)
    assert (found.verdict, found.lift) == ("unknown", None)
    assert found.difference is not None
    assert found.difference.value == 0


@pytest.mark.parametrize(
    ("given", "everyone", "few"),
    [
        (Counts(40, 4), Counts(100, 8), "only 8 outcomes"),
        (Counts(90, 1), Counts(100, 1), "only 1 outcome"),
        (Counts(40, 9), EVERYONE, "only 9 outcomes with points of it"),
        (Counts(950, 195), EVERYONE, "only 5 outcomes without points of it"),
        (Counts(300, 61), EVERYONE, ""),
        (Counts(300, 120), EVERYONE, ""),
    ],
)
def test_it_is_told_of_what_there_is_too_little(given: Counts, everyone: Counts, few: str) -> None:
    found = rule_audit("r", RuleCounts(given), everyone, CHANCE, None)
    assert found.few == few
    assert (found.verdict == "unknown") == bool(few)


def test_one_outcome_has_no_order_that_could_be_judged() -> None:
    found = rule_audit("r", RuleCounts(Counts(90, 1)), Counts(100, 1), Difference(0.9, 0.9, 0.9), None)
    assert (found.verdict, found.few) == ("unknown", "only 1 outcome")


def test_those_it_did_not_touch_are_the_others() -> None:
    found = rule_audit("r", RuleCounts(Counts(300, 120), Counts(100, 10)), EVERYONE, GOOD, None)
    assert (found.given, found.others, found.takes) == (Counts(300, 120), Counts(700, 80), False)
    found = rule_audit("r", RuleCounts(NOBODY, Counts(100, 10)), EVERYONE, GOOD, None)
    assert (found.given, found.others, found.takes) == (Counts(100, 10), Counts(900, 190), True)
