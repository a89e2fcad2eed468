from __future__ import annotations

from datetime import date

import pytest

from engine.points.rates import wilson
from engine.reporting.sections.kpis import section
from tests.reporting.samples import made, side, told

NOW = date(2026, 3, 1)


def test_conversion_has_its_denominators_and_an_interval() -> None:
    figures = {
        "(all users)": {"conversion": 0.25},
        "a": {"buyers": 60, "conversion": 0.6},
        "b": {"buyers": 30, "conversion": 0.1},
        "c": {"buyers": 12, "conversion": 0.12},
    }
    facts = made(side(NOW, 500, {"a": (100, 1.0), "b": (300, 1.0), "c": (100, 1.0)}, figures=figures))
    said = told(section(facts), facts)
    assert "In the last 30 days, 25.0% of all users bought: 60.0% of a (60 of 100), 10.0% of b." in said
    (row,) = section(facts).figures[0].table.filter(segment="a").rows(named=True)
    assert (row["low"], row["high"]) == (wilson(60, 100).low, wilson(60, 100).high)
    assert "Nothing is known of messages" in " ".join(said)


@pytest.mark.parametrize("buyers", [3, 97])
def test_hardly_any_and_nearly_all_are_left_out(buyers: int) -> None:
    figures = {"a": {"buyers": buyers}, "b": {"buyers": 30}, "c": {"buyers": 50}}
    facts = made(side(NOW, 500, {"a": (100, 1.0), "b": (300, 1.0), "c": (100, 1.0)}, figures=figures))
    shown = {row[0] for row in section(facts).figures[0].table.rows()}
    assert "a" not in shown
    # One more goes with it, for the sum of all is known.
    assert len(shown) == 1


def test_rates_of_messages_name_the_highest() -> None:
    figures = {
        "a": {"sent": 400, "delivered": 400, "unsubscribes": 40, "unsubscribe_rate": 0.1, "opens_human": 80},
        "b": {"sent": 900, "delivered": 900, "unsubscribes": 3, "unsubscribe_rate": 1 / 300, "opens_human": 90},
        "c": {"sent": 900, "delivered": 900, "unsubscribes": 45, "unsubscribe_rate": 0.05, "opens_human": 90},
    }
    for row in figures.values():
        row["open_rate_human"] = row["opens_human"] / row["delivered"]
    facts = made(side(NOW, 500, {"a": (100, 1.0), "b": (300, 1.0), "c": (100, 1.0)}, figures=figures))
    said = told(section(facts), facts)
    assert "Opens per message: highest in a, 20.0% of 400 delivered." in said
    # The three of b follow from a rate: it is hidden, and the next smallest too.
    assert "Opt-outs per message: highest in c, 5.0% of 900 delivered." in said


def test_without_figures() -> None:
    facts = made(side(NOW, 3, {"a": (3, 1.0)}))
    assert "There are no key figures" in told(section(facts), facts)[1]
