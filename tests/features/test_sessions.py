from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.feature import Reads
from engine.features.sessions import FAMILY
from engine.features.spec import FeatureSpec
from tests.features.event_rows import Row, Values, built, day_of, in_window, instant, over, spec_of, with_absent

SPEC = spec_of("view", "other", page_view="view")
MINUTE = 60_000_000
AS_OF = "2024-03-11"
AS_OF_DAY = instant(AS_OF) // (1440 * MINUTE)


def view(time: str, user: int = 0, **values: object) -> Row:
    return Row(user, "view", instant(time), **values)  # type: ignore[arg-type]


def expected(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> dict[int, Values]:
    views = [row for row in rows if row.type == spec.page_view and row.n > 0]
    return {user: _row([row for row in views if row.user == user], as_of_day, spec) for user in {v.user for v in views}}


def _row(views: list[Row], as_of_day: int, spec: FeatureSpec) -> Values:
    views = sorted(views, key=lambda row: row.time)
    sessions: list[list[Row]] = []
    for row in views:
        if sessions and row.time - sessions[-1][-1].time < spec.session_gap_minutes * MINUTE:
            sessions[-1].append(row)
        else:
            sessions.append([row])
    result: Values = {}
    for window in spec.windows:
        inside = [s for s in sessions if in_window(day_of(s[0], spec), as_of_day, window)]
        pages = [len(session) for session in inside]
        result[f"session_count_{window}d"] = len(inside)
        result[f"session_pages_{window}d"] = sum(pages)
        result[f"session_depth_mean_{window}d"] = over(sum(pages), len(pages))
        result[f"session_depth_max_{window}d"] = max(pages, default=None)
        length = sum(s[-1].time - s[0].time + _last(s, spec) for s in inside)
        result[f"session_duration_mean_ms_{window}d"] = over(length, 1000 * len(inside))
        own = [row for row in views if in_window(day_of(row, spec), as_of_day, window)]
        if "duration_ms" in spec.columns:
            timed = [_clipped(row.duration_ms) for row in own if row.duration_ms is not None]
            result[f"page_duration_mean_ms_{window}d"] = over(sum(timed), len(timed))
        if "page" in spec.columns:
            result[f"distinct_pages_{window}d"] = len({row.page for row in own if row.page is not None})
    result["days_since_last_session"] = as_of_day - day_of(sessions[-1][0], spec)
    if "page" in spec.columns:
        named = sorted((row.time, row.page) for row in views if row.page is not None)
        result["last_pages"] = " > ".join(page for _, page in named[-spec.last_pages :]) if named else None
    return result


def _last(session: list[Row], spec: FeatureSpec) -> int:
    if "duration_ms" not in spec.columns:
        return 0
    return max(1000 * _clipped(row.duration_ms or 0) for row in session if row.time == session[-1].time)


def _clipped(duration_ms: int) -> int:
    return min(max(duration_ms, 0), 86_400_000)


ROWS = st.lists(
    st.builds(
        Row,
        user=st.integers(0, 1),
        type=st.sampled_from(["view", "view", "other"]),
        # Quarters of an hour over ten days, some bunched into one: pauses of exactly the limit, and ties.
        time=st.one_of(st.integers(-960, -1), st.integers(-196, -184)).map(
            lambda step: instant(AS_OF) + 15 * MINUTE * step
        ),
        n=st.sampled_from([1, 1, 1, 0]),
        duration_ms=st.one_of(st.none(), st.integers(-5, 10**8)),
        page=st.sampled_from([None, "home", "cart", "Ä", ""]),
    ),
    max_size=40,
)


@given(
    rows=ROWS,
    gap=st.sampled_from([15, 30, 31]),
    last=st.integers(1, 4),
    columns=st.sets(st.sampled_from(["duration_ms", "page"])).map(tuple),
)
def test_every_feature_is_that_of_the_oracle(rows: list[Row], gap: int, last: int, columns: tuple[str, ...]) -> None:
    spec = replace(SPEC, session_gap_minutes=gap, last_pages=last, columns=columns)
    assert built(FAMILY, rows, AS_OF, spec) == expected(rows, AS_OF_DAY, spec)


@pytest.mark.parametrize(("second", "sessions"), [("10:29:59.999999", 1), ("10:30", 2), ("10:00", 1)])
def test_a_pause_of_the_limit_ends_a_session(second: str, sessions: int) -> None:
    found = built(FAMILY, [view("2024-03-10 10:00"), view(f"2024-03-10 {second}")], AS_OF, SPEC)
    assert found[0]["session_count_2d"] == sessions


def test_a_session_over_midnight_is_one_and_belongs_to_the_day_on_which_it_started() -> None:
    rows = [view("2024-03-08 23:50"), view("2024-03-09 00:10", page="late")]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert (found["session_count_2d"], found["session_count_7d"]) == (0, 1)
    assert found["session_depth_max_2d"] is None
    assert found["session_duration_mean_ms_7d"] == 20 * 60_000
    assert found["distinct_pages_2d"] == 1
    assert found["days_since_last_session"] == 3


def test_the_last_page_adds_its_own_duration() -> None:
    rows = [view("2024-03-10 10:00", duration_ms=70_000), view("2024-03-10 10:01", duration_ms=5_000)]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert found["session_duration_mean_ms_2d"] == 65_000
    assert found["page_duration_mean_ms_2d"] == 37_500


def test_the_last_pages_are_told_from_the_oldest_on() -> None:
    rows = [view(f"2024-03-0{day} 10:00", page=page) for day, page in enumerate("abcd", start=1)]
    rows += [view("2024-03-05 10:00"), view("2024-03-06 10:00", 1, page="x"), view("2024-03-06 10:00", 2)]
    found = built(FAMILY, rows, AS_OF, SPEC)
    assert [found[user]["last_pages"] for user in range(3)] == ["b > c > d", "x", None]


def test_pages_of_one_instant_are_told_by_name() -> None:
    rows = [view("2024-03-06 10:00", page=page) for page in "cabd"]
    assert built(FAMILY, rows, AS_OF, SPEC)[0]["last_pages"] == "b > c > d"


def test_users_without_page_views_have_no_sessions() -> None:
    found = with_absent(built(FAMILY, [], AS_OF, SPEC), [0], FAMILY, SPEC)[0]
    zeros = {"session_count", "session_pages", "distinct_pages"}
    assert {name: value for name, value in found.items() if value is not None} == {
        f"{name}_{window}d": 0 for name in zeros for window in SPEC.windows
    }


def test_columns_that_no_source_maps_are_neither_read_nor_promised() -> None:
    bare = replace(SPEC, columns=())
    assert FAMILY.reads(bare) == Reads(frozenset({"view"}))
    names = {feature.name for feature in FAMILY.features(bare)}
    assert names.isdisjoint({"last_pages", "distinct_pages_2d", "page_duration_mean_ms_2d"})
    assert FAMILY.features(replace(SPEC, page_view=None)) == ()
