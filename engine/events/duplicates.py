"""One row per event: repeats of an event are dropped, lines of one order are summed.

In and out: encoded rows of one unit of the log, in memory. The key of an event is (source, event type, user,
`event_id`); rows without an `event_id` are never merged. Which rows are kept does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEY: Final = ("type", "user_key", "check", "event_id")
_SUMMED: Final = frozenset({"amount", "quantity", "duration_ms"})
_ID: Final = "__id"
_ROW: Final = "__place"
# Odd factors: each is a permutation of the 64-bit integers, so no id is lost to another one by them alone.
_USER_FACTOR: Final = 0x9E3779B97F4A7C15
_TYPE_FACTOR: Final = 0xBF58476D1CE4E5B9
# Users that share a key keep their events apart: one whose events were all dropped would not be seen to share it.
_CHECK_FACTOR: Final = 0x94D049BB133111EB


@dataclass(frozen=True)
class Merged:
    """Rows with each `event_id` once: rows in = events + duplicates + lines.

    Attributes:
        events: One row per event; `n` (Int64) is 1, and 0 for what later lines add to an order that was there before.
        lines: One row per source row that was not dropped, as the rows came; lines of an order have its first time and
            day, and `n` is 1 in the first of them alone.
        dropped: `type`, `day`, `duplicates`, `lines`: rows that are no event of their own.
        ids: What later units know the events by: `id` (UInt64, a mix of event id, user and type; sorted, each once),
            and for orders the `day` and `time` of their first line.
    """

    events: pl.DataFrame
    lines: pl.DataFrame
    dropped: pl.DataFrame
    ids: pl.DataFrame


def event_ids(rows: pl.DataFrame, *, lines: bool) -> pl.DataFrame:
    """The `ids` of `Merged`, of rows that are not to be merged."""
    if lines:
        known = rows.lazy().filter(pl.col("event_id").is_not_null())
        return known.group_by(id=_mixed_id()).agg(pl.col("day").min(), pl.col("time").min()).sort("id").collect()
    return _distinct(rows.select(_mixed_id().alias(_ID))[_ID].drop_nulls().sort())


def merge_repeats(rows: pl.DataFrame, *, lines: bool, before: Sequence[pl.DataFrame] = ()) -> Merged:
    """Each event once.

    Of duplicates the earliest row is kept (then the smallest of the other columns), unless a unit before had the event.
    Lines of one order become one event: the earliest time, the sum of amount, quantity and duration, the smallest of
    every other column. Lines that come in a later unit belong to the day on which their order began.

    Args:
        rows: `user_key`, `check`, `type`, `day`, `time`, `event_id` and further columns; the grain is one source row.
        lines: Whether rows of one `event_id` are lines of an order, and not duplicates.
        before: Ids of the units looked back to.
    """
    counted = rows.with_columns(n=pl.lit(1, pl.Int64))
    ids = rows.select(_mixed_id().alias(_ID))[_ID]
    ordered = ids.drop_nulls().sort()
    distinct = event_ids(rows, lines=True) if lines else _distinct(ordered)
    again = _seen_before(distinct["id"].to_numpy(), [frame["id"].to_numpy() for frame in before])
    known = pl.Series(_ID, again, pl.UInt64)
    repeated = pl.concat([ordered.filter(ordered == ordered.shift(1)), known]).unique()
    if repeated.is_empty():
        return Merged(counted, counted, _no_rows_dropped(), distinct)
    suspect = ids.is_in(repeated.implode()).fill_null(value=False)
    several = counted.with_row_index(_ROW).filter(suspect).with_columns(ids.filter(suspect))
    if lines:
        events, single, dropped = _merge_lines(several.drop(_ROW), before, known)
        alone = counted.filter(~suspect)
        columns = alone.columns
        return Merged(
            pl.concat([alone, events.select(columns)]), pl.concat([alone, single.select(columns)]), dropped, distinct
        )
    places, dropped = _duplicates(several, known)
    keep = np.ones(rows.height, dtype=bool)
    keep[places.to_numpy()] = False
    kept = counted.filter(pl.Series(keep))
    return Merged(kept, kept, dropped, distinct)


def _distinct(ordered: pl.Series) -> pl.DataFrame:
    is_first = (ordered != ordered.shift(1)).fill_null(value=True)
    return pl.DataFrame({"id": ordered.filter(is_first)})


def _duplicates(several: pl.DataFrame, known: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """Positions of the rows to drop, and their number by type and day."""
    others = [name for name in several.columns if name not in {*_KEY, "time", _ROW}]
    ordered = several.sort(*_KEY, "time", *others, _ROW)
    is_first = pl.struct(*_KEY).is_first_distinct()
    dropped = ordered.filter(~is_first | pl.col(_ID).is_in(known.implode()))
    counts = dropped.group_by("type", "day").agg(duplicates=pl.len().cast(pl.Int64), lines=pl.lit(0, pl.Int64))
    return dropped[_ROW], counts.sort("type", "day")


def _merge_lines(
    several: pl.DataFrame, before: Sequence[pl.DataFrame], known: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events, lines and dropped rows of `Merged`."""
    first = several.group_by(_ID).agg(pl.col("day").min(), pl.col("time").min())
    earlier = [frame.rename({"id": _ID}).filter(pl.col(_ID).is_in(known.implode())) for frame in before]
    began = pl.concat([first, *(frame.select(first.columns) for frame in earlier)])
    began = began.group_by(_ID).agg(pl.col("day").min(), pl.col("time").min())
    lines = several.drop("day", "time").join(began, on=_ID, how="left").select(several.columns)
    ordered = lines.sort(_ID, *(name for name in lines.columns if name != _ID))
    is_new = (pl.col(_ID) != pl.col(_ID).shift(1)).fill_null(value=True) & ~pl.col(_ID).is_in(known.implode())
    ordered = ordered.with_columns(n=is_new.cast(pl.Int64))
    others = [name for name in several.columns if name not in {*_KEY, _ID, "n"}]
    orders = (
        ordered.group_by(*_KEY, _ID)
        .agg(pl.col("n").sum(), *(_sum(name) if name in _SUMMED else pl.col(name).min() for name in others))
        .select(several.columns)
        .cast(pl.Schema(several.schema))
    )
    dropped = (
        ordered.group_by("type", "day")
        .agg(duplicates=pl.lit(0, pl.Int64), lines=(pl.len() - pl.col("n").sum()).cast(pl.Int64))
        .filter(pl.col("lines") != 0)
    )
    return orders, ordered, dropped.sort("type", "day")


