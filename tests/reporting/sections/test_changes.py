from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from engine.reporting.facts import Facts
from engine.reporting.sections.changes import section, size_changes
from engine.validation_table import SCHEMA
from tests.reporting.samples import made, moved, side, told

THEN, NOW = date(2026, 2, 1), date(2026, 3, 1)


@pytest.fixture
def two() -> Facts:
    before = side(THEN, 300, {"a": (100, 9.0), "b": (120, 5.0), "c": (80, 1.0)})
    counts = moved(THEN, {"a": 30, "b": 0, "c": 0}, {"a": 20, "b": 10, "c": 0}) | {"warnings": ["one", "two"]}
    return made(side(NOW, 310, {"a": (110, 9.5), "b": (110, 5.0), "c": (90, 1.0)}, counts=counts), before)


def test_what_changed_is_said_with_numbers(two: Facts) -> None:
    said = told(section(two), two)
    assert "310 people on 1 March 2026: +10 (+3.3%) since 1 February 2026." in said
    assert "Grew most: a by +10 (from 100 to 110) and c by +10 (from 80 to 90)." in said
    assert "Shrank most: b by -10 (from 120 to 110)." in said
    assert "The best segment is a: its 110 people have spent €9.50 per head, more than those of any other." in said
    assert "Since 1 February 2026, 20 of 100 have left a (20.0%), and 30 came." in said
    assert "The run gave 2 warnings: see the alerts." in said
    assert section(two).missing is None


def test_of_a_best_segment_that_nobody_was_in_the_best_one_of_then_is_told() -> None:
    before = side(THEN, 220, {"new": (0, None), "a": (100, 9.0), "b": (120, 5.0)})
    counts = moved(THEN, {"new": 40, "a": 0, "b": 20}, {"new": 0, "a": 60, "b": 0})
    now = side(NOW, 220, {"new": (40, 12.0), "a": (40, 9.0), "b": (140, 5.0)}, counts=counts)
    said = told(section(made(now, before)), made(now, before))
    assert "Nobody was in new on 1 February 2026; the best segment of that day was a." in said
    assert any(text.startswith("Since 1 February 2026, 60 of 100 have left a (60.0%)") for text in said)


def test_the_first_date_has_nothing_to_compare_with(two: Facts) -> None:
    first = replace(two, before=None)
    assert section(first).figures == ()
    assert "1 March 2026 is the first date: there is nothing to compare it with." in told(section(first), first)
    assert size_changes(first) is None


def test_hidden_sizes_have_no_change() -> None:
    before = side(THEN, 203, {"a": (100, 9.0), "b": (100, 5.0), "c": (3, 1.0)})
    facts = made(side(NOW, 300, {"a": (100, 9.0), "b": (110, 5.0), "c": (90, 1.0)}), before)
    table = size_changes(facts)
    assert table is not None
    assert table.filter(pl.col("change").is_null())["segment"].to_list() == ["b", "c"]


@pytest.mark.parametrize(
    ("low", "said"),
    [(0.6, "is still right:"), (0.45, "is no longer right"), (None, "cannot be told yet")],
)
def test_whether_the_model_is_right(two: Facts, low: float | None, said: str) -> None:
    row = {"as_of": THEN, "base_rate": 0.1, "predicted_rate": 0.12, "rows": 200, "auc": 0.7, "auc_low": low}
    table = pl.DataFrame([row], {name: SCHEMA[name] for name in SCHEMA})
    facts = replace(two, bundle_id="b", validation={"buys": table})
    (text,) = [text for text in told(section(facts), facts) if "buys" in text]
    assert said in text
    assert "expected 12.0% and 10.0% came true" in text
    off = replace(facts, validation={"buys": table.with_columns(predicted_rate=0.01)})
    assert any("but not in its probabilities" in text for text in told(section(off), off)) == (
        said == "is still right:"
    )
    unknown = replace(two, bundle_id="b")
    assert any("has not been measured" in text for text in told(section(unknown), unknown))
