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
        (Counts(5, 0), NOBODY, CHANCE, "nothing"),
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


def test_those_it_did_not_touch_are_the_others() -> None:
    found = rule_audit("r", RuleCounts(Counts(300, 120), Counts(100, 10)), EVERYONE, GOOD, None)
    assert (found.given, found.others, found.takes) == (Counts(300, 120), Counts(700, 80), False)
    found = rule_audit("r", RuleCounts(NOBODY, Counts(100, 10)), EVERYONE, GOOD, None)
    assert (found.given, found.others, found.takes) == (Counts(100, 10), Counts(900, 190), True)
