"""Each window against the one of the same length before it, per event type.

The trend of x is (x − y) / (|x| + |y|), y being the window before: 0 when nothing changed, 1 for what is new, −1 for
what ended, null when both are 0. Unlike a quotient it is defined when y is 0, and it is symmetrical (Törnqvist, Vartia
and Vartia 1985, "How should relative changes be measured?").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import ratio, window_totals
from engine.features.windows import Ints


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns: of every event type the count, of purchases the amount too."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    for kind in spec.types:
        types, slug = (kind.name,), kind.slug
        before = "in the window of the same length before the window"
        for window in spec.windows:
            name, meaning = f"{slug}_count_previous_{window}d", f"Events of type {kind.name} {before}."
            yield integer(spec, name, "count", meaning, types, window=window, absent=0)
        for window in spec.windows:
            name, meaning = f"{slug}_count_trend_{window}d", f"Change of the number of {kind.name} {_CHANGE}."
            yield real(spec, name, "ratio", meaning, types, window=window)
        if kind.priced and kind.name == spec.purchase:
            for window in spec.windows:
                name, meaning = f"{slug}_amount_previous_{window}d", f"Sum of the amounts of {kind.name} {before}."
                yield real(spec, name, "money", meaning, types, window=window, absent=0)
            for window in spec.windows:
                name, meaning = f"{slug}_amount_trend_{window}d", f"Change of the amounts of {kind.name} {_CHANGE}."
                yield real(spec, name, "ratio", meaning, types, window=window)


_CHANGE = "against the window before, (now − before) ÷ (|now| + |before|), from −1 to 1; null when both are 0"


def reads(spec: FeatureSpec) -> Reads:
    """All types."""
    return Reads(frozenset(spec.type_names))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The trends of every user with a row; `user` and the columns of `features`."""
    codes = range(len(spec.types))
    totals = window_totals(rows, as_of_day, {*spec.windows, *(2 * window for window in spec.windows)}, codes)
    columns: dict[str, Ints | pl.Series] = {"user": totals.users}
    for code, kind in enumerate(spec.types):
        counts = totals.events(code)
        amounts = totals.amounts(code) if kind.priced and kind.name == spec.purchase else None
        for window in spec.windows:
            now = counts[:, totals.within(window)]
            before = counts[:, totals.within(2 * window)] - now
            columns[f"{kind.slug}_count_previous_{window}d"] = before
            columns[f"{kind.slug}_count_trend_{window}d"] = _trend(now, before)
            if amounts is not None:
                spent = amounts[:, totals.within(window)]
                earlier = amounts[:, totals.within(2 * window)] - spent
                columns[f"{kind.slug}_amount_previous_{window}d"] = earlier / 10**spec.currency_digits
                columns[f"{kind.slug}_amount_trend_{window}d"] = _trend(spent, earlier)
    return pl.DataFrame(columns)


def _trend(now: Ints, before: Ints) -> pl.Series:
    return ratio(now - before, np.abs(now) + np.abs(before))


FAMILY = Family("trend", "daily", features, reads, build)
