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
    assert "a grew from 100 to 110 people (+10.0%)." in said
    assert "b shrank from 120 to 110 people (-8.3%)." in said
    assert any(text.startswith("The best segment is a: €9.50 of spend per head, of 110 people.") for text in said)
    assert "Since 1 February 2026, 20 of 100 have left a (20.0%), and 30 came." in said
    assert "The run gave 2 warnings: see the alerts." in said
    assert section(two).missing is None


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
    [(0.6, "is still right in its order"), (0.45, "is no longer right"), (None, "cannot be told yet")],
)
def test_whether_the_model_is_right(two: Facts, low: float | None, said: str) -> None:
    row = {"as_of": THEN, "base_rate": 0.1, "predicted_rate": 0.12, "rows": 200, "auc": 0.7, "auc_low": low}
    table = pl.DataFrame([row], {name: SCHEMA[name] for name in SCHEMA})
    facts = replace(two, bundle_id="b", validation={"buys": table})
    (text,) = [text for text in told(section(facts), facts) if "buys" in text]
    assert said in text
    assert "expected 12.0% and 10.0% came true" in text
    unknown = replace(two, bundle_id="b")
    assert any("has not been measured" in text for text in told(section(unknown), unknown))
