"""Facts made by hand, for the tests of the sections about models, clusters and runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from engine.bundle import Bundle
from engine.reporting.facts import DateFacts, Facts
from engine.reporting.message import Message
from engine.reporting.model import Figure, Section
from engine.reporting.numbers import Language
from engine.reporting.words import LANGUAGES, Voice
from engine.tables.manifest import Manifest, TableRecord
from tests.bundles import DAY, full_bundle

ROWS = {"read": 100, "kept": 60, "merged": 20, "duplicate": 5, "after_as_of": 5, "rejected": 8, "left_out": 2}


def side(
    day: date = DAY,
    counts: Mapping[str, Any] | None = None,
    tables: Mapping[str, pl.DataFrame] | None = None,
    **more: Any,
) -> DateFacts:
    published = tuple(
        TableRecord(name, f"{name}/as_of={day}", rows, 2, rows * 10, (("user_id", "Int64"),), ())
        for name, rows in more.pop("published", {"segments": 40, "drift": 3}).items()
    )
    made: dict[str, Any] = {
        "run_id": f"score-{day}-1",
        "bundle": "0123456789ab",
        "fingerprints": {"bundle": "0123456789ab", "config": "c" * 64, "input": "i" * 64},
        **more,
    }
    known = {"rows": ROWS, "users": 50} if counts is None else dict(counts)
    return DateFacts(Manifest(as_of=day, counts=known, tables=published, **made), dict(tables or {}))


def facts_of(now: DateFacts | None = None, bundle: Bundle | None = None, **more: Any) -> Facts:
    now = now or side()
    known: dict[str, Any] = {"before": None, "dates": (now.as_of,), "history": pl.DataFrame(), **more}
    return Facts(out=Path("out"), now=now, bundle=bundle, bundle_id=now.manifest.bundle, **known)


def learnt(*targets: str, **more: Any) -> Facts:
    return facts_of(bundle=full_bundle(*targets), **more)


def messages(section: Section) -> Iterator[Message]:
    yield section.title
    yield from section.sentences
    yield from section.alarms
    if section.missing is not None:
        yield section.missing
    for figure in section.figures:
        yield from (figure.title, figure.definition, *(field.label for field in figure.fields))


def told(facts: Facts, section: Section, language: Language = "en") -> str:
    """Everything that a section says, a line each."""
    voice = Voice(language, names=facts.names(language))
    return "\n".join(voice.put(message) for message in messages(section))


def figure(section: Section, key: str) -> Figure:
    return next(figure for figure in section.figures if figure.key == key)


def check(facts: Facts, section: Section) -> None:
    """What holds of every section: words in every language, and figures that are whole."""
    for language in LANGUAGES:
        text = told(facts, section, language)
        assert "{" not in text
        assert "–" not in "\n".join(text.splitlines()[:1])
    keys = [figure.key for figure in section.figures]
    assert len(keys) == len(set(keys))
    assert section.sentences or section.missing is not None or section.figures
    for drawn in section.figures:
        columns = {field.column for field in drawn.fields}
        assert columns <= set(drawn.table.columns)
        wanted = {drawn.x, drawn.y, drawn.colour, drawn.low, drawn.high, drawn.users} - {"", None}
        assert wanted <= columns
        assert not drawn.table.is_empty()