def _seen_before(own: NDArray[np.uint64], before: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Those of the sorted, distinct ids `own` that one of the arrays `before` has, which are so, too."""
    if not before or not own.size:
        return own[:0]
    # Sorted runs are merged in one pass; looking up each id takes twice as long.
    merged = np.concatenate([own, *before])
    merged.sort(kind="stable")
    twice = np.unique(merged[1:][merged[1:] == merged[:-1]])
    places = np.minimum(np.searchsorted(own, twice), own.size - 1)
    found: NDArray[np.uint64] = twice[own[places] == twice]
    return found


def _mixed_id() -> pl.Expr:
    user = pl.col("user_key") * pl.lit(_USER_FACTOR, pl.UInt64)
    check = pl.col("check").cast(pl.UInt64) * pl.lit(_CHECK_FACTOR, pl.UInt64)
    return pl.col("event_id") + user + check + pl.col("type").cast(pl.UInt64) * pl.lit(_TYPE_FACTOR, pl.UInt64)


def _no_rows_dropped() -> pl.DataFrame:
    return pl.DataFrame(schema={"type": pl.UInt16, "day": pl.Int32, "duplicates": pl.Int64, "lines": pl.Int64})


def _sum(name: str) -> pl.Expr:
    # A sum over nothing but nulls is unknown, not zero.
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())
