from __future__ import annotations

import math
from datetime import date, timedelta

import pytest
from hypothesis import given, settings

from engine.features.points import FAMILY, decay_factors
from engine.features.spec import FeatureSpec
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside
from tests.features.specs import spec_of

FORMS = {
    "half_life_days": 30,
    "full_open_rate": 0.5,
    "full_click_rate": 0.1,
    "full_purchases": 4,
    "full_amount_minor": 50_000,
    "engagement_days": 90,
    "weights": (0, 1, 2, 5, 0, 1, 0, 0, 0, 2, 2, 0, 0, 1, 3),
}


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    weights = dict(zip(spec.type_names, spec.weights, strict=True))
    decayed = sum(
        weights[event.type] * round(1e6 * 2 ** (-((as_of - event.day).days - 1) / (spec.half_life_days or 1)))
        for event in events
    )
    sent = len(inside(events, as_of, spec.engagement_days, "send"))
    row: Row = {"engagement_points_decayed": decayed / 1e6}
    for kind, full in (("open", spec.full_open_rate), ("click", spec.full_click_rate or 1)):
        rate = len(inside(events, as_of, spec.engagement_days, kind)) / sent if sent else 0.0
        row[f"engagement_{kind}_points"] = pytest.approx(min(5, 5 * math.log2(1 + rate / full)), rel=1e-12)
    purchases = inside(events, as_of, 182, "purchase")
    row["purchase_count_182d"] = len(purchases)
    row["engagement_purchase_points"] = min(len(purchases), spec.full_purchases) * 10 / spec.full_purchases
    full_amount = spec.full_amount_minor or 1
    spent = sum(event.amount for event in purchases)
    row["engagement_amount_points"] = min(max(spent, 0), full_amount) * 10 / full_amount
    return row


@given(history=histories())
@settings(max_examples=60)
def test_every_column_equals_its_formula_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    spec = full_spec(**FORMS)
    assert built(FAMILY, events, as_of, spec) == {
        user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()
    }


@pytest.mark.parametrize("half_life", [1, 7, 30, 365])
def test_a_half_life_later_a_point_counts_half(half_life: int) -> None:
    factors = decay_factors(half_life)
    assert [int(factors[half_life * times]) for times in range(4)] == [1_000_000, 500_000, 250_000, 125_000]
    assert (factors[1:] <= factors[:-1]).all()
    assert factors[-1] == 1


@pytest.mark.parametrize(("bought", "points"), [(0, 0.0), (1, 2.5), (3, 7.5), (4, 10.0), (9, 10.0)])
def test_more_than_three_purchases_in_half_a_year_give_ten_points(bought: int, points: float) -> None:
    as_of = date(2024, 3, 1)
    events = [Daily(0, "purchase", as_of - timedelta(days=182)) for _ in range(bought)]
    events += [Daily(0, "purchase", as_of - timedelta(days=183)), Daily(0, "send", date(2024, 2, 1))]
    row = built(FAMILY, events, as_of, full_spec())[0]
    assert (row["purchase_count_182d"], row["engagement_purchase_points"]) == (bought, points)


@pytest.mark.parametrize(("opened", "points"), [(0, 0.0), (5, 5.0), (10, 5.0)])
def test_an_open_rate_of_a_half_gives_five_points(opened: int, points: float) -> None:
    events = [Daily(0, "send", date(2024, 2, 1))] * 10 + [Daily(0, "open", date(2024, 2, 2))] * opened
    row = built(FAMILY, events, date(2024, 3, 1), full_spec(engagement_days=90))[0]
    assert row["engagement_open_points"] == pytest.approx(points, abs=1e-12)


def test_half_a_year_is_no_second_window() -> None:
    names = [feature.name for feature in FAMILY.features(full_spec(windows=(30, 182)))]
    assert "purchase_count_182d" not in names
    assert "engagement_purchase_points" in names


def test_columns_follow_from_roles_and_settings() -> None:
    assert FAMILY.features(spec_of(("visit",))) == ()
    assert [feature.name for feature in FAMILY.features(spec_of(("visit",), half_life_days=3))] == [
        "engagement_points_decayed"
    ]
