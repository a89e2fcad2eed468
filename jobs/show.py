"""`tamis show`: the report of a date in the terminal."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.console import clean, print_json, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, PublishedDay
from jobs.report import CompareDay, Language, published_day, settings_of
from jobs.session import Settings, load, parse_bound

if TYPE_CHECKING:
    from engine.reporting.model import Audience

Reader = Annotated[
    Literal["manager", "scientist", "engineer", "all"],
    typer.Option("--for", help="Whose sentences are told; findings that need attention always are."),
]


def show(
    *,
    as_of: PublishedDay = None,
    compare: CompareDay = None,
    reader: Reader = "manager",
    language: Language = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Print the report of a published date: the segments with their trends, and what was found."""
    asked, against = parse_bound(as_of, "--as-of"), parse_bound(compare, "--compare")
    loaded = load(config, Settings(assignments or (), out))
    root, settings = Path(loaded.config.out), settings_of(loaded.config, language)
    day = published_day(root, asked)
    from engine.reporting.facts import read_facts
    from engine.reporting.message import Name
    from engine.reporting.page import voice_of
    from engine.reporting.report import report_of
    from engine.reporting.terminal import lines, segment_lines

    facts = read_facts(root, day, against, min_cell=settings.min_cell)
    report = report_of(facts, settings)
    voice = voice_of(report, settings.language)
    audiences: tuple[Audience, ...] = ("manager", "scientist", "engineer") if reader == "all" else (reader,)
    if not as_json:
        for line in lines(report, facts, voice, audiences):
            write(sys.stdout, clean(line))
        return
    told = [section for section in report.sections if section.audience in audiences]
    print_json(
        {
            "as_of": day.isoformat(),
            "compare": facts.compare,
            "segments": [
                {**asdict(line), "label": voice.name(Name(line.segment, "segment"))} for line in segment_lines(facts)
            ],
            "alarms": [voice.put(alarm) for section in report.sections for alarm in section.alarms],
            "sections": [
                {
                    "key": section.key,
                    "title": voice.put(section.title),
                    "sentences": [voice.put(sentence) for sentence in section.sentences],
                    "missing": None if section.missing is None else voice.put(section.missing),
                }
                for section in told
            ],
        }
    )
