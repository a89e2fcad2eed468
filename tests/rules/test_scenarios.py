from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import NamedTuple

import polars as pl
import pytest

from engine.config import Columns, Config, Source
from engine.features.catalogue import catalogue
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import key_ranges
from engine.rules.read import read_rule
from engine.rules.rule import Rule
from engine.rules.scope import Scope
from engine.stages.features import load_features, wanted_of
from tests.features.logs import rolled
from tests.features.specs import spec_of

TYPES = ("purchase", "visit", "cart_add", "plan")
DEAR = EventType("dear", "dear", True, "purchase", "amount >= 50")
COLUMNS = {"user_id": "user", "event_type": "type", "event_time": "time"}


def scenario_spec() -> FeatureSpec:
    columns = ("amount", "category", "page")
    spec = spec_of(TYPES, ("purchase",), page_view="visit", cart_add="cart_add", columns=columns)
    return replace(spec, types=(*spec.types, DEAR), weights=(1, 1, 1, 1, 0))


SPEC = scenario_spec()


class Event(NamedTuple):
    """One event of a user; what is not said is not known."""

    user: str
    type: str
    time: str
    amount: float | None = None
    category: str | None = None
    page: str | None = None


# Every user is a story, told as of 1 June.
LOG = (
    Event("never", "visit", "2024-01-05", page="home"),
    Event("at as_of", "visit", "2024-01-05", page="home"),
    Event("at as_of", "purchase", "2024-06-01", 80),
    Event("once", "purchase", "2024-05-28", 20, "shoes"),
    Event("twice", "purchase", "2024-05-25", 20, "shoes"),
    Event("twice", "purchase", "2024-05-31 23:59:59.999999", 80, "hats"),
    Event("long ago", "purchase", "2024-02-10", 80, "shoes"),
    Event("long ago", "visit", "2024-05-30", page="product"),
    Event("and back", "purchase", "2024-02-10", 20),
    Event("and back", "purchase", "2024-05-30", 20),
    Event("cart left", "purchase", "2024-03-01", 70),
    Event("cart left", "visit", "2024-05-29 09:00", page="product"),
    Event("cart left", "cart_add", "2024-05-29 09:05"),
    Event("cart left", "visit", "2024-05-31", page="home"),
    Event("cart bought", "visit", "2024-05-29 09:00", page="product"),
    Event("cart bought", "cart_add", "2024-05-29 09:05"),
    Event("cart bought", "purchase", "2024-05-30 09:05", 70),
    Event("cart too late", "cart_add", "2024-05-27 09:05"),
    Event("cart too late", "purchase", "2024-05-30 09:06", 10),
    Event("cart again", "cart_add", "2024-05-27 09:05"),
    Event("cart again", "purchase", "2024-05-27 09:05", 10),
    Event("cart again", "cart_add", "2024-05-31"),
    # The state is told again and again, and begins on 20 May all the same.
    Event("premium", "plan", "2024-05-01", category="free"),
    *(Event("premium", "plan", f"2024-05-{day}", category="premium") for day in (20, 22, 22, 29, 31)),
    Event("premium since", "plan", "2024-05-26", category="premium"),
    Event("premium broken", "plan", "2024-05-01", category="premium"),
    Event("premium broken", "plan", "2024-05-28", category="free"),
    Event("premium broken", "plan", "2024-05-29", category="premium"),
    Event("premium once", "plan", "2024-05-01", category="premium"),
    Event("premium once", "plan", "2024-05-28"),
)
PLANS = {"premium", "premium since", "premium broken", "premium once"}
CARTS = {"cart left", "cart bought", "cart too late", "cart again"}
BUYERS = {"once", "twice", "long ago", "and back", *CARTS}
NO_BUYERS = {"never", "at as_of", *PLANS}
EVERYONE = BUYERS | NO_BUYERS
IN_A_WEEK = {"once", "twice", "and back", "cart bought", "cart too late", "cart again"}

RU_03 = """\
event_count('visit', 7, page = 'product') >= 1 AND not_followed_by('cart_add', 'purchase')
AND event_amount('purchase') / NULLIF(event_count('purchase'), 0) > 50
"""

