from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from engine.features.catalogue import catalogue
from engine.features.measure import EventRef, Measure
from engine.rules.events import catalogue_column
from engine.rules.read import read_rule
from tests.rules.schema import SCOPE, SPEC, TYPES, messages, read

PURCHASE, PAGE, CART, PLAN = (EventRef(name) for name in ("purchase", "page_view", "cart_add", "plan"))


@pytest.mark.parametrize(
    ("where", "column"),
    [
        ("event_count('purchase', 30) = 0", "purchase_count_30d"),
        ("EVENT_COUNT('purchase', days => 30, until => 0) = 0", "purchase_count_30d"),
        ("event_count('purchase') < 2", "purchase_count_total"),
        ("event_amount('purchase', 30) > 20.5", "purchase_amount_30d"),
        ("event_days('purchase', 30) > 2", "purchase_active_days_30d"),
        ("days_since('purchase') < 7", "days_since_purchase"),
    ],
)
def test_what_the_catalogue_has_is_read_from_there(where: str, column: str) -> None:
    rule = read(where)
    assert rule.columns == {column}
    assert rule.measures == ()


def test_columns_of_the_catalogue_are_what_they_are_called() -> None:
    names = {feature.name for feature in catalogue(SPEC)}
    for kind in TYPES:
        for days in (None, 7, 30):
            asked = [Measure("event_count", (EventRef(kind),), days)]
            asked += [Measure("event_amount", (EventRef(kind),), days)] if kind == "purchase" else []
            asked += [Measure("event_days", (EventRef(kind),), days)] if days else []
            asked += [Measure("days_since_event", (EventRef(kind),))]
            assert {catalogue_column(measure, SPEC) for measure in asked} <= names
    assert catalogue_column(Measure("event_days", (PURCHASE,), 30), replace(SPEC, families=())) is None
    assert catalogue_column(Measure("event_count", (PURCHASE,), 31), SPEC) is None


@pytest.mark.parametrize(
    ("where", "measure"),
    [
        ("event_count('purchase', 45) >= 1", Measure("event_count", (PURCHASE,), 45)),
        ("event_count('purchase', until => 30) >= 1", Measure("event_count", (PURCHASE,), until=30)),
        ("event_count('purchase', 90, until => 30) >= 1", Measure("event_count", (PURCHASE,), 90, until=30)),
        (
            "event_count('page_view', 7, page = 'product') >= 1",
            Measure("event_count", (EventRef("page_view", "page = 'product'"),), 7),
        ),
        (
            "event_amount('purchase', amount > 20.0) > 100",
            Measure("event_amount", (EventRef("purchase", "amount > 20"),)),
        ),
        ("days_since('page_view', NOT machine) < 7", None),
        ("days_since_first('purchase') < 7", Measure("days_since_first_event", (PURCHASE,))),
        ("first_time('purchase', 30)", Measure("first_time", (PURCHASE,), 30)),
        ("stopped('purchase', 30, 90)", Measure("stopped", (PURCHASE,), 90, recent=30)),
        ("restarted('purchase', 30, 90)", Measure("restarted", (PURCHASE,), 90, recent=30)),
        ("regularly('purchase', 3, 4, 7)", Measure("regularly", (PURCHASE,), k=3, periods=4, period_days=7)),
        (
            "followed_by('cart_add', 'purchase', within => 3)",
            Measure("followed_by", (CART, PURCHASE), within=3),
        ),
        (
            "followed_by('cart_add', 'purchase', within => 3, days => 30, first => (page = 'x'), second => amount > 1)",
            Measure(
                "followed_by", (EventRef("cart_add", "page = 'x'"), EventRef("purchase", "amount > 1")), 30, within=3
            ),
        ),
        ("not_followed_by('cart_add', 'purchase')", Measure("not_followed_by", (CART, PURCHASE))),
        ("not_followed_by('cart_add', 'purchase', 7)", Measure("not_followed_by", (CART, PURCHASE), 7)),
        (
            "held_for('plan', category = 'premium', 30)",
            Measure("held_for", (PLAN, EventRef("plan", "category = 'premium'")), 30),
        ),
        (
            "held_for('plan', 0, category = 'premium')",
            Measure("held_for", (PLAN, EventRef("plan", "category = 'premium'")), 0),
        ),
    ],
)
def test_everything_else_becomes_a_measure(where: str, measure: Measure | None) -> None:
    rule = read(where)
    (found,) = rule.measures
    assert measure is None or found == measure
    assert rule.columns == frozenset()
    (clause,) = rule.clauses
    values = pl.DataFrame({found.name: pl.Series([None], dtype=found.dtype)}).select(
        rule.expr().alias("holds"), clause.values[0].expr.alias("value")
    )
    assert values.row(0) == (False, None)


