from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config_consent import Consent
from engine.consent.inputs import (
    LACKS,
    Inputs,
    asked_of_all,
    inputs_of,
    unknown_columns,
    usable_rows,
    without_unknown,
)
from engine.features.catalogue import user_catalogue
from engine.features.feature import Feature
from engine.features.measure import EventRef, Measure
from engine.features.spec import EventType
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code
from tests.features.specs import spec_of

OPENS = Inputs(("open_tracking",), (("open", 1), ("open_machine", 1)))
TWO = Inputs(("clicking", "opening"), (("click", 1), ("open", 2), ("seen", 3)))
TYPES = ("send", "open", "click", "purchase")


def consent(**values: object) -> Consent:
    return Consent.model_validate({"path": ("consents.csv",), **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"inputs": {"open_tracking": []}}, None),
        ({"inputs": {"open_tracking": ["open"]}, "without_inputs": "leave_out"}, None),
        ({"inputs": {"open_tracking": ["open"]}}, OPENS),
        (
            {"inputs": {"open_tracking": ["open"], "email_marketing": ["open"]}},
            Inputs(("email_marketing", "open_tracking"), (("open", 3), ("open_machine", 3))),
        ),
    ],
)
def test_inputs_of_a_configuration(values: dict[str, object], expected: Inputs | None) -> None:
    assert inputs_of(consent(**values)) == expected
    assert inputs_of(None) is None


def test_who_lacks_an_input_is_left_out_when_asked_for() -> None:
    listed = {"process": ["profiling"], "inputs": {"open_tracking": ["open"], "email_marketing": []}}
    assert asked_of_all(consent(**listed)) == ("profiling",)
    assert asked_of_all(consent(**listed, without_inputs="leave_out")) == ("profiling", "open_tracking")


@pytest.mark.parametrize("inputs", [OPENS, TWO])
def test_inputs_come_back_from_json(inputs: Inputs) -> None:
    assert Inputs.from_json(inputs.to_json()) == inputs


def test_a_derived_type_needs_what_its_type_needs() -> None:
    spec = spec_of(TYPES)
    spec = replace(spec, types=(*spec.types, EventType("open_phone", "open_phone", False, "open", "device = 'phone'")))
    needs = {kind.name: OPENS.of_kind(kind.name, spec) for kind in spec.types}
    assert needs == {"send": 0, "open": 1, "click": 0, "purchase": 0, "open_phone": 1}


CODES = (Code("send"), Code("open"), Code("click"), Code("seen"), Code("open", "amount > 1"))
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, len(CODES) - 1), st.integers(0, 9)), max_size=30)


@given(ROWS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_usable_rows_are_those_whose_purposes_the_user_has(rows: list[tuple[int, int, int]], lacks: list[int]) -> None:
    schema = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32}
    daily = pl.DataFrame(rows, schema, orient="row").with_columns(events=1, amount_minor=0)
    events = daily.with_columns(time=pl.col("day") * 10)
    found = usable_rows(Bucket(pl.DataFrame(), daily, events), CODES, TWO, pl.Series(lacks, dtype=pl.UInt32))
    needs = {"click": {1}, "open": {2}, "seen": {1, 2}}
    expected = [
        row for row in rows if not any(lacks[row[0]] & bit for bit in needs.get(CODES[row[1]].event_type, set()))
    ]
    assert found.daily.select("user", "type", "day").rows() == expected
    assert found.events is not None
    assert found.events.drop("time").equals(found.daily)


def table_of(spec_lacks: list[int], names: list[str]) -> pl.DataFrame:
    lacks = pl.Series(LACKS, spec_lacks, pl.UInt32)
    return pl.DataFrame([lacks, *(pl.Series(name, [1] * len(lacks)) for name in names)])


ROLES = {"send": "send", "open": "open", "click": "click"}


@pytest.mark.parametrize(
    ("column", "null"),
    [
        ("open_count_7d", True),
        ("open_count_total", True),
        ("days_since_open", True),
        ("open_rate_7d", True),
        ("open_preferred_hour_30d", True),
        ("click_rate_7d", False),
        ("send_count_7d", False),
        ("active_days_7d", False),
        ("days_since_last_event", False),
        ("engagement_points", False),
        ("tenure_days", False),
        ("rfm_monetary", False),
        ("funnel_open_rate_7d", True),
        ("funnel_click_to_open_rate_7d", False),
        ("preferred_hour_30d", False),
    ],
)
def test_gd02_what_is_made_of_inputs_alone_is_null_and_the_rest_is_left(column: str, null: bool) -> None:
    spec = spec_of(TYPES, **ROLES, families=("funnel", "hours"), columns=())
    names = [feature.name for feature in user_catalogue(spec)]
    found = without_unknown(table_of([0, 1], names), spec, OPENS)
    assert found[column].to_list() == [1, None if null else 1]
    assert found.columns == [LACKS, *names]
    # A rate per event that does not count is never there, so that a model of these users need not read it.
    assert (column in unknown_columns(spec, OPENS)) == (null or column == "funnel_click_to_open_rate_7d")


def test_each_user_lacks_what_they_lack() -> None:
    spec = spec_of(("open", "click", "seen", "purchase"), open="open", click="click", weights=(1, 1, 1, 0))
    names = [feature.name for feature in user_catalogue(spec)]
    found = without_unknown(table_of([0, 1, 2, 3], names), spec, TWO)
    there = {name: found[name].is_not_null().to_list() for name in ("open_count_7d", "click_count_7d", "seen_count_7d")}
    assert there == {
        "open_count_7d": [True, True, False, False],
        "click_count_7d": [True, False, True, False],
        "seen_count_7d": [True, False, False, False],
    }
    # Of what is left of the three, one is enough.
    assert found["engagement_points"].to_list() == [1, 1, 1, None]


def test_measures_are_null_where_a_kind_of_their_events_does_not_count() -> None:
    spec = spec_of(TYPES)
    counts = Measure("event_count", (EventRef("open"),), 30)
    others = Measure("event_count", (EventRef("send", "amount > 1"),), 30)
    follows = Measure("not_followed_by", (EventRef("send"), EventRef("open")), 30, within=3)
    measures = (counts, others, follows)
    found = without_unknown(table_of([0, 1], [one.name for one in measures] + CORE), spec, OPENS, measures)
    assert [found[one.name].to_list() for one in measures] == [[1, None], [1, 1], [1, None]]


CORE = [feature.name for feature in user_catalogue(spec_of(TYPES))]


def test_rates_say_what_they_count() -> None:
    spec = spec_of((*TYPES, "refund"), **ROLES, refund="refund", families=("value", "funnel"))
    rates: dict[str, Feature] = {feature.name: feature for feature in user_catalogue(spec) if feature.counted}
    assert {name for name in rates if name.endswith("_7d")} >= {
        "open_rate_7d",
        "click_rate_7d",
        "click_to_open_rate_7d",
        "funnel_open_rate_7d",
        "refund_rate_7d",
    }
    assert all(set(feature.counted) < set(feature.types) for feature in rates.values())
