"""What decides about segments without a rule of their own: lists, arms of experiments, fallbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Config
from engine.errors import TamisError
from engine.privacy.ids import IdRules
from engine.segments.arms import PLACES, places
from engine.segments.definition import Definition
from engine.segments.definitions import definitions
from engine.segments.static_lists import is_in_force, kept_lists, read_lists
from engine.why.published import Published, PublishedSegment


@dataclass(frozen=True)
class Facts:
    """What is known of a user and a segment beside the rule.

    Attributes:
        values: Names and values: `list`, `frozen_on`, `expires_on`, `listed`; `place`, `low`, `high` as shares of 1.
        holds: Whether they let the user in; None when they cannot be told any more.
        problem: Why they cannot; empty when they can.
    """

    values: tuple[tuple[str, object], ...]
    holds: bool | None
    problem: str = ""


def configured(config: Config) -> dict[str, Definition]:
    """The segments of the configuration by name; none when it cannot be read any more, such as a list that is gone."""
    try:
        return {definition.name: definition for definition in definitions(config)}
    except TamisError:
        return {}


def facts_of(
    segment: PublishedSegment,
    user: str | int,
    published: Published,
    now: dict[str, Definition],
    *,
    linked: bool,
    rules: IdRules,
) -> Facts | None:
    """The facts about a user and a segment; None for a segment that is a rule and nothing more.

    Args:
        segment: As it was published.
        user: The id in the type of the published one.
        published: The date.
        now: The segments of the configuration, which has what the tables lack: files of lists, bounds of arms.
        linked: Whether several ids can be one user: a list may then have the user under another one.
        rules: What becomes of ids: lists have those of the sources.
    """
    kind = segment.definition.kind
    if kind not in {"list", "arm"}:
        return None
    known = now.get(segment.name)
    dates = [("frozen_on", segment.frozen_on), ("expires_on", segment.expires_on)] if kind == "list" else []
    if known is None or known.kind != kind or known.version != segment.definition.version:
        problem = "the configuration has it differently now, or not at all, than when the date was published"
        return Facts(tuple((name, day) for name, day in dates if day is not None), None, problem)
    ids = pl.Series("user_id", [user], pl.String if isinstance(user, str) else pl.Int64)
    return _listed(known, ids, dates, published, rules, linked=linked) if kind == "list" else _arm(known, ids)


def _listed(
    known: Definition,
    ids: pl.Series,
    dates: Sequence[tuple[str, object]],
    published: Published,
    rules: IdRules,
    *,
    linked: bool,
) -> Facts:
    static = known.list
    if static is None:
        return Facts((), None, "the configuration has no list for it")
    values = [("list", static.path), *((name, day) for name, day in dates if day is not None)]
    try:
        own = read_lists((known,), published.user_dtype, pseudonyms=rules.pseudonyms)
        found = kept_lists(own, rules)[known.name]
    except TamisError as error:
        return Facts(tuple(values), None, error.message)
    listed = bool(ids.is_in(found.implode()).item())
    if linked and not listed:
        return Facts(tuple(values), None, "the list may have the user under another of its ids")
    return Facts((*values, ("listed", listed)), listed and is_in_force(static, published.as_of))


def _arm(known: Definition, ids: pl.Series) -> Facts | None:
    if known.arm is None:
        return None
    place = int(places(ids, known.arm.key).item())
    shares = [("place", place), ("low", known.arm.low), ("high", known.arm.high)]
    values = (("experiment", known.arm.experiment), *((name, value / PLACES) for name, value in shares))
    return Facts(values, known.arm.low <= place < known.arm.high)