SCENARIOS: list[tuple[str, set[str]]] = [
    # How often in a window, with every comparison.
    ("event_count('purchase', 7) >= 1", IN_A_WEEK),
    ("event_count('purchase', 7) = 0", EVERYONE - IN_A_WEEK),
    ("event_count('purchase', 7) < 1", EVERYONE - IN_A_WEEK),
    ("event_count('purchase', 8) < 2", EVERYONE - {"twice"}),
    ("event_count('purchase', 8) BETWEEN 1 AND 1", IN_A_WEEK - {"twice"}),
    ("event_count('purchase', 120, until => 90) >= 1", {"long ago", "and back", "cart left"}),
    ("event_count('purchase', 31, category = 'shoes') = 1", {"once", "twice"}),
    ("event_count('purchase', 7, category = 'shoes') < 1", EVERYONE - {"once", "twice"}),
    ("event_count('dear') >= 1", {"twice", "long ago", "cart left", "cart bought"}),
    ("event_count('dear', 31, category = 'hats') >= 1", {"twice"}),
    ("event_amount('purchase', 31) > 80", {"twice"}),
    ("event_amount('purchase', 31, amount < 50) BETWEEN 0.01 AND 20", IN_A_WEEK - {"cart bought"}),
    ("event_days('visit', 31, page = 'product') = 1", {"long ago", "cart left", "cart bought"}),
    # Zero times inside AND, nested AND and OR.
    ("event_count('visit', 7) >= 1 AND event_count('purchase', 7) = 0", {"long ago", "cart left"}),
    (
        "event_count('visit', 7) >= 1 AND (event_count('purchase', 7) = 0 OR event_count('cart_add', 9) > 0)",
        {"long ago", "cart left", "cart bought"},
    ),
    ("event_count('visit', 7) = 0 AND event_count('purchase', 7) = 0", NO_BUYERS),
    # A past event negated: also for those who never did anything of the kind.
    ("NOT event_count('purchase', amount >= 50) >= 1", {"once", "and back", "cart too late", "cart again"} | NO_BUYERS),
    ("NOT (event_count('purchase') >= 1)", NO_BUYERS),
    ("NOT (event_count('purchase') >= 1 OR event_count('plan') >= 1)", {"never", "at as_of"}),
    # The last time, with and without a condition; nobody who never did it is 'more than' some days ago.
    ("days_since('purchase', category = 'shoes') <= 7", {"once", "twice"}),
    ("days_since('purchase', category = 'shoes') > 7", {"long ago"}),
    ("NOT days_since('purchase', category = 'shoes') > 7", EVERYONE - {"long ago"}),
    ("days_since('purchase') > 30", {"long ago", "cart left"}),
    ("days_since_first('purchase') > 30", {"long ago", "and back", "cart left"}),
    ("first_time('purchase', 31)", {"once", "twice", "cart bought", "cart too late", "cart again"}),
    ("first_time('purchase', 31, category = 'hats')", {"twice"}),
    ("stopped('purchase', 30, 120)", {"long ago", "cart left"}),
    ("restarted('purchase', 30, 90)", {"and back"}),
    ("regularly('plan', 2, 2, 7)", {"premium"}),
    ("NOT regularly('plan', 2, 2, 7)", EVERYONE - {"premium"}),
    # A cart: left behind, bought after exactly a day or too late, bought at once and filled again.
    ("not_followed_by('cart_add', 'purchase', 7)", {"cart left", "cart again"}),
    ("NOT not_followed_by('cart_add', 'purchase', 7)", EVERYONE - {"cart left", "cart again"}),
    ("followed_by('cart_add', 'purchase', within => 1)", {"cart bought", "cart again"}),
    ("followed_by('cart_add', 'purchase', within => 1, second => (amount >= 50))", {"cart bought"}),
    ("followed_by('cart_add', 'purchase', within => 5, days => 4)", {"cart bought"}),
    (RU_03, {"cart left"}),
    # A state, told again or broken.
    ("held_for('plan', category = 'premium', 0)", {"premium", "premium since", "premium broken"}),
    ("held_for('plan', category = 'premium', 6)", {"premium", "premium since"}),
    ("held_for('plan', category = 'premium', 7)", {"premium"}),
    ("held_for('plan', category = 'premium', 13)", set()),
    ("NOT held_for('plan', category = 'premium', 7)", EVERYONE - {"premium"}),
]

