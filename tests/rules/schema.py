from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from engine.features.spec import EventType, FeatureSpec
from engine.rules.read import read_rule
from engine.rules.rule import Rule
from engine.rules.scope import Scope

AS_OF = date(2025, 3, 1)
COLUMNS: dict[str, pl.DataType] = {
    "a": pl.Int64(),
    "b": pl.Int64(),
    "score": pl.Float64(),
    "region": pl.String(),
    "optin": pl.Boolean(),
    "born": pl.Date(),
    "seen": pl.Datetime("us", "UTC"),
    "r_score": pl.Int8(),
    "big": pl.UInt64(),
    "kind": pl.Categorical(),
    "spend_total": pl.Int64(),
    "tags": pl.List(pl.String()),
    "open_rate_90d": pl.Float64(),
    "purchase_count_30d": pl.Int64(),
    "purchase_count_total": pl.Int64(),
    "purchase_amount_30d": pl.Float64(),
    "purchase_active_days_30d": pl.Int64(),
    "days_since_purchase": pl.Int64(),
    "ré gion": pl.String(),
}
TYPES = ("purchase", "page_view", "cart_add", "open", "plan")
SPEC = FeatureSpec(
    types=tuple(EventType(name, name, name == "purchase") for name in TYPES),
    purchase="purchase",
    send=None,
    open="open",
    click=None,
    windows=(7, 30),
    weights=(1,) * len(TYPES),
    engagement_days=30,
    frequency_unit="orders",
    timezone="Europe/Paris",
    currency_digits=2,
    families=("type_days",),
    columns=("page", "amount", "category", "quantity", "machine"),
)
SCOPE = Scope(COLUMNS, {"open_rate_90d": "ratio"}, SPEC, frozenset({"VIP", "Prospects chauds", "é"}), AS_OF)


def read(text: str, scope: Scope = SCOPE) -> Rule:
    reading = read_rule(text, scope)
    assert reading.problems == ()
    assert reading.rule is not None
    return reading.rule


def messages(text: str, scope: Scope = SCOPE) -> list[str]:
    reading = read_rule(text, scope)
    assert (reading.rule is None) == bool(reading.problems)
    return [problem.message for problem in reading.problems]


def held(text: str, **values: Any) -> bool:
    frame = pl.DataFrame({name: [values.get(name)] for name in COLUMNS}, schema=COLUMNS)
    more = {name: [value] for name, value in values.items() if name not in COLUMNS}
    result: bool = (
        frame.with_columns(**{name: pl.Series(value) for name, value in more.items()}).select(read(text).expr()).item()
    )
    return result
