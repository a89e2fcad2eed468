from __future__ import annotations

import pytest

from engine.ledger import causes
from engine.why.past import CardPoints
from engine.why.sentences import card_title, reason_in
from engine.why.words import ENGLISH, FRENCH

# A reason says more than these: which rule, which segment, from which score to which.
DETAILED = {
    causes.RULE_CHANGED,
    causes.OTHER_SEGMENT,
    causes.OTHER,
    *(f"{s}_{w}" for s in causes.SCORES for w in causes.WAYS),
}
FIXED = sorted(text for kind, text in causes.TEXTS.items() if kind not in DETAILED)


@pytest.mark.parametrize("reason", FIXED)
def test_every_fixed_reason_is_told_in_french(reason: str) -> None:
    assert reason_in(reason, FRENCH) not in {None, reason}
    assert reason_in(reason, ENGLISH) == reason


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("taken by taken by x", "pris par taken by x"),
        ("no longer in vip", "n'est plus dans vip"),
        ("rule changed: a1 → b2", "la règle a changé : a1 → b2"),
        ("age > 3: 2 → 4", "age > 3: 2 → 4"),
        ("list changed: 1 → 2", "list changed: 1 → 2"),
        (None, None),
    ],
)
def test_names_and_clauses_in_reasons_stay(reason: str | None, told: str | None) -> None:
    assert reason_in(reason, FRENCH) == told


@pytest.mark.parametrize(
    ("card", "title"),
    [("engagement", "Points d'engagement : 4"), ("value", "Points de value : 4"), ("été", "Points d'été : 4")],
)
def test_the_preposition_fits_the_card(card: str, title: str) -> None:
    assert card_title(CardPoints(card, 4.0, None, ()), FRENCH) == title
    assert card_title(CardPoints(card, 4.0, None, ()), ENGLISH) == f"Points of {card}: 4"


def test_one_day_is_singular() -> None:
    assert [ENGLISH.days(number) for number in (0, 1, 2)] == ["0 days", "1 day", "2 days"]
    assert [FRENCH.days(number) for number in (0, 1, 2)] == ["0 jour", "1 jour", "2 jours"]
