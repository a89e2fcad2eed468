"""Sessions: page views of a user without a long pause between them.

A pause of `session_gap_minutes` or more ends a session (30 minutes is the convention of web analytics); midnight does
not. A session belongs to the windows that hold the day on which it started. Its duration runs from its first page view
to its last, plus the last one's own duration where that is mapped (the longest one, if several came at that instant).
Durations of pages are taken as 0 when they are negative and as a day when they are longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import purposes
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.tally import (
    Column,
    Mask,
    days_since,
    family_frame,
    ints,
    known,
    latest,
    per_window,
    ratios,
    starts,
    tally,
)
from engine.features.windows import Ints

_MINUTE_US: Final = 60_000_000
_DAY_MS: Final = 86_400_000
_SEPARATOR: Final = " > "


def _features(spec: FeatureSpec) -> tuple[Feature, ...]:
    return tuple(_columns(spec))


def _columns(spec: FeatureSpec) -> Iterator[Feature]:
    view = spec.page_view
    if view is None:
        return
    gap = spec.session_gap_minutes
    sessions = f"sessions ({view}, ended by a pause of {gap} minutes)"

    def windowed(prefix: str, dtype: pl.DataType, unit: str, meaning: str, absent: int | None = None) -> list[Feature]:
        return [
            Feature(f"{prefix}_{window}d", dtype, unit, meaning, window, absent, (view,), needs)
            for window in spec.windows
        ]

    whole, real = pl.Int64(), pl.Float64()
    needs = purposes((view,), spec)
    yield from windowed("session_count", whole, "count", f"Number of {sessions} that started in the window.", 0)
    yield from windowed("session_pages", whole, "count", f"Page views of the {sessions} that started in the window.", 0)
    mean_pages = f"Mean page views of the {sessions} that started in the window; null without one."
    yield from windowed("session_depth_mean", real, "count", mean_pages)
    most = f"Most page views of one of the {sessions} that started in the window; null without one."
    yield from windowed("session_depth_max", whole, "count", most)
    ending = " (with the last one's own duration)" if "duration_ms" in spec.columns else ""
    span = f"first to last page view{ending}"
    length = f"Mean time from {span} of the {sessions} that started in the window; null without one."
    yield from windowed("session_duration_mean_ms", real, "ms", length)
    if "duration_ms" in spec.columns:
        spent = f"Mean duration of the window's {view} events that have one, each at most a day; null without one."
        yield from windowed("page_duration_mean_ms", real, "ms", spent)
    if "page" in spec.columns:
        yield from windowed("distinct_pages", whole, "count", f"Different pages among the window's {view} events.", 0)
    since = f"Days from the day on which the last of the {sessions} started to as_of."
    yield Feature("days_since_last_session", whole, "days", since, None, None, (view,), needs)
    if "page" in spec.columns:
        last = f"Pages of the last {spec.last_pages} {view} events that have one, oldest first; ties in time by name."
        yield Feature("last_pages", pl.String(), "names", last, None, None, (view,), needs)


def _reads(spec: FeatureSpec) -> Reads:
    if spec.page_view is None:
        return Reads(frozenset())
    return Reads(frozenset({spec.page_view}), frozenset({"duration_ms", "page"} & set(spec.columns)))


def _build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    features = _features(spec)
    views = rows.filter((pl.col("type") == spec.code(spec.page_view)) & (pl.col("n") > 0))
    if "page" in spec.columns:
        names = pl.Enum(views["page"].drop_nulls().unique().sort())
        views = views.with_columns(pl.col("page").cast(names)).sort("user", "time", pl.col("page").to_physical())
    else:
        views = views.sort("user", "time")
    user, day, time = (ints(views[name]) for name in ("user", "day", "time"))
    users = int(user[-1]) + 1 if len(user) else 0
    windows = spec.windows

    first = starts(user)
    pause = np.zeros(len(time), dtype=np.int64)
    pause[1:] = time[1:] - time[:-1]
    first |= pause >= spec.session_gap_minutes * _MINUTE_US
    number = np.cumsum(first) - 1
    pages = np.bincount(number, minlength=int(first.sum()))
    last = np.append(np.flatnonzero(first)[1:] - 1, len(first) - 1)[: len(pages)]
    length_us = time[last] - time[first]
    if "duration_ms" in spec.columns:
        length_us += 1000 * _last_duration(views, time == time[last][number], number, len(pages))
    sessions = tally(user[first], day[first], users, as_of_day, windows)
    count = sessions.count()
    total_pages = sessions.total(pages)
    columns: dict[str, Column] = {
        **per_window("session_count", count, windows),
        **per_window("session_pages", total_pages, windows),
        **ratios("session_depth_mean", total_pages, count, windows),
        **ratios("session_duration_mean_ms", sessions.total(length_us), 1000 * count, windows),
        "days_since_last_session": days_since(latest(user[first], day[first], users), as_of_day),
    }
    deepest = sessions.highest(pages)
    for position, window in enumerate(windows):
        columns[f"session_depth_max_{window}d"] = known(deepest[:, position])
    if "duration_ms" in spec.columns:
        timed = views["duration_ms"].is_not_null().to_numpy()
        own = tally(user[timed], day[timed], users, as_of_day, windows)
        spent = own.total(ints(views["duration_ms"].drop_nulls().clip(0, _DAY_MS)))
        columns.update(ratios("page_duration_mean_ms", spent, own.count(), windows))
    if "page" in spec.columns:
        named = views["page"].is_not_null().to_numpy()
        pairs = (user[named], day[named], views["page"].drop_nulls())
        columns.update(_pages(pairs, users, as_of_day, spec))
    return family_frame(columns, user, features)


def _last_duration(views: pl.DataFrame, at_end: Mask, number: Ints, sessions: int) -> Ints:
    """Duration of each session's last page view; of several at the last instant the longest."""
    durations = ints(views["duration_ms"].fill_null(0).clip(0, _DAY_MS))
    longest = np.zeros(sessions, dtype=np.int64)
    np.maximum.at(longest, number[at_end], durations[at_end])
    return longest


def _pages(pairs: tuple[Ints, Ints, pl.Series], users: int, as_of_day: int, spec: FeatureSpec) -> dict[str, Column]:
    """Distinct and last pages.

    Args:
        pairs: User, day and page (an Enum) of the page views with a page, by user, then from the oldest to the newest.
    """
    user, day, page = pairs
    codes = ints(page.to_physical())
    kinds = int(codes.max()) + 1 if len(codes) else 1
    keys, pair = np.unique(user * kinds + codes, return_inverse=True)
    # A page is in a window when its last view is.
    last_day = latest(pair, day, len(keys))
    distinct = tally(keys // kinds, last_day, users, as_of_day, spec.windows).count()

    end = np.cumsum(np.bincount(user, minlength=users))
    begin = np.append(0, end)[:users]
    names = page.cast(pl.String)
    steps = []
    for back in range(spec.last_pages, 0, -1):
        at = pl.Series(end - back).set(pl.Series(end - back < begin), None)
        steps.append(names.gather(at).alias(str(back)))
    path = pl.DataFrame(steps).select(pl.concat_str(pl.all(), separator=_SEPARATOR, ignore_nulls=True).alias("path"))
    trail = path["path"].set(pl.Series(end == begin), None)
    return {**per_window("distinct_pages", distinct, spec.windows), "last_pages": trail}


FAMILY: Final = Family("sessions", "events", _features, _reads, _build)