# One user in and out as time passes, without an event of theirs on the day.
BY_DAY: list[tuple[str, str, list[str]]] = [
    ("event_count('purchase', 7) >= 1", "long ago", ["2024-02-11", "2024-02-17"]),
    ("event_count('purchase', 7) >= 1", "and back", ["2024-02-11", "2024-02-17", "2024-05-31", "2024-06-06"]),
    ("stopped('purchase', 30, 60)", "long ago", ["2024-03-12", "2024-04-10"]),
    ("held_for('plan', category = 'premium', 7)", "premium broken", ["2024-05-08", "2024-05-28", "2024-06-05"]),
    ("not_followed_by('cart_add', 'purchase', 7)", "cart too late", ["2024-05-28", "2024-05-30"]),
]
DAYS = ["2024-02-10", "2024-02-11", "2024-02-17", "2024-02-18", "2024-03-11", "2024-03-12", "2024-04-10", "2024-04-11"]
DAYS += [f"2024-05-{day:02d}" for day in (7, 8, 27, 28, 29, 30, 31)] + ["2024-06-05", "2024-06-06", "2024-06-07"]


def rule_of(text: str) -> Rule:
    columns = {feature.name: feature.dtype for feature in catalogue(SPEC)}
    read = read_rule(text, Scope(columns, spec=SPEC, as_of=date(2024, 6, 1)))
    assert read.problems == ()
    assert read.rule is not None
    return read.rule


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The rollups of the log, with what all rules ask."""
    folder = tmp_path_factory.mktemp("log")
    moments = [datetime.fromisoformat(event.time).replace(tzinfo=UTC) for event in LOG]
    frame = pl.DataFrame(LOG, schema=Event._fields, orient="row", infer_schema_length=None)
    frame.with_columns(pl.Series("time", moments)).write_parquet(folder / "log.parquet")
    columns = Columns.model_validate({**COLUMNS, **{name: name for name in ("amount", "category", "page")}})
    config = Config(sources=(Source(name="log", path=str(folder / "log.parquet"), columns=columns),))
    texts = dict.fromkeys([text for text, _ in SCENARIOS] + [text for text, _, _ in BY_DAY])
    measures = [measure for text in texts for measure in rule_of(text).measures]
    return rolled(config, wanted_of(SPEC, (), measures), folder / "store")


def members(shelf: Shelf, rule: Rule, as_of: date) -> set[str]:
    bucket = load_features(
        replace(shelf, end_day=day_number(as_of)), key_ranges(1)[0], 0, SPEC, tuple(reversed(rule.measures))
    )
    names = bucket.users["user_id"].gather(bucket.features["user"])
    holds = bucket.features.select(rule.expr().alias("holds"))["holds"]
    assert holds.null_count() == 0
    return set(names.filter(holds))


@pytest.mark.parametrize(("text", "expected"), SCENARIOS, ids=[text for text, _ in SCENARIOS])
def test_who_a_rule_finds(text: str, expected: set[str], shelf: Shelf) -> None:
    assert members(shelf, rule_of(text), date(2024, 6, 1)) == expected


@pytest.mark.parametrize(("text", "user", "edges"), BY_DAY)
def test_users_come_and_go_as_time_passes(text: str, user: str, edges: list[str], shelf: Shelf) -> None:
    # In from the first day of each pair to the second one, which is the last.
    rule = rule_of(text)
    spans = [*zip(edges[::2], edges[1::2], strict=False)] + ([(edges[-1], "9999")] if len(edges) % 2 else [])
    is_in = {day: any(first <= day <= last for first, last in spans) for day in DAYS}
    assert {day: user in members(shelf, rule, date.fromisoformat(day)) for day in DAYS} == is_in
