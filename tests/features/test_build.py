from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.features.build import MONETARY_MINOR, build_features
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from tests.features.logs import Event, at, bucket_of, features_at, features_of, ingested, spec_of
from tests.features.oracle import expected_features

TYPES = ("purchase", "refund", "send", "open", "click")
PRICED = frozenset({"purchase", "refund"})
# Midnights around which clocks change, and quiet ones.
AS_OF = [
    (zone, date.fromisoformat(day))
    for zone, days in {
        "UTC": ("2024-01-01", "2024-03-01", "1970-01-03"),
        "Europe/Paris": ("2024-03-31", "2024-04-01", "2024-10-27", "2024-10-28", "2024-04-20"),
        "America/New_York": ("2024-11-04", "2024-03-10"),
        "America/Sao_Paulo": ("2018-11-04", "2018-11-05"),
        "Asia/Kolkata": ("2024-02-29",),
        "Pacific/Auckland": ("2024-04-08",),
    }.items()
    for day in days
]


@st.composite
def specs(draw: st.DrawFn, timezone: str) -> FeatureSpec:
    names = tuple(draw(st.permutations(TYPES)))
    role = st.booleans()
    return spec_of(
        names,
        PRICED,
        purchase="purchase" if draw(role) else None,
        send="send" if draw(role) else None,
        open="open" if draw(role) else None,
        click="click" if draw(role) else None,
        windows=draw(st.sampled_from([(1,), (1, 7, 30), (7, 30, 90, 365), (2, 3)])),
        weights=tuple(draw(st.integers(0, 5)) for _ in names),
        engagement_days=draw(st.sampled_from([1, 3, 7, 60])),
        frequency_unit=draw(st.sampled_from(["orders", "days"])),
        timezone=timezone,
        currency_digits=draw(st.sampled_from([0, 2, 3])),
    )


