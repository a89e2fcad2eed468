from __future__ import annotations

from datetime import date

import pytest

from engine.reporting.sections.alerts import AWAY, section, warning
from engine.reporting.words import Voice
from engine.segments.findings import GUARDS
from engine.segments.labels import labels_of
from tests.reporting.samples import made, side, told

THEN, NOW = date(2026, 2, 1), date(2026, 3, 1)


def test_dq12_people_who_are_about_to_go() -> None:
    before = side(THEN, 400, {"at_Risk": (90, 5.0), "champions": (310, 9.0)})
    facts = made(side(NOW, 400, {"at_Risk": (100, 5.0), "champions": (300, 9.0)}), before)
    assert "At risk: 100 people, 25.0% of all (+10 since 1 February 2026)." in told(section(facts), facts)
    alone = made(facts.now)
    assert "At risk: 100 people, 25.0% of all." in told(section(alone), alone)


def test_nothing_to_look_at() -> None:
    facts = made(side(NOW, 400, {"a": (400, 5.0)}))
    assert "There is nothing to look at." in told(section(facts), facts)


@pytest.mark.parametrize(
    ("line", "told_en"),
    [
        ("guard empty: nobody is in 'x'", "Empty segment: nobody is in 'x'"),
        ("guard jump (accepted): 'x': 100 users", "Jump in size (accepted by a person): 'x': 100 users"),
        (
            "guard small: 'x': 3 users, at least 5 are expected",
            "Small segment: 'x': <10 users, at least 5 are expected",
        ),
        (
            "guard jump: 'x': 200 users, 4 in the run of 2026-01-01",
            "Jump in size: 'x': 200 users, <10 in the run of 2026-01-01",
        ),
        ("guard nonsense: y", "guard nonsense: y"),
        ("something {else}", "something {else}"),
    ],
)
def test_warnings_in_words(line: str, told_en: str) -> None:
    assert Voice("en").put(warning(line, 10)) == told_en


def test_every_guard_and_stage_has_words() -> None:
    for guard in GUARDS:
        assert all(
            Voice(language).put(warning(f"guard {guard}: x", 10)) != f"guard {guard}: x" for language in ("en", "fr")
        )
    assert all(labels_of(name) for name in AWAY)


def test_opt_outs_of_few_people_are_not_told() -> None:
    figures = {"(all users)": {"delivered": 1000, "unsubscribes": 3, "unsubscribe_rate": 0.003}}
    facts = made(side(NOW, 400, {"a": (400, 5.0)}, figures=figures))
    assert not any("Opt-outs" in text for text in told(section(facts), facts))
    figures["(all users)"] = {"delivered": 1000, "unsubscribes": 30, "unsubscribe_rate": 0.03}
    facts = made(side(NOW, 400, {"a": (400, 5.0)}, figures=figures))
    assert "Opt-outs: 3.0% of 1,000 messages delivered (– on the date before)." in told(section(facts), facts)
