"""How the run was made: identity, configuration, versions and fingerprints, and what it warned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.reporting.message import Message, Name, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.run_records import record_of

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

_SHOWN: Final = ("attempt", "command", "executor", "started", "ended")
MOST_WARNINGS: Final = 20


def section(facts: Facts) -> Section:
    """The run's identity as a table, and its warnings as they were given."""
    record = record_of(facts)
    return Section(
        "run",
        "engineer",
        say("run.title"),
        sentences=tuple(_sentences(facts)),
        figures=(_facts(facts, record), *_warnings(facts)),
        missing=say("run.no_record") if record is None else None,
        alarms=tuple(_alarms(facts)),
    )


def _sentences(facts: Facts) -> Iterator[Message]:
    if facts.now.warnings:
        yield say("run.warned", warnings=len(facts.now.warnings))
    else:
        yield say("run.no_warnings")
    before = None if facts.before is None else facts.before.manifest.fingerprints
    if before is None or facts.before is None:
        return
    now = facts.now.manifest.fingerprints
    changed = sorted(name for name in now.keys() & before.keys() if now[name] != before[name])
    names = tuple(say("learnt.name", name=Name(name, "run_fact")) for name in changed)
    yield say("run.changed", day=facts.before.as_of, names=names) if names else say("run.same", day=facts.before.as_of)


def _alarms(facts: Facts) -> Iterator[Message]:
    if facts.bundle_id is not None and facts.bundle is None:
        yield say("learnt.bundle_gone", bundle=Name(PurePath(facts.bundle_id).name))


def _facts(facts: Facts, record: Mapping[str, Any] | None) -> Figure:
    manifest = facts.now.manifest
    bundle = None if manifest.bundle is None else PurePath(manifest.bundle).name
    rows: list[tuple[str, str | None]] = [("run_id", manifest.run_id), ("bundle", bundle)]
    if facts.bundle is not None:
        rows.append(("fitted", facts.bundle.as_of.isoformat()))
    if record is not None:
        rows += [(name, _text(record.get(name))) for name in _SHOWN]
        rows.append(("config_file", PurePath(_text(record.get("config")) or "").name or None))
        overrides = record.get("overrides")
        if isinstance(overrides, Mapping) and overrides:
            rows.append(("overrides", ", ".join(sorted(map(str, overrides)))))
    # The bundle's own fingerprint is its name.
    rows += [(name, mark) for name, mark in sorted(manifest.fingerprints.items()) if name != "bundle"]
    rows += [(name, text) for name, text in _versions(facts, record).items()]
    table = pl.DataFrame([row for row in rows if row[1]], {"fact": pl.String, "value": pl.String}, orient="row")
    return Figure(
        key="run_facts",
        kind="none",
        title=say(
            "run.facts_title", run=Name(manifest.run_id), config=Name(manifest.fingerprints.get("config", "")[:12])
        ),
        definition=say("run.facts_definition"),
        table=table,
        fields=(Field("fact", say("run.fact"), vocabulary="run_fact"), Field("value", say("run.value"))),
    )


def _versions(facts: Facts, record: Mapping[str, Any] | None) -> dict[str, str]:
    """Versions of the run; without its record those that wrote the bundle."""
    found = None if record is None else record.get("versions")
    if not isinstance(found, Mapping):
        document = facts.documents.get("bundle.json")
        found = document.get("versions") if isinstance(document, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {f"version_{name}".replace("-", "_"): str(text) for name, text in sorted(found.items())}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _warnings(facts: Facts) -> Iterator[Figure]:
    if not facts.now.warnings:
        return
    table = pl.DataFrame({"warning": list(facts.now.warnings[:MOST_WARNINGS])}, {"warning": pl.String})
    yield Figure(
        key="run_warnings",
        kind="none",
        title=say("run.warnings_title", warnings=len(facts.now.warnings)),
        definition=say("run.warnings_definition"),
        table=table,
        fields=(Field("warning", say("run.warning")),),
    )
