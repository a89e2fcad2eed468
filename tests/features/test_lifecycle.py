from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings

from engine.features.lifecycle import FAMILY
from engine.features.spec import FeatureSpec
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories

ACTIONS = {"open", "click", "purchase", "reply", "comment", "share", "visit"}


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    days = sorted({event.day for event in events})
    pauses = [(later, (later - earlier).days) for earlier, later in pairwise(days)]
    returns = [day for day, pause in pauses if pause >= spec.reactivated_after_days]
    short, long = (as_of - timedelta(days=window) for window in (spec.windows[0], spec.windows[-1]))
    recent = [day for day in days if day >= long]
    acted = sorted({event.day for event in events if event.type in ACTIONS})
    return {
        "first_seen": days[0],
        "last_seen": days[-1],
        "longest_pause_days": max((pause for _, pause in pauses), default=None),
        f"reactivated_{spec.windows[0]}d": int(any(day >= short for day in returns)),
        "days_since_reactivation": (as_of - returns[-1]).days if returns else None,
        f"active_weeks_{spec.windows[-1]}d": len({day.isocalendar()[:2] for day in recent}),
        f"active_months_{spec.windows[-1]}d": len({(day.year, day.month) for day in recent}),
        f"new_user_{spec.windows[0]}d": int(days[0] >= short),
        "days_since_last_action": (as_of - acted[-1]).days if acted else None,
        "last_action_pause_days": (acted[-1] - acted[-2]).days if len(acted) > 1 else None,
    }


@pytest.mark.parametrize("windows", [pytest.param((3, 30), marks=pytest.mark.slow), (7, 400), (1,)])
@given(history=histories())
@settings(max_examples=40)
def test_every_column_equals_a_look_in_plain_python(
    windows: tuple[int, ...], history: tuple[date, list[Daily]]
) -> None:
    as_of, events = history
    spec = full_spec(windows=windows)
    assert built(FAMILY, events, as_of, spec) == {
        user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()
    }


def test_iso_weeks_do_not_end_with_the_year() -> None:
    # Both are days of week 53 of 2020.
    events = [Daily(0, "visit", date(2020, 12, 31)), Daily(0, "visit", date(2021, 1, 3))]
    row = built(FAMILY, events, date(2021, 1, 4), full_spec())[0]
    assert (row["active_weeks_30d"], row["active_months_30d"]) == (1, 2)


@pytest.mark.parametrize(("pause", "reactivated"), [(89, 0), (90, 1)])
def test_a_pause_counts_from_its_full_length(pause: int, reactivated: int) -> None:
    last = date(2024, 2, 29)
    events = [Daily(0, "visit", last - timedelta(days=pause)), Daily(0, "send", last)]
    row = built(FAMILY, events, date(2024, 3, 1), full_spec())[0]
    assert (row["reactivated_3d"], row["longest_pause_days"]) == (reactivated, pause)
