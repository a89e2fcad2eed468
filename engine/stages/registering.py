"""The record of processing of a run, written when all else is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bundle import Bundle
from engine.config import Config
from engine.exports.listing import listed_exports
from engine.features.catalogue import families
from engine.features.spec import FeatureSpec
from engine.register.page import page_of
from engine.register.places import register_path
from engine.register.record import Processed, record_of
from engine.segments.definition import Definition
from engine.stages.opening import Opened
from engine.stages.preparation import Prepared
from engine.tables.durable import canonical_json, durable_json, durable_text
from engine.tables.manifest import Manifest

if TYPE_CHECKING:
    import polars as pl


def register_score(
    opened: Opened, prepared: Prepared, manifest: Manifest, spec: FeatureSpec, definitions: Sequence[Definition]
) -> None:
    """Write what a run has published of whom, and what for, in place of an earlier record of the date.

    Args:
        opened: The configuration and its input.
        prepared: The store.
        manifest: What was published.
        spec: The features.
        definitions: The segments.

    Raises:
        IntegrityError: The list of exports is damaged.
        ResourceError: The disk is full or failing.
    """
    processed = Processed(
        kind="score",
        as_of=manifest.as_of,
        run_id=manifest.run_id,
        bundle=manifest.bundle,
        fingerprints=manifest.fingerprints,
        counts=manifest.counts,
        tables={table.name: [name for name, _ in table.schema] for table in manifest.tables},
        events=prepared.types,
        attributes=_attributes(opened.contacts),
        features=_features(spec),
        definitions=definitions,
        key=prepared.index.key,
    )
    _write(opened, processed)


def register_fit(opened: Opened, prepared: Prepared, bundle: Bundle, run_id: str, folder: Path, users: int) -> None:
    """Write what a fit has learnt from whom; see `register_score`.

    Args:
        opened: The configuration and its input.
        prepared: The store.
        bundle: What was learnt.
        run_id: Id of the fit.
        folder: The bundle's folder.
        users: Users it was learnt from.

    Raises:
        TamisError: As `register_score`.
    """
    models: dict[str, Any] = {model.spec.target.name: "" for model in bundle.models}
    processed = Processed(
        kind="fit",
        as_of=bundle.as_of,
        run_id=run_id,
        bundle=folder.name,
        fingerprints=opened.fingerprints,
        counts={"users": users, "models": sorted(models)},
        tables={},
        events=prepared.types,
        attributes=_attributes(opened.contacts),
        features=_features(bundle.spec),
        definitions=(),
        key=prepared.index.key,
    )
    _write(opened, processed)


def _write(opened: Opened, processed: Processed) -> None:
    config: Config = opened.config
    if not config.privacy.keep_register:
        return
    out = Path(config.out)
    record = record_of(config, processed, opened.given.units, listed_exports(out))
    # The page is that of the file, in whose order it is read.
    durable_text(page_of(json.loads(canonical_json(record))), register_path(out, processed.kind, processed.as_of, "md"))
    durable_json(record, register_path(out, processed.kind, processed.as_of, "json"))


def _attributes(contacts: Mapping[str, pl.DataType]) -> list[str]:
    return sorted(contacts)


def _features(spec: FeatureSpec) -> dict[str, list[str]]:
    return {family: [feature.name for feature in found] for family, found in families(spec).items() if found}
