from __future__ import annotations

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given, settings

from engine.features.columns import log_types
from engine.features.seasonality import FAMILY, year_before
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside, over


def year_ago(day: date) -> date:
    try:
        return day.replace(year=day.year - 1)
    except ValueError:
        return date(day.year - 1, 2, 28)


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    row: Row = {}
    purchases = [event for event in events if event.type == "purchase"]
    for window in spec.windows:
        found = inside(purchases, year_ago(as_of), window, "purchase")
        row[f"purchase_count_year_ago_{window}d"] = len(found)
        row[f"purchase_amount_year_ago_{window}d"] = sum(event.amount for event in found) / 100
    months = [sum(event.day.month == month for event in purchases) for month in range(1, 13)]
    row |= {f"purchase_share_month_{month:02d}": over(months[month - 1], len(purchases)) for month in range(1, 13)}
    row["purchase_strongest_month"] = months.index(max(months)) + 1 if purchases else None
    counted = [event for event in events if event.type in log_types(spec)]
    weekdays = [sum(event.day.isoweekday() == number for event in counted) for number in range(1, 8)]
    for number in range(7):
        row[f"{calendar.day_name[number].lower()}_share"] = over(weekdays[number], len(counted))
    row["preferred_weekday"] = weekdays.index(max(weekdays)) + 1 if counted else None
    row["weekend_share"] = over(weekdays[5] + weekdays[6], len(counted))
    return row


@given(history=histories((*full_spec().type_names, "purchase", "purchase")))
@settings(max_examples=60)
def test_every_column_equals_a_count_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    spec = full_spec()
    found = built(FAMILY, events, as_of, spec)
    assert found == {user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()}


@pytest.mark.parametrize(
    ("day", "before"),
    [
        ("2024-02-29", "2023-02-28"),
        ("2025-02-28", "2024-02-28"),
        ("2025-03-01", "2024-03-01"),
        ("2024-03-01", "2023-03-01"),
        ("1970-01-01", "1969-01-01"),
    ],
)
def test_a_year_ago_is_the_same_date(day: str, before: str) -> None:
    assert year_before(day_number(date.fromisoformat(day))) == day_number(date.fromisoformat(before))


def test_the_calendar_begins_with_year_one() -> None:
    first = day_number(date.min)
    assert year_before(first) == first - 365


def test_events_that_are_derived_or_of_machines_are_no_second_events() -> None:
    spec = full_spec()
    assert set(spec.type_names) - set(log_types(spec)) == {"big", "open_machine", "click_machine"}


def test_a_window_a_year_ago_has_its_full_length() -> None:
    as_of = date(2025, 3, 1)
    days = [date(2024, 3, 1) - timedelta(days=ago) for ago in (0, 1, 3, 4)]
    row = built(FAMILY, [Daily(0, "purchase", day) for day in days], as_of, full_spec())[0]
    assert row["purchase_count_year_ago_3d"] == 2
