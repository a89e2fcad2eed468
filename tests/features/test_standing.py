from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.bands import BandTotals
from engine.features.build import bands_of, build_features, features_of
from engine.features.spec import FeatureSpec
from engine.features.standing import bring_forward, from_frame, priced_types, standing_of, to_frame
from tests.features.specs import spec_of

SCHEMA = {
    "user": pl.UInt32,
    "type": pl.UInt16,
    "day": pl.Int32,
    "events": pl.Int64,
    "amount_minor": pl.Int64,
    "unit": pl.Int64,
}
USERS = 4
SPEC = spec_of(("visit", "buy"), ("buy",), purchase="buy", windows=(3, 10), engagement_days=5)
ROW = st.tuples(
    st.integers(0, USERS - 1),
    st.integers(0, 1),
    st.integers(0, 30),
    st.integers(0, 3),
    st.integers(-5, 900),
    st.integers(0, 3),
)


def partials(rows: list[tuple[int, ...]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.with_columns(amount_minor=pl.when(pl.col("type") == 1).then("amount_minor").otherwise(0))


def from_all(rows: pl.DataFrame, day: int, spec: FeatureSpec = SPEC) -> pl.DataFrame:
    return build_features(rows.drop("unit"), USERS, day, spec)


def changed_days(then: int, now: int, windows: tuple[int, ...]) -> set[int]:
    return {day for length in (0, *windows) for day in range(then - length, now - length)}


def brought_forward(rows: pl.DataFrame, known: set[int], then: int, now: int) -> pl.DataFrame:
    """Features as of `now` from the totals of the units `known` as of `then`, through a table as a run keeps it."""
    before, after = bands_of(then, USERS, SPEC), bands_of(now, USERS, SPEC)
    old, new = rows.filter(pl.col("unit").is_in(known)), rows.filter(~pl.col("unit").is_in(known))
    totals = BandTotals(old.filter(pl.col("day") < then), before, len(SPEC.types))
    keys = pl.Series([30, 10, 20, 40], dtype=pl.UInt64)
    table = to_frame(standing_of(totals, before, SPEC), keys)
    days = changed_days(then, now, before.windows) | set(new["day"])
    changed = pl.col("day").is_in(days) & (pl.col("day") < now)
    standing = bring_forward(
        from_frame(table, keys, before, len(SPEC.types), priced_types(SPEC)),
        now,
        old.filter(changed & (pl.col("day") < then)),
        rows.filter(changed),
        SPEC.code(SPEC.purchase),
    )
    return features_of(standing, after, SPEC)


@given(
    rows=st.lists(ROW, max_size=40), known=st.sets(st.integers(0, 3)), then=st.integers(0, 32), more=st.integers(0, 12)
)
def test_totals_brought_forward_are_those_of_all_rows(
    rows: list[tuple[int, ...]], known: set[int], then: int, more: int
) -> None:
    frame = partials(rows)
    now = then + more
    assert brought_forward(frame, known, then, now).equals(from_all(frame, now))


@pytest.mark.parametrize("shift", [1, 3, 10, 11])
def test_an_event_passes_from_window_to_window(shift: int) -> None:
    frame = partials([(0, 1, 20, 2, 500, 0)])
    found = brought_forward(frame, {0}, 21, 20 + shift)
    assert found["buy_count_3d"].to_list() == [2 if shift <= 3 else 0]
    assert found["buy_count_10d"].to_list() == [2 if shift <= 10 else 0]
    assert found["buy_amount_total"].to_list() == [5.0]
    assert found["days_since_buy"].to_list() == [shift]


def test_a_late_purchase_becomes_the_first_one() -> None:
    frame = partials([(0, 1, 20, 1, 500, 0), (0, 1, 12, 1, 300, 1), (0, 1, 20, 1, 50, 1)])
    found = brought_forward(frame, {0}, 21, 22)
    assert found["btyd_recency_days"].to_list() == [8]
    assert found["btyd_mean_repeat_spend"].to_list() == [5.5]
    assert found["rfm_frequency"].to_list() == [3]
