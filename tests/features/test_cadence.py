from __future__ import annotations

import math
from datetime import date
from fractions import Fraction
from itertools import pairwise
from statistics import median

from hypothesis import given, settings

from engine.features.cadence import FAMILY
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories
from tests.features.specs import spec_of


def expected(events: list[Daily], as_of: date) -> Row:
    days = sorted({event.day for event in events if event.type == "purchase"})
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    row: Row = dict.fromkeys(feature.name for feature in FAMILY.features(full_spec()))
    if not gaps:
        return row
    mean, since = Fraction(sum(gaps), len(gaps)), (as_of - days[-1]).days
    row |= {
        "purchase_gap_mean_days": float(mean),
        "purchase_gap_median_days": float(median(gaps)),
        "purchase_gap_last_days": gaps[-1],
        "expected_next_purchase_days": float(mean - since),
        "purchase_overdue_ratio": float(since / mean),
    }
    if len(gaps) > 1:
        variance = sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
        row["purchase_gap_std_days"] = math.sqrt(variance)
        row["purchase_gap_variation"] = math.sqrt(variance) * len(gaps) / sum(gaps)
    return row


@given(history=histories(("purchase", "visit")))
@settings(max_examples=80)
def test_every_column_equals_the_exact_fractions(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    assert built(FAMILY, events, as_of, full_spec()) == {
        user: expected(own, as_of) for user, own in by_user(events, as_of).items()
    }


def test_who_buys_every_week_and_is_late() -> None:
    events = [Daily(0, "purchase", date(2024, 2, day)) for day in (1, 8, 8, 15)]
    assert built(FAMILY, events, date(2024, 2, 29), full_spec())[0] == {
        "purchase_gap_mean_days": 7.0,
        "purchase_gap_std_days": 0.0,
        "purchase_gap_variation": 0.0,
        "purchase_gap_median_days": 7.0,
        "purchase_gap_last_days": 7,
        "expected_next_purchase_days": -7.0,
        "purchase_overdue_ratio": 2.0,
    }


def test_there_is_no_column_without_a_purchase_type() -> None:
    assert FAMILY.features(spec_of(("visit",))) == ()
