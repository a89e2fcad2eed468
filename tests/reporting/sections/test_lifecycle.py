from __future__ import annotations

from datetime import date
from typing import Any

from engine.reporting.sections.lifecycle import section
from tests.reporting.samples import made, side, told

THEN, NOW = date(2026, 2, 1), date(2026, 3, 1)
STAGES: dict[str, Any] = {
    "kinds": {"never_bought": "lifecycle", "regular_buyer": "lifecycle"},
    "groups": {"never_bought": "buyer", "regular_buyer": "buyer"},
}


def test_stages_with_their_change() -> None:
    before = side(THEN, 400, {"a": (400, 1.0), "never_bought": (150, None), "regular_buyer": (250, 2.0)}, **STAGES)
    now = side(NOW, 400, {"a": (400, 1.0), "never_bought": (100, None), "regular_buyer": (300, 2.0)}, **STAGES)
    facts = made(now, before)
    assert facts.primary == ("a",)
    said = told(section(facts), facts)
    assert "Regular buyers: 300 people, 75.0% of all." in said
    assert "Never bought changed most since 1 February 2026: from 150 to 100 (-50)." in said
    assert section(facts).figures[0].table["change"].to_list() == [-50, 50]


def test_without_stages() -> None:
    facts = made(side(NOW, 200, {"a": (200, 1.0)}))
    assert "There are no lifecycle stages" in told(section(facts), facts)[1]
