from __future__ import annotations

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.events.condition import condition

EVENTS = pl.DataFrame({"amount": [10.0, 60.0, None], "category": ["shoes", None, "shoes"]})


@pytest.mark.parametrize(
    ("where", "columns", "holds"),
    [
        ("amount >= 50", ("amount",), [False, True, False]),
        ("category = 'shoes' AND amount < 50", ("amount", "category"), [True, False, False]),
        ("NOT category = 'shoes'", ("category",), [False, False, False]),
        ("amount IS NULL", ("amount",), [False, False, True]),
    ],
)
def test_a_condition_is_true_or_false(where: str, columns: tuple[str, ...], holds: list[bool]) -> None:
    expression, read = condition(where, "features.events.x.where")
    assert read == columns
    assert EVENTS.select(expression.alias("_"))["_"].to_list() == holds


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("categry = 'x'", "did you mean 'category'?"),
        ("amount + 1", "expected a condition (true or false), got Float64"),
        ("category = ", "features.events.x.where"),
        ("SUM(amount) > 3", "SUM()"),
    ],
)
def test_what_is_no_condition_is_told_with_its_place(where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        condition(where, "features.events.x.where")
    assert caught.value.code == "feature-event"
    assert words in caught.value.message
    assert caught.value.message.endswith(where)
    assert "category" in caught.value.hint


def test_the_code_is_the_callers() -> None:
    with pytest.raises(ConfigError) as caught:
        condition("x", "targets.t.where", code="target-where")
    assert caught.value.code == "target-where"
