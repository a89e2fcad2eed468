"""Reports as files: a page per date beside the manifests, the index of all dates, and the cards of a date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from engine.config_report import Report as Settings
from engine.reporting.cards import card_page, cards_of
from engine.reporting.facts import Facts, read_facts
from engine.reporting.index import index_page
from engine.reporting.page import page
from engine.reporting.places import INDEX, index_file, report_file
from engine.reporting.report import report_of
from engine.tables.durable import durable_text


@dataclass(frozen=True)
class Written:
    """What was written: the report, and the index of all dates."""

    report: Path
    index: Path


def write_report(out: Path, as_of: date, settings: Settings) -> Written:
    """Write the report of a date in its place, and the index anew.

    Args:
        out: The output root.
        as_of: A published date.
        settings: What is shown, and how.

    Raises:
        ConfigError: The date is not published, the libraries are not installed, or the folder cannot be written to.
        IntegrityError: A manifest is damaged.
        ResourceError: The disk is full or failing.
    """
    facts = read_facts(out, as_of, min_cell=settings.min_cell)
    report = write_page(facts, settings, report_file(out, as_of))
    return Written(report, write_index(out, settings))


def write_page(facts: Facts, settings: Settings, target: Path) -> Path:
    """Write the report of facts to a file; in its place beside the manifests it links to the index."""
    beside = target.absolute() == report_file(facts.out, facts.as_of).absolute()
    durable_text(page(report_of(facts, settings), index=INDEX if beside else None), target)
    return target


def write_index(out: Path, settings: Settings) -> Path:
    """Write the page of all dates; it links to the reports and cards that are there."""
    durable_text(index_page(out, settings), index_file(out))
    return index_file(out)


def write_cards(facts: Facts, settings: Settings) -> Sequence[Path]:
    """Write the cards of a date: of its models, then of its segments."""
    written = []
    for card in cards_of(facts, settings):
        durable_text(card_page(card, facts), card.file)
        written.append(card.file)
    return written
