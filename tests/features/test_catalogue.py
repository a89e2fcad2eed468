from __future__ import annotations

import re

import polars as pl
import pytest

from engine.features.catalogue import catalogue, core_catalogue, families
from tests.features.specs import spec_of

SPEC = spec_of(("send", "purchase", "open", "click"), send="send", open="open", click="click", windows=(7, 30))
NAMES = [
    "tenure_days",
    "days_since_last_event",
    "active_days_7d",
    "active_days_30d",
    "send_count_7d",
    "send_count_30d",
    "send_count_total",
    "days_since_send",
    "purchase_count_7d",
    "purchase_count_30d",
    "purchase_count_total",
    "purchase_amount_7d",
    "purchase_amount_30d",
    "purchase_amount_total",
    "days_since_purchase",
    "open_count_7d",
    "open_count_30d",
    "open_count_total",
    "days_since_open",
    "click_count_7d",
    "click_count_30d",
    "click_count_total",
    "days_since_click",
    "open_rate_7d",
    "open_rate_30d",
    "click_rate_7d",
    "click_rate_30d",
    "click_to_open_rate_7d",
    "click_to_open_rate_30d",
    "purchase_rate_7d",
    "purchase_rate_30d",
    "rfm_recency_days",
    "rfm_frequency",
    "rfm_monetary",
    "rfm_mean_order",
    "btyd_frequency",
    "btyd_recency_days",
    "btyd_t_days",
    "btyd_mean_repeat_spend",
    "engagement_points",
]


def test_the_order_of_columns_is_fixed() -> None:
    assert [feature.name for feature in catalogue(SPEC)] == NAMES


@pytest.mark.parametrize("feature", catalogue(SPEC), ids=lambda feature: feature.name)
def test_a_name_says_unit_and_window(feature: object) -> None:
    from engine.features.catalogue import Feature

    assert isinstance(feature, Feature)
    assert feature.dtype == (pl.Float64 if feature.unit in {"money", "ratio"} else pl.Int64)
    window = re.search(r"_(\d+)d$", feature.name)
    assert feature.window_days == (int(window[1]) if window else (30 if feature.unit == "points" else None))
    assert feature.meaning.endswith((".", "repeats."))
    if "_rate_" in feature.name:
        assert feature.unit == "ratio"
    if "_count_" in feature.name:
        assert feature.unit == "count"
    if "_amount_" in feature.name:
        assert feature.unit == "money"


@pytest.mark.parametrize(
    ("roles", "rates"),
    [
        ({}, []),
        ({"send": "send"}, ["purchase_rate"]),
        ({"open": "open", "click": "click"}, ["click_to_open_rate"]),
        ({"send": "send", "open": "open"}, ["open_rate", "purchase_rate"]),
    ],
)
def test_rates_need_both_roles(roles: dict[str, str], rates: list[str]) -> None:
    found = families(spec_of(("purchase", "send", "open", "click"), windows=(7,), **roles))["rates"]
    assert [feature.name.removesuffix("_7d") for feature in found] == rates


def test_rfm_needs_a_purchase_type() -> None:
    key = "recency, frequency, monetary value"
    assert families(spec_of(("visit",)))[key] == ()
    assert len(families(spec_of())[key]) == 8


@pytest.mark.parametrize(("unit", "words"), [("orders", "RFM: purchases, the"), ("days", "RFM: days with a purchase,")])
def test_the_meaning_of_frequency_follows_its_unit(unit: str, words: str) -> None:
    [found] = [feature for feature in catalogue(spec_of(frequency_unit=unit)) if feature.name == "rfm_frequency"]
    assert words in found.meaning


CORE = {feature.name: feature for feature in catalogue(SPEC)}


@pytest.mark.parametrize(
    ("name", "types", "tracked", "absent"),
    [
        ("tenure_days", (), True, None),
        ("active_days_7d", (), True, 0),
        ("send_count_7d", ("send",), False, 0),
        ("purchase_amount_total", ("purchase",), False, 0),
        ("days_since_open", ("open",), True, None),
        ("open_count_total", ("open",), True, 0),
        ("click_rate_7d", ("click", "send"), True, None),
        ("purchase_rate_7d", ("purchase", "send"), False, None),
        ("rfm_monetary", ("purchase",), False, None),
        ("engagement_points", ("send", "purchase", "open", "click"), True, 0),
    ],
)
def test_a_feature_knows_types_purposes_and_what_stands_for_absence(
    name: str, types: tuple[str, ...], tracked: bool, absent: int | None
) -> None:
    purposes = ("profiling", "email_tracking") if tracked else ("profiling",)
    assert (CORE[name].types, CORE[name].purposes, CORE[name].absent) == (types, purposes, absent)


def test_without_opens_nothing_needs_the_purpose_of_tracking() -> None:
    assert {feature.purposes for feature in catalogue(spec_of(("purchase", "send"), send="send"))} == {("profiling",)}


def test_families_stand_behind_the_core() -> None:
    spec = spec_of(families=("lifecycle", "cadence"))
    names = [feature.name for feature in core_catalogue(spec)]
    assert [feature.name for feature in catalogue(spec)][: len(names)] == names
    assert list(families(spec))[-2:] == ["lifecycle", "cadence"]
