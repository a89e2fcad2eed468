"""Comments and shares on social networks, where the log has them as events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.features.columns import integer
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import window_totals
from engine.features.windows import Ints

POINTS: Final = 2
"""Points of a comment or share."""

_INTERACTIONS = "social_interaction_count"
_POINTS = "social_points"


def _parts(spec: FeatureSpec) -> dict[str, tuple[str, ...]]:
    """The counts that the roles allow, each with its event types."""
    roles = {"social_comment_count": spec.comment, "social_share_count": spec.share}
    parts: dict[str, tuple[str, ...]] = {column: (name,) for column, name in roles.items() if name is not None}
    return {**parts, _INTERACTIONS: tuple(dict.fromkeys(name for (name,) in parts.values()))} if parts else {}


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns; none without a comment or share type."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    for column, types in _parts(spec).items():
        for window in spec.windows:
            meaning = f"Events of type {' or '.join(types)}."
            yield integer(spec, f"{column}_{window}d", "count", meaning, types, window=window, absent=0)
    for window in spec.windows if _parts(spec) else ():
        types = _parts(spec)[_INTERACTIONS]
        meaning = f"{POINTS} points per {' or '.join(types)}."
        yield integer(spec, f"{_POINTS}_{window}d", "points", meaning, types, window=window, absent=0)


def reads(spec: FeatureSpec) -> Reads:
    """Comments and shares."""
    return Reads(frozenset(name for types in _parts(spec).values() for name in types))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The interactions of every user with one; `user` and the columns of `features`."""
    parts = {column: [spec.code(name) for name in types] for column, types in _parts(spec).items()}
    totals = window_totals(rows, as_of_day, spec.windows, parts[_INTERACTIONS])
    columns: dict[str, Ints | pl.Series] = {"user": totals.users}
    for column, codes in parts.items():
        counts = totals.events(*codes)
        columns |= {f"{column}_{window}d": counts[:, place] for place, window in enumerate(spec.windows)}
    columns |= {f"{_POINTS}_{window}d": POINTS * columns[f"{_INTERACTIONS}_{window}d"] for window in spec.windows}
    return pl.DataFrame(columns)


FAMILY = Family("social", "daily", features, reads, build)
