from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from engine.features.assemble import add_families, needed
from engine.features.build import MONETARY_MINOR, build_features
from engine.features.catalogue import catalogue, core_catalogue
from engine.features.feature import Feature
from engine.features.registry import FAMILIES, enabled
from engine.features.windows import day_number
from tests.features.dailies import Daily, full_spec, histories, rows_of
from tests.features.specs import spec_of

DAILY = tuple(family.name for family in FAMILIES if family.grain == "daily")
DAY = date(2024, 3, 1)


def core_of(rows: pl.DataFrame, spec: object, day: int) -> pl.DataFrame:
    from engine.features.spec import FeatureSpec

    assert isinstance(spec, FeatureSpec)
    return build_features(rows.with_columns(priced=pl.lit(0, pl.Int64)), 4, day, spec)


@given(history=histories())
@settings(max_examples=12)
def test_the_table_is_the_catalogue_for_the_users_of_the_core(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    day, spec = day_number(as_of), full_spec(families=DAILY)
    rows = rows_of(events, spec)
    core = core_of(rows, spec, day)
    table = add_families(core, {"daily": rows, "events": None}, day, spec)
    assert dict(table.schema) == {
        "user": pl.UInt32(),
        **{feature.name: feature.dtype for feature in catalogue(spec)},
        MONETARY_MINOR: pl.Int64(),
    }
    assert_frame_equal(table.select(core.columns), core)
    for feature in catalogue(spec):
        assert feature.absent is None or not table[feature.name].null_count(), feature.name
    # Neither the order of the rows nor the days after shows.
    shuffled = rows.filter(pl.col("day") < day).sort("events", "type", "day", "user", descending=True)
    assert add_families(core, {"daily": shuffled}, day, spec).equals(table)


def test_who_has_no_event_of_a_family_gets_what_stands_for_absence() -> None:
    spec = full_spec(families=("funnel", "cadence", "social"))
    rows = rows_of([Daily(1, "visit", date(2024, 2, 1)), Daily(3, "comment", date(2024, 2, 29))], spec)
    day = day_number(DAY)
    table = add_families(core_of(rows, spec, day), {"daily": rows}, day, spec)
    names = ["user", "reachable", "funnel_open_count_30d", "purchase_gap_mean_days", "social_points_3d"]
    assert table.select(names).rows() == [(1, 1, 0, None, 0), (3, 1, 0, None, 2)]


def test_without_families_the_core_comes_back() -> None:
    spec = full_spec()
    rows = rows_of([Daily(1, "visit", date(2024, 2, 1))], spec)
    core = core_of(rows, spec, day_number(DAY))
    assert add_families(core, {}, day_number(DAY), spec).equals(core)
    assert catalogue(spec) == core_catalogue(spec)
    assert needed(spec) == {}


def test_what_is_needed_is_the_union_by_grain() -> None:
    spec = replace(full_spec(), families=("social", "value", "cadence", "items"), columns=("item_id",))
    reads = needed(spec)
    assert reads["daily"].types == {"purchase", "refund", "comment", "share"}
    assert "purchase" in reads["events"].types
    assert "item_id" in reads["events"].columns
    assert set(needed(replace(spec, families=("social",)))) == {"daily"}


def test_a_family_without_columns_reads_nothing() -> None:
    spec = spec_of(("visit",), families=("cadence", "items"))
    assert needed(spec) == {}
    assert [family.name for family in enabled(spec)] == ["cadence", "items"]


def test_a_grain_that_is_needed_and_not_there_is_told() -> None:
    spec = replace(full_spec(), families=("hours",))
    rows = rows_of([Daily(1, "visit", date(2024, 2, 1))], spec)
    with pytest.raises(ValueError, match="hours reads events rows"):
        add_families(core_of(rows, spec, day_number(DAY)), {"daily": rows, "events": None}, day_number(DAY), spec)


def test_families_of_the_events_grain_join_too() -> None:
    spec = replace(full_spec(), families=("hours", "lifecycle"))
    day = day_number(DAY)
    rows = rows_of([Daily(1, "visit", date(2024, 2, 28)), Daily(2, "visit", date(2024, 2, 1))], spec)
    code = spec.code("visit")
    events = pl.DataFrame(
        {
            "user": [1, 1],
            "type": [code, code],
            "day": [day - 2, day],
            "time": [(day - 2) * 86_400_000_000, 0],
            "n": [1, 1],
        },
        schema={"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "time": pl.Int64, "n": pl.Int64},
    )
    table = add_families(core_of(rows, spec, day), {"daily": rows, "events": events}, day, spec)
    hours = next(family for family in FAMILIES if family.name == "hours").features(spec)
    assert table["user"].to_list() == [1, 2]
    assert [feature.name for feature in hours if table[feature.name][1] != feature.absent] == []
    assert table.filter(pl.col("user") == 1).select(pl.col("^preferred_hour.*$")).row(0)[0] == 0


@pytest.mark.parametrize("feature", catalogue(full_spec(families=DAILY)), ids=lambda feature: feature.name)
def test_every_feature_is_documented(feature: Feature) -> None:
    assert feature.meaning.endswith(".")
    assert feature.unit in {"count", "days", "money", "ratio", "points", "flag", "date", "month", "weekday"}
    assert (feature.unit in {"ratio", "money"}) <= (feature.dtype == pl.Float64())
    assert feature.purposes[0] == "profiling"
    assert (
        (feature.window_days is None) or feature.name.endswith(f"_{feature.window_days}d") or feature.unit == "points"
    )
