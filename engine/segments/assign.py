"""One segment per user, and every membership: the last step of scoring."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from engine.config import Segment
from engine.errors import ConfigError, IntegrityError
from engine.segments.rfm_maps import SegmentMap, segment_names
from engine.segments.rules import CompiledRules
from engine.tables.layout import partition_folder


class Assignment(NamedTuple):
    """Who is in which segment."""

    users: pl.DataFrame
    """The frame that came in, in its order, with `segment` (String, never null)."""
    memberships: pl.DataFrame
    """`user_id`, `segment`: a row for each rule that holds, the fallback where none does; sorted by user, then rule."""


def check_segment_names(segments: Sequence[Segment], fallback: str, segment_map: SegmentMap) -> None:
    """Checks that every segment, by rule or by fallback, can be told from the others and be a folder.

    Args:
        segments: The rules of the configuration.
        fallback: `rfm` or a segment name.
        segment_map: Which RFM segments there are.

    Raises:
        ConfigError: All problems at once.
    """
    fallbacks = segment_names(segment_map) if fallback == "rfm" else (fallback,)
    origin = f"of the RFM map {segment_map!r}" if fallback == "rfm" else "given as segment_fallback"
    taken = {_key(name): f"the segment {name!r} {origin}" for name in fallbacks}
    problems = []
    for name in [segment.name for segment in segments]:
        if other := taken.get(_key(name)):
            problems.append(f"  - {name!r} is also {other}")
        taken.setdefault(_key(name), f"the rule {name!r}")
    for name in [*(segment.name for segment in segments), *(() if fallback == "rfm" else (fallback,))]:
        if not name.strip():
            problems.append(f"  - {name!r} would be read as no name at all")
        try:
            partition_folder(Path(), "segment", name)
        except ConfigError as error:
            problems.append(f"  - {error.message}")
    if problems:
        message = "Segment names that cannot be used:\n" + "\n".join(problems)
        hint = "Rename the entries of [[segments]], or set segment_fallback to another name."
        raise ConfigError(message, code="segment-names", hint=hint)


def assign_segments(frame: pl.DataFrame, rules: CompiledRules, fallback: str) -> Assignment:
    """The segment of each user: the first rule that holds, in the order of the configuration, else the fallback.

    Args:
        frame: One row per user, key `user_id`, with the columns of the rules, and with `rfm_segment` when `fallback` is
            `rfm`.
        rules: What `compile_rules` gave.
        fallback: `rfm` for the user's RFM segment, or the name of one segment.

    Raises:
        ConfigError: A condition fails on a value in the data.
        IntegrityError: A user would be without a segment.
    """
    other = frame["rfm_segment"].alias("segment") if fallback == "rfm" else _constant(fallback, frame.height)
    if other.null_count():
        message = f"{other.null_count()} of {frame.height} users have no RFM segment to fall back to."
        raise IntegrityError(message, code="segments-incomplete", hint="Run `tamis fit`, then score again.")
    holds = rules.holds(frame) if rules.names else pl.DataFrame()
    users = frame["user_id"]
    segment = other
    nobody = pl.repeat(value=True, n=frame.height, eager=True, dtype=pl.Boolean)
    memberships = []
    for order, name in reversed(list(enumerate(rules.names))):
        taken = holds[name]
        named = _constant(name, frame.height)
        segment = named.zip_with(taken, segment)
        nobody &= ~taken
        memberships.append(_members(users.filter(taken), named.filter(taken), order))
    memberships.append(_members(users.filter(nobody), other.filter(nobody), len(rules.names)))
    return Assignment(
        users=frame.with_columns(segment.alias("segment")),
        memberships=pl.concat(memberships).sort("user_id", "order").drop("order"),
    )


def _members(users: pl.Series, segment: pl.Series, order: int) -> pl.DataFrame:
    return pl.DataFrame([users, segment]).with_columns(order=pl.lit(order, pl.Int32))


def _constant(name: str, height: int) -> pl.Series:
    return pl.repeat(unicodedata.normalize("NFC", name), height, dtype=pl.String, eager=True).alias("segment")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