@st.composite
def logs(draw: st.DrawFn) -> tuple[FeatureSpec, date, list[Event]]:
    zone, as_of = draw(st.sampled_from(AS_OF))
    midnight = datetime(as_of.year, as_of.month, as_of.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    day = st.integers(-40, 2) | st.sampled_from([-1, 0, -7, -8, -30, -31, -365, -366])
    second = st.sampled_from([0, 1, 3599, 3600, 43_200, 82_800, 86_399]) | st.integers(0, 86_399)
    event = st.builds(
        lambda user, kind, days, seconds, amount: Event(
            user, kind, midnight + timedelta(days=days, seconds=seconds), amount if kind in PRICED else None
        ),
        st.integers(-2, 3),
        st.sampled_from(TYPES),
        day,
        second,
        st.none() | st.sampled_from([0, 57, 35]) | st.integers(-100_000, 10_000_000),
    )
    return draw(specs(zone)), as_of, draw(st.lists(event, min_size=1, max_size=40))


@given(log=logs(), earlier=st.integers(0, 9))
@settings(max_examples=30)
def test_every_column_equals_a_count_over_plain_python_events(
    log: tuple[FeatureSpec, date, list[Event]], earlier: int
) -> None:
    spec, as_of, events = log
    with tempfile.TemporaryDirectory() as folder:
        bucket = bucket_of(ingested(events, spec, Path(folder)), as_of)
    for day in {as_of, as_of - timedelta(days=earlier)}:
        frame = features_at(bucket, day, spec)
        found = {row.pop("user_id"): row for row in frame.iter_rows(named=True)}
        assert found == expected_features(events, day, spec)
        assert list(found) == sorted(found)


@pytest.mark.parametrize("purchase", ["purchase", None])
@pytest.mark.parametrize(
    "events", [[], [at("2024-03-01", amount=5)], [at("2024-02-01"), at("2024-02-02", kind="open")]]
)
def test_columns_and_types_are_the_catalogues_in_its_order(
    events: list[Event], purchase: str | None, tmp_path: Path
) -> None:
    spec = spec_of(("purchase", "open"), purchase=purchase, send="open", open="open")
    frame = features_of(events or [at("2024-03-02")], date(2024, 3, 1), spec, tmp_path)
    expected = [("user_id", pl.Int64()), *((feature.name, feature.dtype) for feature in catalogue(spec))]
    if purchase:
        expected.append((MONETARY_MINOR, pl.Int64()))
    assert list(frame.schema.items()) == expected
    assert frame.height == (1 if len(events) == 2 else 0)


def test_users_are_numbered_and_only_those_with_an_event_before_as_of_have_a_row(tmp_path: Path) -> None:
    spec = spec_of()
    shelf = ingested([at("2024-01-05", 30), at("2024-01-02", 10), at("2024-01-09", 20)], spec, tmp_path)
    bucket = bucket_of(shelf, date(2024, 2, 1))
    assert bucket.users["user_id"].to_list() == [10, 20, 30]
    built = build_features(bucket.daily, 3, (date(2024, 1, 6) - date(1970, 1, 1)).days, spec)
    assert built["user"].to_list() == [0, 2]
    assert built.schema["user"] == pl.UInt32


WINDOW_EDGES = [
    ("2024-03-01 00:00:00", False, False),
    ("2024-03-15 12:00:00", False, False),
    ("2024-02-29 23:59:59.999999", True, True),
    ("2024-02-23 00:00:00", True, True),
    ("2024-02-22 23:59:59.999999", False, True),
    ("2024-01-31 00:00:00", False, True),
    ("2024-01-30 23:59:59.999999", False, False),
]


@pytest.mark.parametrize(("time", "in_7_days", "in_30_days"), WINDOW_EDGES)
def test_an_event_at_the_first_instant_of_a_window_counts_and_one_at_as_of_does_not(
    time: str, in_7_days: bool, in_30_days: bool, tmp_path: Path
) -> None:
    # The user's event of 2023 keeps a row in the table.
    events = [at("2023-01-01", kind="visit"), at(time, amount=100)]
    row = features_of(events, date(2024, 3, 1), spec_of(("purchase", "visit")), tmp_path).row(0, named=True)
    assert (row["purchase_count_7d"], row["purchase_count_30d"]) == (int(in_7_days), int(in_30_days))
    assert (row["purchase_amount_7d"], row["purchase_amount_30d"]) == (float(in_7_days), float(in_30_days))
    assert row["purchase_count_total"] == int(time < "2024-03-01")


PARIS_EDGES = [
    # Local midnight of 2024-03-31 is 23:00 UTC, that of 2024-04-01 is 22:00 UTC: the day has 23 hours.
    ("2024-03-30 22:59:59", 2),
    ("2024-03-30 23:00:00", 1),
    ("2024-03-31 21:59:59", 1),
    ("2024-03-31 22:00:00", None),
]


@pytest.mark.parametrize(("time", "days"), PARIS_EDGES)
def test_days_begin_at_midnight_of_the_configured_zone(time: str, days: int | None, tmp_path: Path) -> None:
    spec = spec_of(timezone="Europe/Paris")
    frame = features_of([at("2024-01-01"), at(time)], date(2024, 4, 1), spec, tmp_path)
    assert frame["days_since_last_event"].to_list() == [91 if days is None else days]


def random_log(seed: int, users: int, events: int) -> list[Event]:
    random = Random(seed)
    return [
        at(
            f"2024-{random.randint(1, 3):02}-{random.randint(1, 28):02} {random.randint(0, 23):02}:30:00",
            random.randrange(users),
            random.choice(["purchase", "send", "open"]),
            random.choice([None, 0, 1, 57, 12_345]),
        )
        for _ in range(events)
    ]


@pytest.fixture
def crowd() -> list[Event]:
    return random_log(3, users=40, events=600)


CROWD_SPEC = spec_of(("purchase", "send", "open"), send="send", open="open", windows=(1, 7, 30, 60))
CROWD_DAY = date(2024, 3, 20)


def test_windows_are_nested(crowd: list[Event], tmp_path: Path) -> None:
    frame = features_of(crowd, CROWD_DAY, CROWD_SPEC, tmp_path)
    for name in ("active_days", "purchase_count", "send_count", "open_count", "purchase_amount"):
        columns = [f"{name}_{window}d" for window in CROWD_SPEC.windows]
        for small, large in pairwise(columns if name == "active_days" else [*columns, f"{name}_total"]):
            assert (frame[small] <= frame[large]).all(), (small, large)
            assert (frame[small] < frame[large]).any(), (small, large)


def test_a_user_alone_has_the_row_it_has_in_the_crowd(crowd: list[Event], tmp_path: Path) -> None:
    together = features_of(crowd, CROWD_DAY, CROWD_SPEC, tmp_path)
    for user in range(0, 40, 7):
        alone = features_of([event for event in crowd if event.user == user], CROWD_DAY, CROWD_SPEC, tmp_path)
        assert_frame_equal(alone, together.filter(pl.col("user_id") == user), check_exact=True)


@pytest.mark.parametrize("buckets", [2, 8, pytest.param(64, marks=pytest.mark.slow)])
def test_the_number_of_buckets_changes_no_row(crowd: list[Event], buckets: int, tmp_path: Path) -> None:
    whole = features_of(crowd, CROWD_DAY, CROWD_SPEC, tmp_path)
    cut = features_of(crowd, CROWD_DAY, CROWD_SPEC, tmp_path, buckets=buckets)
    assert_frame_equal(cut, whole, check_exact=True)


def test_the_order_of_events_changes_no_row(crowd: list[Event], tmp_path: Path) -> None:
    shuffled = crowd.copy()
    Random(5).shuffle(shuffled)
    assert_frame_equal(
        features_of(shuffled, CROWD_DAY, CROWD_SPEC, tmp_path),
        features_of(crowd, CROWD_DAY, CROWD_SPEC, tmp_path),
        check_exact=True,
    )


def test_events_at_or_after_the_day_change_no_row_before_it(crowd: list[Event], tmp_path: Path) -> None:
    anchor, as_of = date(2024, 2, 15), date(2024, 3, 20)

    def altered() -> Iterator[Event]:
        for event in crowd:
            if event.time.date() < anchor:
                yield event
            elif event.user != 3:
                yield event._replace(type="purchase", amount=999_999)
                yield event

    honest = features_at(bucket_of(ingested(crowd, CROWD_SPEC, tmp_path), as_of), anchor, CROWD_SPEC)
    leaked = list(altered())
    changed = features_at(bucket_of(ingested(leaked, CROWD_SPEC, tmp_path), as_of), anchor, CROWD_SPEC)
    assert_frame_equal(changed, honest, check_exact=True)
    later = features_at(bucket_of(ingested(leaked, CROWD_SPEC, tmp_path), as_of), as_of, CROWD_SPEC)
    assert not later.equals(honest)


@pytest.mark.parametrize("user", ["Zoë", "a/b", "007"])
def test_text_ids_stay_text(user: str, tmp_path: Path) -> None:
    frame = features_of([at("2024-01-01", user), at("2024-01-02", "x")], date(2024, 2, 1), spec_of(), tmp_path)
    assert frame["user_id"].to_list() == sorted([user, "x"])


def test_sums_beyond_32_bits_are_exact(tmp_path: Path) -> None:
    events = [at("2024-01-01", amount=10**13 - 1), at("2024-01-01 01:00", amount=10**13 - 1)]
    frame = features_of(events, date(2024, 1, 2), spec_of(), tmp_path)
    assert frame[MONETARY_MINOR].to_list() == [2 * 10**13 - 2]
