"""The report of one published date: its head, its sections, its foot."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from engine.config_report import Report as Settings
from engine.reporting.facts import Facts, read_facts
from engine.reporting.learnt_names import learnt_names
from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Report, Section, Tile
from engine.reporting.numbers import Language
from engine.reporting.sections import SECTIONS
from engine.reporting.sections.parts import all_users
from engine.reporting.words import LANGUAGES


def make_report(out: Path, as_of: date, compare: date | None, settings: Settings) -> Report:
    """The report of a date; the same published state gives the same report.

    Args:
        out: The output root.
        as_of: A published date.
        compare: Another one to compare with; the published date before when None.
        settings: What is shown, and how.

    Raises:
        ConfigError: A date is not published.
        IntegrityError: A manifest is damaged.
    """
    return report_of(read_facts(out, as_of, compare, min_cell=settings.min_cell), settings)


def report_of(facts: Facts, settings: Settings) -> Report:
    """The report of facts."""
    sections = tuple(section(facts) for section in SECTIONS)
    return Report(
        title=say("report.title", day=facts.as_of),
        subtitle=_subtitle(facts),
        tiles=_tiles(facts, sections),
        sections=sections,
        footer=footer(facts),
        names={language: names_of(facts, language) for language in LANGUAGES},
        language=settings.language,
        currency=settings.currency,
    )


def names_of(facts: Facts, language: Language) -> dict[tuple[str, str], str]:
    """What segments, causes, features, clusters and terms are called in a language."""
    return {**learnt_names(facts.bundle, language), **facts.names(language)}


def footer(facts: Facts) -> tuple[Message, ...]:
    """What a page was made from, and what it does not show."""
    prints = facts.now.manifest.fingerprints
    known = [
        say(f"report.made_{part}", mark=Name(prints[part][:12])) for part in ("config", "input") if prints.get(part)
    ]
    bundle = facts.now.manifest.bundle
    learnt = say("report.no_bundle") if bundle is None else say("report.bundle", bundle=Name(Path(bundle).name))
    run = say("report.run", run=Name(facts.now.manifest.run_id))
    return (run, *known, learnt, say("report.masked", people=facts.min_cell))


def _subtitle(facts: Facts) -> tuple[Message, ...]:
    against = say("report.first") if facts.compare is None else say("report.compared", day=facts.compare)
    counted = say("report.counted", day=facts.as_of)
    return (against, counted)


def _tiles(facts: Facts, sections: tuple[Section, ...]) -> tuple[Tile, ...]:
    users = shown_count(facts.now.users, facts.min_cell)
    tiles = [Tile(Quantity(users), say("report.tile_users", users=Quantity(users)))]
    earlier = None if facts.before is None else shown_count(facts.before.users, facts.min_cell)
    if users and earlier and facts.compare:
        grown = Quantity(users / earlier - 1, "share", signed=True)
        tiles.append(Tile(grown, say("report.tile_growth", day=facts.compare)))
    figures = all_users(facts.now) if users else {}
    revenue, window = figures.get("revenue"), figures.get("window_days")
    if revenue is not None and window is not None:
        tiles.append(Tile(Quantity(revenue, "money"), say("report.tile_revenue", days=Quantity(window, "days"))))
    tiles += _best(facts)
    alarms = sum(len(section.alarms) for section in sections)
    tiles.append(Tile(Quantity(alarms), say("report.tile_alarms", alarms=alarms)))
    return tuple(tiles)


def _best(facts: Facts) -> list[Tile]:
    best, frame = facts.best, facts.now.kpis
    if best is None or frame is None:
        return []
    value = frame.filter(pl.col("segment") == best)["mean_value"][0]
    return [Tile(Quantity(value, "money"), say("report.tile_best", segment=Name(best, "segment")))]


def shown_count(users: int | None, min_cell: int) -> int | None:
    """A number of people, unless they are so few that it is not shown; nobody is shown."""
    return None if users is None or 0 < users < min_cell else users
