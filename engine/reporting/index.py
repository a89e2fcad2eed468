"""The page of all published dates: trends of users, segments, money, warnings and models, and links to the reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.bundle import is_bundle_id
from engine.config_report import Report as Settings
from engine.reporting.facts import MOST_DATES, Facts, read_facts
from engine.reporting.facts_files import read_documents
from engine.reporting.masking import OTHERS
from engine.reporting.message import Message, Name, Quantity, Unit, say
from engine.reporting.model import Field, Figure, Report, Section, Tile
from engine.reporting.page import render, view_of, voice_of
from engine.reporting.places import CardKind, card_file, index_file, link, report_file
from engine.reporting.report import names_of, shown_count
from engine.reporting.trends import sizes_over_dates, totals_over_dates
from engine.reporting.words import LANGUAGES
from engine.tables.layout import bundles_folder, manifest_path
from engine.why.published import published_dates

MOST_LINES: Final = 8
"""Segments whose size is drawn: the largest of the last date."""

_QUALITY: Final = ("auc", "average_precision", "log_loss")


@dataclass(frozen=True)
class Published:
    """What the index tells of one date.

    Attributes:
        as_of: The date.
        users: None when they are too few to be shown, or not known.
        segments: Segments with somebody in them.
        warnings: Of the run.
        bundle: Id of what scored; None without one.
        report: Whether there is a report.
    """

    as_of: date
    users: int | None
    segments: int | None
    warnings: int
    bundle: str | None
    report: bool


def index_page(out: Path, settings: Settings) -> str:
    """The page of all published dates of an output root.

    Raises:
        ConfigError: Nothing is published, or the libraries that it needs are not installed.
        IntegrityError: The manifest of the last date is damaged.
    """
    facts = read_facts(out, published_dates(out)[-1], min_cell=settings.min_cell)
    dates = read_dates(facts)
    report = index_report(facts, dates, settings)
    page = index_file(out)
    links = {day.as_of: link(report_file(out, day.as_of), page) for day in dates if day.report}
    views = []
    for language in LANGUAGES:
        voice = voice_of(report, language)
        rows = [
            {
                "day": voice.day(day.as_of),
                "link": links.get(day.as_of),
                "cells": [
                    voice.number(Quantity(day.users)),
                    voice.number(Quantity(day.segments)),
                    voice.number(Quantity(day.warnings)),
                ],
                "bundle": day.bundle or voice.number(Quantity(None)),
            }
            for day in reversed(dates)
        ]
        words = {
            name: voice.put(Message(f"index.{name}"))
            for name in ("dates", "day", "users", "segments", "warnings", "bundle", "cards", "cards_models", "none")
        }
        words["cards_segments"] = words["segments"]
        cards = [
            {"title": words[f"cards_{kind}s"], "links": _cards(facts, kind, names, voice.name)}
            for kind, names in (("model", _targets(facts)), ("segment", list(facts.now.sizes)))
        ]
        view = view_of(report, language)
        extra = {"rows": rows, "cards": [card for card in cards if card["links"]], "index_words": words}
        views.append({**view, **extra})
    return render("index.html.j2", views=views, language=report.language)


def index_report(facts: Facts, dates: Sequence[Published], settings: Settings) -> Report:
    """The trends of the index.

    Args:
        facts: Of the last published date.
        dates: All of them, ascending.
        settings: What is shown, and how.
    """
    names = {language: names_of(facts, language) for language in LANGUAGES}
    return Report(
        title=say("index.title"),
        subtitle=(say("index.span", dates=len(facts.dates), first=facts.dates[0], last=facts.dates[-1]),),
        tiles=(
            Tile(Quantity(len(facts.dates)), say("index.tile_dates", dates=len(facts.dates))),
            Tile(Quantity(dates[-1].users), say("index.tile_users", day=facts.as_of)),
            Tile(Quantity(dates[-1].warnings), say("index.tile_warnings", day=facts.as_of)),
        ),
        sections=(_trends(facts, dates), _models(facts)),
        footer=(say("report.masked", people=facts.min_cell),),
        names=names,
        language=settings.language,
        currency=settings.currency,
    )


def read_dates(facts: Facts) -> tuple[Published, ...]:
    """What the index tells of every date, ascending; the last `MOST_DATES` of them."""
    found = []
    for day in facts.dates[-MOST_DATES:]:
        document = _document(manifest_path(facts.out, day))
        counts = document.get("counts") or {}
        sizes = counts.get("memberships") or {
            name: size.get("users") for name, size in (counts.get("segments") or {}).items()
        }
        bundle = document.get("bundle")
        found.append(
            Published(
                as_of=day,
                users=shown_count(counts.get("users"), facts.min_cell),
                segments=sum(bool(users) for users in sizes.values()) if sizes else None,
                warnings=len(counts.get("warnings") or ()),
                bundle=None if bundle is None else Path(str(bundle)).name,
                report=report_file(facts.out, day).exists(),
            )
        )
    return tuple(found)


def _document(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _cards(facts: Facts, kind: str, names: Sequence[str], called: Any) -> list[dict[str, str]]:
    of: CardKind = "target" if kind == "model" else "segment"
    files = [(name, card_file(facts.out, facts.as_of, of, name)) for name in names]
    page = index_file(facts.out)
    return [
        {"text": called(Name(name, of if of == "segment" else "")), "link": link(file, page)}
        for name, file in files
        if file.exists()
    ]


def _targets(facts: Facts) -> list[str]:
    return [] if facts.bundle is None else [model.spec.target.name for model in facts.bundle.models]


def _field(column: str, unit: Unit | None = None, vocabulary: str = "") -> Field:
    return Field(column, say(f"index.{column}"), unit, vocabulary)


def _trends(facts: Facts, dates: Sequence[Published]) -> Section:
    sizes = sizes_over_dates(facts.history, facts.groups, facts.min_cell)
    totals = totals_over_dates(sizes)
    largest = facts.primary[:MOST_LINES]
    of_segments = sizes.filter(pl.col("segment").is_in(largest) & pl.col("users").is_not_null())
    order = {name: place for place, name in enumerate(largest)}
    of_segments = of_segments.sort("as_of", pl.col("segment").replace_strict(order, default=0, return_dtype=pl.Int64))
    warnings = pl.DataFrame(
        {"day": [day.as_of for day in dates], "warnings": [day.warnings for day in dates]},
        {"day": pl.Date, "warnings": pl.Int64},
    )
    users = totals.select(day="as_of", users="users").drop_nulls()
    revenue = totals.select(day="as_of", revenue="revenue").drop_nulls()
    figures = (
        _line("users", users, "count", _grown(users, "users", "count")),
        replace(
            _line("segment_sizes", of_segments.select("segment", day="as_of", users="users"), "count", _leader(facts)),
            y="users",
            colour="segment",
            fields=(_field("day"), _field("segment", vocabulary="segment"), _field("users", "count")),
        ),
        _line("revenue", revenue, "money", _grown(revenue, "revenue", "money")),
        _line("warnings", warnings, "count", _grown(warnings, "warnings", "count")),
    )
    drawn = tuple(figure for figure in figures if not figure.table.is_empty())
    return Section("trends", "manager", say("index.trends"), figures=drawn, missing=_lacking(drawn))


def _lacking(figures: Sequence[Figure]) -> Message | None:
    there = {figure.key for figure in figures}
    lacking = tuple(say(f"index.{key}") for key in ("users", "segment_sizes", "revenue") if key not in there)
    return say("index.lacking", what=lacking) if lacking else None


def _line(key: str, table: pl.DataFrame, unit: Unit, title: Message) -> Figure:
    return Figure(
        key=key,
        kind="lines",
        title=title,
        definition=say(f"index.{key}_definition"),
        table=table,
        fields=(_field("day"), _field(key, unit)) if key in table.columns else (),
        x="day",
        y=key,
        users="users" if "users" in table.columns else None,
    )


def _grown(table: pl.DataFrame, column: str, unit: Unit) -> Message:
    """What became of a number since the first date."""
    if table.is_empty():
        return say(f"index.{column}")
    first, last = (table.row(place, named=True) for place in (0, -1))
    now = Quantity(last[column], unit)
    if table.height == 1:
        return say(f"index.{column}_once", now=now, day=last["day"])
    return say(f"index.{column}_since", now=now, then=Quantity(first[column], unit), day=first["day"])


def _leader(facts: Facts) -> Message:
    named = [name for name in facts.primary if name != OTHERS]
    sizes = facts.now.sizes
    if not named or sizes.get(named[0], 0) < facts.min_cell:
        return say("index.segment_sizes")
    return say("index.segment_sizes_title", segment=Name(named[0], "segment"), users=sizes[named[0]])


def _models(facts: Facts) -> Section:
    rows: dict[tuple[date, str], dict[str, Any]] = {}
    for folder in sorted(bundles_folder(facts.out).glob("*")):
        if is_bundle_id(folder.name) and folder.is_dir():
            for row in _fitted(folder):
                key = (row["day"], row["target"])
                # Of two fits of a day, the one that scored is told.
                if key not in rows or folder.name == facts.bundle_id:
                    rows[key] = row
    ordered = [rows[key] for key in sorted(rows)]
    if not ordered:
        return Section("models", "scientist", say("index.models"), missing=say("index.no_models"))
    table = pl.DataFrame(
        ordered, {"day": pl.Date, "target": pl.String, **dict.fromkeys(_QUALITY, pl.Float64)}, orient="row"
    )
    last = max(ordered, key=lambda row: (row["day"], row["auc"] or 0, row["target"]))
    figure = Figure(
        key="fits",
        kind="lines",
        title=say(
            "index.fits_title", target=Name(last["target"]), auc=Quantity(last["auc"], "number"), day=last["day"]
        ),
        definition=say("index.fits_definition"),
        table=table,
        fields=(_field("day"), _field("target"), *(_field(name, "number") for name in _QUALITY)),
        x="day",
        y="auc",
        colour="target",
    )
    return Section("models", "scientist", say("index.models"), figures=(figure,))


def _fitted(folder: Path) -> list[dict[str, Any]]:
    documents = read_documents(folder)
    found = []
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        day = date.fromisoformat(documents["bundle.json"]["as_of"])
        for name, document in documents.items():
            if name.endswith("/model.json"):
                measured = document["metrics"]
                figures = {key: measured.get(key) for key in _QUALITY}
                found.append({"day": day, "target": str(document["target"]["name"]), **figures})
    return found
