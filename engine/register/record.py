"""The record of processing of one run, as article 30 of the RGPD asks for: whose data, what for, from where, to whom.

It is made of the configuration, of what a run counted, and of the list of exports; no person is in it, and no clock:
the same run gives the same record as long as nothing else was exported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from engine.config import Config
from engine.config_privacy import Retention
from engine.exports.listing import ListedExport
from engine.rollups.rolling import Found
from engine.segments.definition import Definition

FORMAT: Final = 1
_COUNTED: Final = ("rows", "users", "withheld", "consent", "rejected", "models")


@dataclass(frozen=True)
class Processed:
    """A run, as far as its record tells of it.

    Attributes:
        kind: `score` publishes tables, `fit` learns a bundle.
        as_of: First day that was not used.
        run_id: Its id; `bundle`: that of the bundle that was used or made.
        fingerprints: Hashes of the input, the configuration and the code.
        counts: What it counted, as in the manifest.
        tables: Columns by published table. Their rows are in the manifest: a back-fill may correct a ledger later.
        events: Event types of the log.
        attributes: Attributes of the contacts.
        features: Names of the features, by family.
        definitions: The segments.
        key: Id of the key that pseudonyms were made with; None without pseudonyms.
    """

    kind: Literal["score", "fit"]
    as_of: date
    run_id: str
    bundle: str | None
    fingerprints: Mapping[str, str]
    counts: Mapping[str, Any]
    tables: Mapping[str, Sequence[str]]
    events: Sequence[str]
    attributes: Sequence[str]
    features: Mapping[str, Sequence[str]]
    definitions: Sequence[Definition]
    key: str | None


def record_of(
    config: Config, processed: Processed, found: Sequence[Found], exports: Iterable[ListedExport]
) -> dict[str, Any]:
    """The record as values that JSON has.

    Args:
        config: The configuration.
        processed: The run.
        found: The units of the log that it read.
        exports: The list of exports.
    """
    privacy, consent = config.privacy, config.consent
    known = () if consent is None else consent.known
    process = [] if consent is None else list(consent.process)
    return {
        "format": FORMAT,
        "kind": processed.kind,
        "as_of": processed.as_of.isoformat(),
        "run_id": processed.run_id,
        "bundle": processed.bundle,
        "fingerprints": dict(sorted(processed.fingerprints.items())),
        "controller": privacy.controller,
        "data_protection_officer": privacy.officer,
        "legal_basis": dict(sorted(privacy.legal_basis.items())),
        "transfers": privacy.transfers,
        "purposes": {
            "known": list(known),
            "of_any_processing": process,
            "of_exports": [] if consent is None else list(consent.exports),
            "of_event_types": {} if consent is None else {name: list(types) for name, types in consent.inputs.items()},
        },
        "sources": _sources(config, found),
        "data": {
            "event_types": sorted(processed.events),
            "contact_attributes": sorted(processed.attributes),
            "tables": {name: list(columns) for name, columns in processed.tables.items()},
        },
        "features": {family: list(names) for family, names in processed.features.items()},
        "targets": [
            {
                "target": target.name,
                "event": target.event,
                "horizon_days": target.horizon_days,
                "purposes": sorted({*process, *target.purposes}),
            }
            for target in config.targets
        ],
        "segments": [
            {
                "segment": one.name,
                "kind": one.kind,
                "version": one.version,
                "purposes": sorted({*process, *one.purposes}),
            }
            for one in processed.definitions
        ],
        "recipients": list(privacy.recipients),
        "exports": _exports(exports, processed.as_of),
        "retention": _retention(config.retention),
        "security": {
            "pseudonyms": privacy.pseudonyms,
            "key_id": processed.key,
            "readable_by": privacy.readable_by,
            "table_format": config.publish.format,
        },
        "counts": {name: processed.counts[name] for name in _COUNTED if name in processed.counts},
    }


def _sources(config: Config, found: Sequence[Found]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for place, source in enumerate(config.sources):
        own = [one.unit for one in found if one.unit.source == place]
        # As the run is known by them: a copy of the log is the same log.
        files = sorted((file.path, file.size, file.modified_ns) for unit in own for file in unit.files)
        identity = "\n".join("\0".join(map(str, file)) for file in files)
        listed.append(
            {
                "source": source.name,
                "what": "events",
                "path": _paths(source.path),
                "files": sum(len(unit.files) for unit in own),
                "sha256": hashlib.sha256(identity.encode()).hexdigest(),
            }
        )
    tables = {
        "contacts": config.contacts,
        "identity": config.identity,
        "consent": config.consent,
        "accounts": config.accounts,
    }
    for name, section in tables.items():
        if section is not None and hasattr(section, "path"):
            listed.append({"source": name, "what": name, "path": _paths(section.path)})
    if config.contacts is not None:
        listed += [
            {"source": one.name, "what": "enrichment", "path": _paths(one.path)} for one in config.contacts.enrich
        ]
    return listed


def _paths(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _exports(exports: Iterable[ListedExport], as_of: date) -> list[dict[str, Any]]:
    """Exports of the date and of earlier ones, by export."""
    return [
        {
            "export": one.export,
            "tool": one.tool,
            "as_of": one.as_of.isoformat(),
            "purposes": list(one.purposes),
            "segments": sorted({segment.segment for segment in one.segments}),
            "rows": sum(file.rows for file in one.files),
        }
        for one in exports
        if one.as_of <= as_of
    ]


def _retention(retention: Retention) -> dict[str, Any]:
    plain: dict[str, Any] = retention.model_dump(mode="json")
    return plain