def test_spellings_of_one_question_are_one_measure() -> None:
    rule = read(
        "event_count('purchase', 45, amount>1 AND NOT page='x') > 1 "
        "OR Event_Count('purchase', days => 45, (amount > 1.0) and (page <> 'x')) > 2"
    )
    assert len(rule.clauses) == 2
    assert len(rule.measures) == 1


@pytest.mark.parametrize(
    ("where", "start"),
    [
        ("event_count('purchse') = 1", "no event type 'purchse' (did you mean 'purchase'?); there are cart_add, open,"),
        ("event_count('Purchase') = 1", "no event type 'Purchase' (did you mean 'purchase'?)"),
        ("event_count(purchase) = 1", "event types stand in single quotes: write 'purchase'; it is written event_"),
        ("event_count() = 1", "expected 1 event type in single quotes; it is written event_count('purchase', days,"),
        ("event_count('open', 'plan') = 1", "expected 1 event type in single quotes"),
        ("event_count('open', 1.5) = 1", "1.5: expected a whole number up to 36,500"),
        ("event_count('open', -3) = 1", "-3: expected a whole number up to 36,500"),
        ("event_count('open', 0) = 1", "days is at least 1"),
        ("event_count('open', 99999) = 1", "99999: expected a whole number up to 36,500"),
        ("event_count('open', 3, 4) = 1", "one number too many; it is written event_count("),
        ("event_count('open', 30, until => 30) = 1", "the window from 30 to 30 days ago is empty"),
        ("event_count('open', 30, days => 30) = 1", "days is given twice"),
        ("event_count('open', within => 30) = 1", "within => is not known here; it is written event_count("),
        ("event_count('open', page = 'x', machine) = 1", "not expected; it is written event_count("),
        ("event_count('open', channel = 'x') = 1", "no source maps the event column 'channel'; set it in [sources"),
        ("event_count('open', region = 'x') = 1", "events have no column 'region'; there are amount, category,"),
        ("event_count('open', pages = 'x') = 1", "events have no column 'pages' (did you mean 'page'?)"),
        ("event_count('open', page > 3) = 1", "page is text (String), 3 is a number: values of different kinds"),
        ("event_count('open', page = NULL) = 1", "NULL is never equal to anything"),
        ("event_count('open', 1 = 1) = 1", "this condition looks at no column of the event"),
        ("event_count('open', LENGTH(page) > 3) = 1", "conditions over events know comparisons, + - *, LOWER,"),
        ("event_count('open', event_count('open') > 1) = 1", "event_count(): events cannot be asked for here"),
        ("event_amount('open', 30) > 1", "events of type 'open' have no amounts"),
        ("first_time('open')", "the number of days missing; it is written first_time('purchase', days, condition)"),
        (
            "stopped('open', 90, 30)",
            "the days before (30) count from as_of like the recent ones (90), and must be more",
        ),
        ("stopped('open', 90)", "the number of days missing; it is written stopped("),
        ("regularly('open', 5, 4, 7)", "5 of 4 periods can never be"),
        ("regularly('open', 5, 6000, 7)", "the periods have 36,500 days together at most"),
        ("followed_by('open', 'plan')", "within => days missing; it is written followed_by("),
        ("followed_by('open', 'plan', 3)", "numbers are given by name here; it is written followed_by("),
        ("followed_by('open', within => 3)", "expected 2 event types in single quotes"),
        ("followed_by('open', 'plan', within => 3, page = 'x')", "conditions are given as first => (condition) and"),
        ("held_for('plan', 30)", "the condition is missing; it is written held_for("),
        ("event_count('open', 30)", "event_count('open', 30) is a number; a condition is true or false"),
        ("first_time('open', 3) = 1", "first_time('open', 3) is true or false, 1 is a number"),
    ],
)
def test_questions_that_cannot_be_asked(where: str, start: str) -> None:
    found = messages(where)
    assert any(message.startswith(start) for message in found), found


def test_the_place_of_a_problem_is_the_argument() -> None:
    text = "a > 1 AND event_count('purchse', 30) > 1"
    (problem,) = read_rule(text, SCOPE).problems
    assert text[problem.start : problem.end] == "'purchse'"
