"""The segments of a date, or of a configuration alone: what they are, how many users they have, what asks for what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.rules.rule import Rule
from engine.segments.definition import Definition
from engine.segments.definitions import definitions
from engine.suggest import did_you_mean, some_of
from engine.why.lint import checked_rules
from engine.why.published import (
    Published,
    PublishedSegment,
    open_published,
    previous_published,
    published_dates,
)
from engine.why.scope import scope_of, spec_of
from engine.why.taken import Reach, reach_of
from engine.why.words import Language

LIST_SCHEMA = {
    "segment": pl.String(),
    "label": pl.String(),
    "group": pl.String(),
    "kind": pl.String(),
    "priority": pl.Int64(),
    "users": pl.Int64(),
    "share": pl.Float64(),
    "change": pl.Int64(),
    "rule": pl.String(),
}
"""Columns of `segment_list`: users, share and change are null where nothing is published, the group for a tag."""

_COMPOSITION_LINES = 12


@dataclass(frozen=True)
class Listing:
    """Segments and where they are from.

    Attributes:
        as_of: The published date; None: the configuration alone.
        since: The published date before, that `change` refers to.
        users: Users that were scored.
        table: `LIST_SCHEMA`; in the order in which segments are tried, group by group, tags last.
    """

    as_of: date | None
    since: date | None
    users: int | None
    table: pl.DataFrame


def segment_list(config: Config, as_of: date | None, language: Language = "en") -> Listing:
    """The segments of a published date; of the configuration alone when no date is asked for and none is published.

    Args:
        config: The configuration.
        as_of: The date; None: the latest one.
        language: Of the labels.

    Raises:
        ConfigError: Nothing is published for the date that was asked for.
        IntegrityError: Published files are not those of their manifest.
    """
    out = Path(config.out).absolute()
    if as_of is None and not published_dates(out):
        return Listing(None, None, None, _table(_configured(config), None, None, language))
    published = open_published(out, as_of, ("memberships", "segment_definitions"))
    before = previous_published(published)
    table = _table(published.segments, published, before, language)
    return Listing(published.as_of, None if before is None else before.as_of, published.users, table)


@dataclass(frozen=True)
class Shown:
    """Everything of one segment.

    Attributes:
        line: Its row of `segment_list`.
        about: Version, labels, campaigns, description, dates of a list, cost, days of the list; what is not there is
            left out.
        depends_on, used_by: Segments its rule asks for, and those whose rules ask for it.
        reach: For whom its rule holds, and who took them before; None for a tag, without a rule, or where that is not
            known.
        entries, exits: Users who came and went with the date's run; None where nothing is published.
        composition: Top lines of the table `segment_composition`: what differs most from all users comes first.
        kpis: The row of the table `segment_kpis` without its key; empty where there is none.
    """

    as_of: date | None
    line: dict[str, Any]
    about: dict[str, Any]
    depends_on: tuple[str, ...]
    used_by: tuple[str, ...]
    reach: Reach | None
    entries: int | None
    exits: int | None
    composition: tuple[dict[str, Any], ...]
    kpis: dict[str, Any]


def segment_shown(config: Config, name: str, as_of: date | None, language: Language = "en") -> Shown:
    """Everything that is known of one segment.

    Raises:
        ConfigError: There is no such segment, or nothing is published for the date.
        IntegrityError: Published files are not those of their manifest.
    """
    listing = segment_list(config, as_of, language)
    names = listing.table["segment"].to_list()
    if listing.as_of is None:
        published, segments = None, _configured(config)
    else:
        published = open_published(Path(config.out).absolute(), listing.as_of, ())
        segments = published.segments
    found = next((segment for segment in segments if segment.name == name), None)
    if found is None:
        raise ConfigError(
            f"no segment {name!r}{did_you_mean(name, names)}",
            code="segment-unknown",
            hint=f"Segments: {some_of(names, command='tamis segments list')}."
            if names
            else "The configuration has no segments.",
        )
    changes = None if published is None else _changes(published, name)
    return Shown(
        as_of=listing.as_of,
        line=listing.table.row(names.index(name), named=True),
        about=_about(found),
        depends_on=found.depends_on,
        used_by=tuple(sorted(other.name for other in segments if name in other.depends_on)),
        reach=None if published is None else _reach(found, published, config),
        entries=None if changes is None else changes.get("enter", 0),
        exits=None if changes is None else changes.get("exit", 0),
        composition=() if published is None else _composition(published, name),
        kpis={} if published is None else _kpis(published, name),
    )


def _reach(segment: PublishedSegment, published: Published, config: Config) -> Reach | None:
    if any(published.table(name) is None for name in ("features", "scores", "memberships")):
        return None
    try:
        scope = scope_of(published, spec_of(published, config))
    except ConfigError:
        # The bundle is gone, and the configuration is of other events: what rules may say is not known any more.
        return None
    return reach_of(segment, published, scope)


def asked_segments(rule: Rule | None) -> tuple[str, ...]:
    """The segments that a rule asks for, sorted; none for a segment without a rule."""
    return () if rule is None else tuple(sorted(rule.segments))


def _configured(config: Config) -> tuple[PublishedSegment, ...]:
    found = definitions(config)
    rules = checked_rules(config, found).rules
    return tuple(
        PublishedSegment(
            definition=definition,
            position=place,
            frozen_on=None if definition.list is None else definition.list.frozen_on,
            expires_on=None if definition.list is None else definition.list.expires_on,
            depends_on=asked_segments(rules.get(definition.name)),
        )
        for place, definition in enumerate(found)
    )


def _table(
    segments: tuple[PublishedSegment, ...],
    published: Published | None,
    before: Published | None,
    language: Language,
) -> pl.DataFrame:
    first = {segment.definition.group: segment.position for segment in reversed(segments)}
    ordered = sorted(
        segments,
        key=lambda found: (found.definition.group is None, first[found.definition.group], found.rank),
    )
    rows = []
    for segment in ordered:
        definition = segment.definition
        users = None if published is None else published.sizes.get(segment.name, 0)
        change = None if before is None or users is None else users - before.sizes.get(segment.name, 0)
        share = None if published is None or users is None or not published.users else users / published.users
        priority = None if definition.group is None else definition.priority
        told = (segment.name, segment.label(language), definition.group, definition.kind, priority)
        rows.append((*told, users, share, change, _rule(segment)))
    return pl.DataFrame(rows, LIST_SCHEMA, orient="row")


def _rule(segment: PublishedSegment) -> str | None:
    where = segment.definition.where
    return None if where is None else " ".join(where.split())


def _about(segment: PublishedSegment) -> dict[str, Any]:
    definition: Definition = segment.definition
    about = {
        "version": definition.version,
        "labels": dict(definition.labels),
        "description": definition.description,
        "campaigns": list(definition.campaigns),
        "cost": definition.cost,
        "list": None if definition.list is None else definition.list.path,
        "frozen_on": segment.frozen_on,
        "expires_on": segment.expires_on,
    }
    return {name: value for name, value in about.items() if value not in (None, "", [], {})}


def _changes(published: Published, name: str) -> dict[str, int] | None:
    if published.table("membership_changes") is None:
        return None
    found = published.read("membership_changes", ["change"], pl.col("segment") == name)["change"].value_counts()
    return {str(change): int(users) for change, users in found.iter_rows()}


def _composition(published: Published, name: str) -> tuple[dict[str, Any], ...]:
    """The bins whose share differs most from that of all users."""
    if published.table("segment_composition") is None:
        return ()
    names = ["column", "bin", "users", "share", "base_share", "psi"]
    rows = published.read("segment_composition", names, pl.col("segment") == name)
    away = (pl.col("share") - pl.col("base_share")).abs()
    ordered = rows.filter(pl.col("share").is_not_null()).with_columns(away=away)
    ordered = ordered.sort("away", "column", "bin", descending=[True, False, False]).drop("away")
    return tuple(ordered.head(_COMPOSITION_LINES).iter_rows(named=True))


def _kpis(published: Published, name: str) -> dict[str, Any]:
    if published.table("segment_kpis") is None:
        return {}
    rows = published.read("segment_kpis", None, pl.col("segment") == name)
    row = next(rows.iter_rows(named=True), {})
    return {key: value for key, value in row.items() if key not in {"segment", "group", "kind"} and value is not None}
