"""A small published output of three dates, with a model that was validated, for the tests of reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.reporting.facts import DateFacts, Facts
from engine.reporting.facts_files import HISTORY
from engine.reporting.model import Section
from engine.reporting.numbers import Language
from engine.reporting.words import Voice
from engine.segments.definitions import DEFINITIONS_SCHEMA
from engine.segments.kpis import ALL_USERS, KPI_SCHEMA
from engine.tables.manifest import Manifest
from engine.validation import validate_run
from tests.samples import DAYS, TOML, configuration, contacts, mail, shop, write_files

DATES: Final = (date(2026, 3, 1), date(2026, 3, 8), date(2026, 3, 15))
USERS: Final = 240

_MORE: Final = """
[[lifecycle]]
preset = "buyer"

[[segments]]
name = "<b>every</b> & 'one'"
tag = true
where = "engagement_score >= 0"
campaigns = ["spring", "<script>alert(1)</script>"]
labels = { fr = "tout le monde" }

[guards]
small = "warn"
min_users = 5
"""


def publish(folder: Path) -> Path:
    """Publish `DATES` below a folder, and validate the first; returns the output root."""
    write_files(folder / "shop", [shop(USERS, days=DAYS + 30)])
    write_files(folder / "mail", [mail(USERS, days=DAYS + 30)])
    contacts(USERS).write_parquet(folder / "contacts.parquet")
    (folder / "tamis.toml").write_text(TOML + _MORE, encoding="utf-8")
    config = configuration(folder / "tamis.toml", refit_after_days=30, execution__rows_per_task=1_000_000)
    for day in DATES:
        run(config, day, executor=LocalExecutor())
    validate_run(config, DATES[0], executor=LocalExecutor())
    return Path(config.out)


def side(day: date, users: int, sizes: Mapping[str, tuple[int, float | None]], **more: Any) -> DateFacts:
    """One date of made-up segments of the group `primary`: users and spend per head of each.

    Args:
        day: The date.
        users: Users of all segments.
        sizes: Users and mean value by segment.
        more: Frames by table; `counts`, more of the manifest's; `figures`, further columns of the key figures, by
            segment; `kinds` and `groups`, of segments that are no fallback of the primary group.
    """
    figures, kinds, groups = (more.pop(name, {}) for name in ("figures", "kinds", "groups"))
    counts = {"users": users, **more.pop("counts", {})}
    rows = [
        {
            "segment": name,
            "kind": kinds.get(name, "fallback"),
            "group": groups.get(name, "primary"),
            "window_days": 30,
            "users": count,
            "user_share": count / users,
            "mean_value": mean,
            "total_value": None if mean is None else mean * count,
            **figures.get(name, {}),
        }
        for name, (count, mean) in {ALL_USERS: (users, 10.0), **sizes}.items()
    ]
    rows[0] |= {"kind": "all", "group": None}
    definitions = [
        {"segment": row["segment"], "group": row["group"], "kind": row["kind"], "position": place, "campaigns": []}
        for place, row in enumerate(rows[1:])
    ]
    tables = {
        "segment_kpis": pl.DataFrame(rows, {name: KPI_SCHEMA[name] for name in KPI_SCHEMA}),
        "segment_definitions": pl.DataFrame(definitions, DEFINITIONS_SCHEMA),
        **more,
    }
    return DateFacts(Manifest("score-1", day, None, {}, counts, ()), tables)


def moved(since: date, entries: Mapping[str, int], exits: Mapping[str, int]) -> dict[str, Any]:
    """The counts of a run whose ledger compares with a date."""
    ledger = {"entries": dict(entries), "exits": dict(exits), "previous": {"as_of": since.isoformat()}}
    return {"ledger": ledger}


def made(now: DateFacts, before: DateFacts | None = None) -> Facts:
    """Facts of one or two made-up dates."""
    dates = tuple(one.as_of for one in (before, now) if one is not None)
    return Facts(Path("out"), now, before, dates, pl.DataFrame(schema=HISTORY))


def told(section: Section, facts: Facts, language: Language = "en") -> list[str]:
    """All that a section says, figures and their columns included."""
    voice = Voice(language, "EUR", facts.names(language))
    figures = [
        message
        for figure in section.figures
        for message in (figure.title, figure.definition, *(field.label for field in figure.fields))
    ]
    said = (section.title, *section.sentences, *section.alarms, section.missing, *figures)
    return [voice.put(message) for message in said if message is not None]
