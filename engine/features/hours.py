"""At which hour of the day a user is active, on the clock of the configured zone.

Only what users do by themselves counts: messages sent or bounced and refunds follow the clock of the sender, opens and
clicks (which need consent to tracking) have columns of their own, machine opens are no one's, and derived types are
counted with the type they are made of. A day of 23 or 25 hours is no special case: each event has the hour that the
clock on the wall showed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import integer, log_types, real, tracked_types
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.tally import Column, family_frame, ints, ratio
from engine.features.windows import Ints

PARTS: Final = (("night", 0, 6), ("morning", 6, 12), ("afternoon", 12, 18), ("evening", 18, 24))
"""Part of the day and its hours, `[start, end)`."""


def own_types(spec: FeatureSpec) -> tuple[str, ...]:
    """The event types whose hour is the user's choice, opens and clicks apart."""
    others = {spec.send, spec.bounce, spec.refund}
    return tuple(name for name in log_types(spec) if name not in others | tracked_types(spec))


def _features(spec: FeatureSpec) -> tuple[Feature, ...]:
    return tuple(_columns(spec))


def _columns(spec: FeatureSpec) -> Iterator[Feature]:
    window, own = spec.windows[-1], own_types(spec)
    rule = f"Hour of the day (0–23, {spec.timezone}) with most"
    ties = "the earliest of several; null without any."
    if own:
        what = "events that the user made (all but messages sent, opened, clicked or bounced and refunds)"
        hour = f"{rule} {what}, {ties}"
        yield integer(spec, f"preferred_hour_{window}d", "hour", hour, own, window=window)
        for part, start, end in PARTS:
            share = f"Share of the {what} from {start:02}:00 to {end:02}:00 ({spec.timezone}); null without any."
            yield real(spec, f"{part}_share_{window}d", "ratio", share, own, window=window)
    if spec.open is not None:
        opened = f"{rule} {spec.open} events, {ties}"
        yield integer(spec, f"open_preferred_hour_{window}d", "hour", opened, (spec.open,), window=window)


def _reads(spec: FeatureSpec) -> Reads:
    return Reads(frozenset({*own_types(spec), *([] if spec.open is None else [spec.open])}))


def _build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    window = spec.windows[-1]
    users = int(ints(rows["user"]).max()) + 1 if rows.height else 0
    inside = rows.filter((pl.col("day") >= as_of_day - window) & (pl.col("n") > 0))
    instant = pl.from_epoch("time", time_unit="us").dt.replace_time_zone("UTC")
    timed = inside.select("user", "type", hour=instant.dt.convert_time_zone(spec.timezone).dt.hour())
    columns: dict[str, Column] = {}
    own = [spec.code(name) for name in own_types(spec)]
    if own:
        counts = _by_hour(timed.filter(pl.col("type").is_in(own)), users)
        columns[f"preferred_hour_{window}d"] = _preferred(counts)
        for part, start, end in PARTS:
            columns[f"{part}_share_{window}d"] = ratio(counts[:, start:end].sum(axis=1), counts.sum(axis=1))
    if spec.open is not None:
        opens = _by_hour(timed.filter(pl.col("type") == spec.code(spec.open)), users)
        columns[f"open_preferred_hour_{window}d"] = _preferred(opens)
    return family_frame(columns, ints(rows["user"]), _features(spec))


def _by_hour(timed: pl.DataFrame, users: int) -> Ints:
    """Events per user and hour of the day: shape (users, 24)."""
    cells = ints(timed["user"]) * 24 + ints(timed["hour"])
    return np.bincount(cells, minlength=users * 24).astype(np.int64, copy=False).reshape(users, 24)


def _preferred(counts: Ints) -> pl.Series:
    """The first hour with most events; null without events."""
    return pl.Series(counts.argmax(axis=1)).set(pl.Series(counts.sum(axis=1) == 0), None)


FAMILY: Final = Family("hours", "events", _features, _reads, _build)
