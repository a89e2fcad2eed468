from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from engine.config import Target
from engine.points.audit import PointsAudit
from engine.points.findings import CardAudit, ClassAudit, RuleAudit
from engine.points.outcomes import Counts
from engine.points.rates import Lift
from engine.propensity.intervals import Difference, Interval
from jobs.points import points_app

CARDS = """
[events]
purchase = "purchase"
open = "email_open"

[[points]]
name = "behaviour"
preset = "behaviour"
cap = 200

[[points]]
name = "care"
[[points.rules]]
name = "spam"
event = "complaint"
where = "channel = 'mail'"
points = -20
window_days = 90
half_life_days = 30
[[points.rules]]
name = "north"
where = "region = 'north'"
points = 3
[[points.rules]]
name = "rate"
value = "open_rate_30d"
form = "log"
full_at = 0.5
points = 5
[[points.rules]]
name = "visits"
value = "active_days_30d"
form = "steps"
steps = [[1, 2], [5, 8]]
"""

Points = Callable[..., Result]


@pytest.fixture
def points(folder: Path) -> Points:
    with (folder / "tamis.toml").open("a", encoding="utf-8") as file:
        file.write(CARDS)
    return lambda *arguments: CliRunner().invoke(points_app, list(arguments), catch_exceptions=False)


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_cards_are_told_with_rules_classes_and_notes(points: Points) -> None:
    result = points("list")
    assert result.exit_code == 0, result.stderr
    assert squeezed(result.stdout) == [
        "behaviour: at least 0 points, at most 200",
        "rule of form points cap",
        "open email_open events each +10 each –",
        "purchase purchase events each +50 each –",
        "classes: high (élevé) over 60, medium (moyen) over 20, low (faible) below",
        "note: rules of preset 'behaviour' left out, as [events] has no click, cart_add",
        "",
        "care: at least 0 points, without limit",
        "rule of form points cap",
        "spam complaint events with channel = 'mail' in 90 days halved every 30 days each -20 each –",
        "north if region = 'north' each +3 –",
        "rate open_rate_30d log +5 at 0.5 –",
        "visits active_days_30d steps +2 from 1, +8 from 5 –",
        "classes: low",
    ]


def test_the_list_is_one_json_object_and_a_file(points: Points, folder: Path) -> None:
    result = points("list", "--json", "--to", "rules.parquet")
    assert result.exit_code == 0, result.stderr
    [behaviour, care] = json.loads(result.stdout)["cards"]
    assert behaviour["classes"] == {"high": 60, "medium": 20}
    assert (behaviour["base"], behaviour["cap"], behaviour["floor"]) == ("low", 200, 0)
    assert behaviour["rules"][0] == {"name": "open", "event": "email_open", "points": 10}
    assert [rule["name"] for rule in care["rules"]] == ["spam", "north", "rate", "visits"]
    table = pl.read_parquet(folder / "rules.parquet")
    assert table.select("card", "rule").rows()[-1] == ("care", "visits")
    assert table.height == 6


def test_without_cards_it_says_how_to_have_one(folder: Path) -> None:
    result = CliRunner().invoke(points_app, ["list"], catch_exceptions=False)
    assert result.stdout.startswith("No score cards: add [[points]]")


RULES = (
    RuleAudit(
        "tells",
        Counts(100, 60),
        Counts(300, 60),
        False,
        Difference(0.4, 0.29, 0.5),
        Lift(3.0, 2.27, 3.96),
        Difference(0.69, 0.64, 0.73),
        Difference(0.18, 0.13, 0.24),
        "predicts",
    ),
    RuleAudit(
        "dice\x1b",
        Counts(200, 61),
        Counts(200, 59),
        False,
        Difference(0.01, -0.08, 0.1),
        Lift(1.03, 0.77, 1.39),
        Difference(0.506, 0.452, 0.559),
        Difference(0.001, -0.01, 0.012),
        "nothing",
    ),
    RuleAudit("spam", Counts(), Counts(400, 120), True, None, None, None, None, "wrong way"),
)
AUDIT = PointsAudit(
    published=date(2026, 2, 1),
    outcome=Target(name="outcome", event="purchase", where="amount > 20", horizon_days=14),
    cards=(
        CardAudit(
            "behaviour",
            Counts(400, 120),
            300,
            Difference(0.7, 0.65, 0.75),
            RULES,
            (
                ClassAudit("high", Counts(100, 60), 0.25, 0.6, Interval(0.5, 0.69)),
                ClassAudit("low", Counts(0, 0), 0.0, None, None),
            ),
        ),
    ),
    warnings=("3 of 403 published users are no longer in the log",),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    state = SimpleNamespace(calls=[])

    def audit_points(
        config: object, as_of: date, outcome: Target, *, card: str | None, **others: object
    ) -> PointsAudit:
        state.calls.append((as_of, outcome, card))
        return AUDIT

    monkeypatch.setattr("engine.points.audit.audit_points", audit_points)
    return state


ARGUMENTS = ("audit", "--as-of", "2026-03-01", "--outcome", "purchase", "--horizon", "14", "--where", "amount > 20")


def test_an_audit_names_the_rules_that_tell_nothing(points: Points, asked: SimpleNamespace) -> None:
    result = points(*ARGUMENTS, "--card", "behaviour")
    assert result.exit_code == 0, result.stderr
    [(as_of, outcome, card)] = asked.calls
    gain = "+0.001 (-0.010 to +0.012)"
    assert (as_of, card) == (date(2026, 3, 1), "behaviour")
    assert (outcome.event, outcome.where, outcome.horizon_days) == ("purchase", "amount > 20", 14)
    assert squeezed(result.stdout) == [
        "",
        "Points of 2026-02-01, behaviour: purchase with amount > 20 within 14 days",
        "400 users, it came for 120 (30.00%); AUC 0.700 (0.650 to 0.750)",
        "AUCs are measured on a sample of 300 users",
        "rule users rate others lift AUC AUC it adds verdict",
        "tells 100 60.00% 20.00% 3.000 (2.270 to 3.960) 0.690 (0.640 to 0.730) +0.180 (+0.130 to +0.240) predicts",
        f"dice 200 30.50% 29.50% 1.030 (0.770 to 1.390) 0.506 (0.452 to 0.559) {gain} predicts nothing",
        "spam 0 – 30.00% – – – points the wrong way (takes points)",
        "",
        "class users share rate",
        "high 100 25.0% 60.00%",
        "low 0 0.0% –",
        "predicts nothing: dice",
        "points the wrong way: spam",
    ]
    assert "warning: 3 of 403 published users are no longer in the log" in result.stderr


def test_an_audit_is_one_json_object_and_a_file(points: Points, asked: SimpleNamespace, folder: Path) -> None:
    result = points(*ARGUMENTS, "--json", "--quiet", "--to", "audit.csv")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["published"], told["horizon_days"], told["where"]) == ("2026-02-01", 14, "amount > 20")
    [card] = told["cards"]
    assert (card["users"], card["positives"], card["ranked"], card["auc"]) == (400, 120, 300, 0.7)
    assert [rule["verdict"] for rule in card["rules"]] == ["predicts", "nothing", "wrong way"]
    assert card["rules"][0]["lift_low"] == 2.27
    assert card["classes"][1] == {
        "class": "low",
        "users": 0,
        "share": 0.0,
        "positives": 0,
        "rate": None,
        "rate_low": None,
        "rate_high": None,
    }
    assert pl.read_csv(folder / "audit.csv")["rule"].to_list()[0] == "tells"
