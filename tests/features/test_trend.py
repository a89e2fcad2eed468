from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings

from engine.features.spec import FeatureSpec
from engine.features.trend import FAMILY
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside, over


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    row: Row = {}
    for kind in spec.types:
        parts = {"count": 1}
        if kind.name == "purchase":
            parts["amount"] = 10**spec.currency_digits
        for window in spec.windows:
            now = inside(events, as_of, window, kind.name)
            before = inside(events, as_of, 2 * window, kind.name)
            for part, unit in parts.items():
                value = (lambda found: sum(event.amount for event in found)) if part == "amount" else len
                this, last = value(now), value(before) - value(now)
                row[f"{kind.slug}_{part}_previous_{window}d"] = last if part == "count" else last / unit
                row[f"{kind.slug}_{part}_trend_{window}d"] = over(this - last, abs(this) + abs(last))
    return row


@pytest.mark.parametrize("windows", [pytest.param((3, 30), marks=pytest.mark.slow), (3, 6, 7)])
@given(history=histories())
@settings(max_examples=40)
def test_every_column_equals_a_count_in_plain_python(
    windows: tuple[int, ...], history: tuple[date, list[Daily]]
) -> None:
    as_of, events = history
    spec = full_spec(windows=windows)
    assert built(FAMILY, events, as_of, spec) == {
        user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()
    }


@pytest.mark.parametrize(
    ("days", "trend"), [((28, 25), 0.0), ((28,), 1.0), ((25,), -1.0), ((28, 28, 28, 25), 0.5), ((20,), None)]
)
def test_the_trend_lies_between_minus_one_and_one(days: tuple[int, ...], trend: float | None) -> None:
    events = [Daily(0, "visit", date(2024, 2, day)) for day in days]
    assert built(FAMILY, events, date(2024, 2, 29), full_spec())[0]["visit_count_trend_3d"] == trend
