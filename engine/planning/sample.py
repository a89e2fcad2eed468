"""What footers do not tell: how many users a log has, and how many of their days; from some of its rows.

In: pieces of Parquet files. Out: estimates. A small log is read as a whole in these three columns and counted exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from engine.config import Source
from engine.errors import TamisError
from engine.events.ingest import Piece
from engine.events.read import reading, scan, source_mapping

MOST_ROWS: Final = 2_000_000
"""Rows that are looked at, at the most: a second or two."""
MOST_FILES: Final = 512
"""Files that are opened for it, at the most: each takes milliseconds, however few rows it has."""
_PLACES: Final = 16


@dataclass(frozen=True)
class Sample:
    """What some rows tell of all of them.

    Attributes:
        rows: Rows that were looked at.
        users: Distinct users of all rows.
        partials: Rows of the store that they become: one per user, event type and day.
        types: Event types that were seen, by name.
        first_day, last_day: First and last day that were seen (days since 1970-01-01, UTC); None without a row.
        user_dtype: Type of user ids, Int64 or String; empty without a row.
        is_whole: Whether every row was looked at.
    """

    rows: int
    users: int
    partials: int
    types: tuple[str, ...]
    first_day: int | None
    last_day: int | None
    user_dtype: str
    is_whole: bool


def estimate_distinct(seen_once: int, seen_more: int, sampled: int, rows: int) -> int:
    """Distinct values of `rows` rows from the counts of a random sample of them.

    Source: the guaranteed-error estimator of M. Charikar, S. Chaudhuri, R. Motwani and V. Narasayya, "Towards
    estimation error guarantees for distinct values" (PODS 2000): values seen once stand for √(rows / sampled) each, and
    no estimator from a sample of this size has a better worst case.

    Args:
        seen_once: Values that the sample has once.
        seen_more: Values that it has more often.
        sampled: Rows of the sample.
        rows: Rows of the whole.
    """
    if not sampled:
        return 0
    return min(rows, round(seen_once * math.sqrt(max(1.0, rows / sampled))) + seen_more)


def take_sample(sources: Sequence[Source], pieces: Sequence[Piece], currency_digits: int, end_us: int) -> Sample:
    """Look at some rows of a log.

    Args:
        sources: The sources, by the position that pieces name.
        pieces: The rows; files in object stores are left out.
        currency_digits: Decimals of the minor unit.
        end_us: First instant that does not count (µs since 1970 UTC).
    """
    total = sum(piece.rows for piece in pieces)
    chosen = list(pieces) if total <= MOST_ROWS else _spread([piece for piece in pieces if piece.rows])
    chosen = chosen if len(chosen) <= MOST_FILES else _thinned(chosen)
    frames, looked_at, user_dtype = [], 0, ""
    for piece in chosen:
        # A file that cannot be read stops the run, and says so there; a plan goes on without it.
        with suppress(TamisError):
            frame, user_dtype = _events(sources[piece.source], piece, currency_digits, end_us)
            frames.append(frame)
            looked_at += piece.rows
    if not frames or not looked_at:
        return Sample(0, 0, 0, (), None, None, "", is_whole=False)
    events = pl.concat(frames)
    by_user = events.group_by("user").agg(pl.len().alias("rows"))
    scale = total / looked_at
    once = int((by_user["rows"] == 1).sum())
    return Sample(
        rows=looked_at,
        users=by_user.height
        if looked_at == total
        else estimate_distinct(once, by_user.height - once, events.height, round(events.height * scale)),
        partials=round(sum(frame.select("user", "type", "day").n_unique() for frame in frames) * scale),
        types=tuple(events["type"].unique().sort().to_list()),
        first_day=events["day"].min() if events.height else None,  # type: ignore[arg-type]
        last_day=events["day"].max() if events.height else None,  # type: ignore[arg-type]
        user_dtype=user_dtype,
        is_whole=looked_at == total,
    )


def _spread(pieces: Sequence[Piece]) -> list[Piece]:
    """Portions of files spread over the log, from the first to the last: dates grow along it."""
    total = sum(piece.rows for piece in pieces)
    portion = MOST_ROWS // _PLACES
    places = [(total - portion) * number // (_PLACES - 1) for number in range(_PLACES)]
    taken: dict[tuple[str, int], Piece] = {}
    start, following = 0, iter(places)
    place = next(following, None)
    for piece in pieces:
        while place is not None and place < start + piece.rows:
            first = min(place - start, max(0, piece.rows - portion))
            part = replace(piece, start=piece.start + first, rows=min(portion, piece.rows - first))
            taken.setdefault((part.file, part.start), part)
            place = next(following, None)
        start += piece.rows
    return list(taken.values())


def _thinned(pieces: Sequence[Piece]) -> list[Piece]:
    """Runs of files that follow one another, spread over the log: neighbours are of one day, and share its users."""
    run = MOST_FILES // _PLACES
    starts = [(len(pieces) - run) * number // (_PLACES - 1) for number in range(_PLACES)]
    return [piece for start in starts for piece in pieces[start : start + run]]


def _events(source: Source, piece: Piece, currency_digits: int, end_us: int) -> tuple[pl.DataFrame, str]:
    with reading(f"source {source.name!r}", piece.file):
        frame = scan(piece.file)
        mapping = source_mapping(source, frame, currency_digits)
        canonical = mapping.canonical
        time = canonical["event_time"].dt.epoch("us")
        # A constant type has one row where columns have all: beside one of them it has as many.
        events = (
            frame.slice(piece.start, piece.rows)
            .filter(mapping.keep)
            .select(
                user=canonical["user_id"].hash(0),
                type=canonical["event_type"].cast(pl.String),
                time=time,
            )
            .filter(pl.col("user").is_not_null() & (pl.col("time") < end_us) & (pl.col("type") != ""))
            .select("user", "type", day=(pl.col("time") // 86_400_000_000).cast(pl.Int32))
            .collect()
        )
        return events, str(mapping.user_dtype)
