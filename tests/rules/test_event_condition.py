from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events.condition import condition
from engine.rules.scope import Scope
from tests.rules.schema import read

EVENT: dict[str, pl.DataType] = {
    "page": pl.String(),
    "category": pl.String(),
    "amount": pl.Float64(),
    "quantity": pl.Int64(),
    "machine": pl.Boolean(),
}


def canonical(text: str) -> str:
    (measure,) = read(f"event_count('open', 45, {text}) > 1").measures
    where = measure.events[0].where
    assert where is not None
    return where


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("page='x'", "page = 'x'"),
        ("(((page) = ('e\u0301''')))", "page = 'é'''"),
        ("page <> 'x'", "NOT COALESCE(page = 'x', FALSE)"),
        ("NOT page = 'x'", "NOT COALESCE(page = 'x', FALSE)"),
        ("page IN ('b', 'a', 'b')", "page IN ('a', 'b')"),
        ("page NOT IN ('a')", "NOT COALESCE(page IN ('a'), FALSE)"),
        ("page IS NOT NULL", "page IS NOT NULL"),
        ("NOT (machine OR amount > 1.50)", "(NOT COALESCE(machine, FALSE)) AND (NOT COALESCE(amount > 1.5, FALSE))"),
        ("quantity > 1 AND (page = 'x' AND machine)", "(quantity > 1) AND (page = 'x') AND (machine)"),
        ("amount * quantity - 1 >= -2", "((amount * quantity) - 1) >= -2"),
        ("LOWER(page) NOT LIKE '%x_'", "NOT COALESCE(LOWER(page) LIKE '%x_', FALSE)"),
        ("amount BETWEEN 1 AND 2e3", "amount BETWEEN 1 AND 2000"),
    ],
)
def test_equal_conditions_have_one_text(text: str, expected: str) -> None:
    assert canonical(text) == expected


atoms = st.sampled_from(
    [
        *("page = 'x'", "page <> 'x'", "page = category", "page IN ('x', 'é')", "page NOT IN ('y')", "page LIKE 'x%'"),
        *("page NOT ILIKE 'É'", "page IS NULL", "category IS NOT NULL", "machine", "NOT machine", "machine = TRUE"),
        *("amount > 1.5", "amount <= quantity", "quantity BETWEEN 1 AND 2", "quantity NOT BETWEEN 0 AND 1"),
        *("amount * 2 - quantity > 0", "-quantity < 0", "ABS(quantity) = 1", "UPPER(page) = 'X'", "page <> ''''"),
        *("STARTS_WITH(page, 'x')", "ENDS_WITH(page, category)", "machine = (page = 'x')"),
    ]
)
texts = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=5,
)
events = st.lists(
    st.fixed_dictionaries(
        {
            "page": st.none() | st.sampled_from(["x", "xy", "é", "'"]),
            "category": st.none() | st.sampled_from(["x", "y"]),
            "amount": st.none() | st.sampled_from([-1.0, 1.5, 2.0]),
            "quantity": st.none() | st.integers(-1, 3),
            "machine": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)


@given(text=texts, rows=events)
@settings(max_examples=80, deadline=None)
def test_the_canonical_text_means_what_a_rule_means(text: str, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=EVENT)
    as_rule = frame.select(read(text, Scope(EVENT)).expr()).to_series().to_list()
    as_condition = frame.select(condition(canonical(text), "key")[0]).to_series().to_list()
    assert as_condition == as_rule
