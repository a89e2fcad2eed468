from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

import polars as pl
from hypothesis import strategies as st

from engine.features.feature import Family
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number
from tests.features.specs import spec_of

ROLES = (
    "send",
    "open",
    "click",
    "purchase",
    "refund",
    "reply",
    "bounce",
    "unsubscribe",
    "complaint",
    "comment",
    "share",
)
PRICED = frozenset({"purchase", "refund"})
TYPES = (*ROLES, "open_machine", "click_machine", "visit")
WINDOWS = (3, 30)
# Leap days, ends of years, ISO years of 53 weeks, the first days there are.
AS_OF = [
    date.fromisoformat(day)
    for day in (
        "2024-03-01",
        "2024-02-29",
        "2025-02-28",
        "2024-01-01",
        "2021-01-04",
        "2020-12-31",
        "1970-01-03",
        "2026-06-15",
    )
]

Row = dict[str, object]


class Daily(NamedTuple):
    """One event on a day; amounts in minor units."""

    user: int
    type: str
    day: date
    amount: int = 0


def full_spec(**changes: object) -> FeatureSpec:
    """Every role, a type without one, machine types, and a derived type."""
    spec = spec_of(TYPES, PRICED, **{role: role for role in ROLES}, windows=WINDOWS)
    derived = EventType("big", "big", priced=True, of="purchase", where="amount >= 100")
    values = {"types": (*spec.types, derived), "weights": (*spec.weights, 0), **changes}
    return FeatureSpec(**{**{name: getattr(spec, name) for name in spec.__dataclass_fields__}, **values})  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn, types: Sequence[str] = TYPES) -> tuple[date, list[Daily]]:
    """A day, and events around the edges of windows that end there."""
    as_of = draw(st.sampled_from(AS_OF))
    edges = [-1, 0, -3, -4, -6, -7, -30, -31, -60, -61, -89, -90, -91, -182, -183, -365, -366, -367, -395, -396, -731]
    event = st.builds(
        lambda user, kind, days, amount: Daily(
            user, kind, as_of + timedelta(days=days), amount if kind in PRICED else 0
        ),
        st.integers(0, 3),
        st.sampled_from(list(types)),
        st.sampled_from(edges) | st.integers(-800, 2),
        st.integers(-5_000, 100_000) | st.sampled_from([0, 57]),
    )
    return as_of, draw(st.lists(event, max_size=40))


def rows_of(events: Iterable[Daily], spec: FeatureSpec) -> pl.DataFrame:
    """Daily partials, up to three per user, type and day, in an order without meaning."""
    totals: dict[tuple[int, int, int, int], list[int]] = {}
    for place, event in enumerate(events):
        code = spec.type_names.index(event.type)
        entry = totals.setdefault((event.user, code, day_number(event.day), place % 3), [0, 0])
        entry[0] += 1
        entry[1] += event.amount
    items = [(*key[:3], *values) for key, values in totals.items()]
    Random(7).shuffle(items)
    schema = {
        "user": pl.UInt32,
        "type": pl.UInt16,
        "day": pl.Int32,
        "events": pl.Int64,
        "amount_minor": pl.Int64,
    }
    return pl.DataFrame(items, schema=schema, orient="row")


def built(family: Family, events: Iterable[Daily], as_of: date, spec: FeatureSpec) -> dict[int, Row]:
    """The family's columns of every user with an event before `as_of`."""
    day = day_number(as_of)
    rows = rows_of(events, spec).filter(pl.col("day") < day)
    codes = [spec.code(name) for name in family.reads(spec).types]
    features = family.features(spec)
    frame = family.build(rows.filter(pl.col("type").is_in(codes)), day, spec)
    assert dict(frame.schema) == {"user": pl.UInt32(), **{feature.name: feature.dtype for feature in features}}
    assert frame["user"].is_unique().all()
    found = {row.pop("user"): row for row in frame.iter_rows(named=True)}
    absent: Row = {feature.name: feature.absent for feature in features}
    return {user: found.get(user, absent) for user in sorted(set(rows["user"].to_list()))}


def by_user(events: Iterable[Daily], as_of: date) -> dict[int, list[Daily]]:
    """Every user's events before `as_of`."""
    past = [event for event in events if event.day < as_of]
    return {user: [event for event in past if event.user == user] for user in sorted({event.user for event in past})}


def inside(events: Iterable[Daily], as_of: date, window: int, *types: str) -> list[Daily]:
    """Those of some types in the window."""
    start = as_of - timedelta(days=window)
    return [event for event in events if event.type in types and start <= event.day < as_of]


def over(above: float, below: float) -> float | None:
    """The quotient, None where there is nothing to divide by."""
    return above / below if below else None
