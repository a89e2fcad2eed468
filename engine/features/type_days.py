"""Active days of each event type: how regularly something is done, whatever the number of events of a day."""

from __future__ import annotations

import polars as pl

from engine.features.columns import integer
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import window_totals
from engine.features.windows import Ints
from engine.rollups.packed import pack_day, unpack_day, unpack_type, unpack_user


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns: of every event type, per window."""
    return tuple(
        integer(
            spec,
            f"{kind.slug}_active_days_{window}d",
            "count",
            f"Days with at least one event of type {kind.name}.",
            (kind.name,),
            window=window,
            absent=0,
        )
        for kind in spec.types
        for window in spec.windows
    )


def reads(spec: FeatureSpec) -> Reads:
    """All types."""
    return Reads(frozenset(spec.type_names))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The active days of every user with a row; `user` and the columns of `features`."""
    days = rows.select(key=pack_day()).unique().select(unpack_user("key"), unpack_type("key"), unpack_day("key"))
    days = days.with_columns(events=pl.lit(1, pl.Int64), amount_minor=pl.lit(0, pl.Int64))
    totals = window_totals(days, as_of_day, spec.windows, range(len(spec.types)))
    columns: dict[str, Ints | pl.Series] = {"user": totals.users}
    for code, kind in enumerate(spec.types):
        counts = totals.events(code)
        columns |= {f"{kind.slug}_active_days_{window}d": counts[:, place] for place, window in enumerate(spec.windows)}
    return pl.DataFrame(columns)


FAMILY = Family("type_days", "daily", features, reads, build)
