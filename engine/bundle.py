"""The bundle: what `fit` learns and `score` applies, as text and JSON, with a checksum of every file.

    bundle.json            date, feature specification, RFM edges and map, engagement scale, attributes, versions
    clusters.json          preparation, centroids, the curve that k was chosen from
    targets/<name>/        model.txt (LightGBM's text) and model.json (features, dtypes, codes, metrics, check rows)
    files.json             sha256 of every file above; the bundle's id is the checksum of this list

Nothing in it is ever unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from engine.clusters.assign import Clustering
from engine.clusters.assign import from_json as clustering_from_json
from engine.clusters.assign import to_json as clustering_to_json
from engine.errors import ConfigError, IntegrityError
from engine.features.spec import FeatureSpec
from engine.propensity.spec import ModelSpec
from engine.propensity.train import TrainedModel
from engine.segments.rfm_maps import SegmentMap
from engine.segments.rfm_scores import RfmEdges
from engine.tables.durable import canonical_json, sha256_of

FORMAT: Final = 1
REFIT: Final = "Run `tamis fit` to write a new bundle, or restore this one from a copy."
_VERSIONED = ("tamis", "polars", "lightgbm", "polars-hash")
ID_DIGITS: Final = 12


@dataclass(frozen=True)
class Bundle:
    """Everything that must stay still between two fits.

    Attributes:
        as_of: Day of the fit; only dates from it on may be scored.
        learnt_from: Hash of each part of the configuration it was fitted with.
        spec: The features.
        user_dtype: Int64 or String.
        rfm_edges: None without a purchase type.
        segment_map: Name of the RFM map.
        engagement_full_at: Points that give an engagement score of 100.
        contacts: Name and Polars type of each contact attribute.
        clustering: None when clusters are off.
        cluster_curve: The figures of every k that was tried.
        models: One per target, in the order of the configuration.
    """

    as_of: date
    learnt_from: tuple[tuple[str, str], ...]
    spec: FeatureSpec
    user_dtype: str
    rfm_edges: RfmEdges | None
    segment_map: SegmentMap
    engagement_full_at: int
    contacts: tuple[tuple[str, str], ...]
    clustering: Clustering | None
    cluster_curve: tuple[dict[str, float], ...]
    models: tuple[TrainedModel, ...]


def bundle_files(bundle: Bundle) -> dict[str, str]:
    """The bundle as file names and texts; the same bundle gives the same texts."""
    meta = {
        "format": FORMAT,
        "as_of": bundle.as_of.isoformat(),
        "learnt_from": dict(bundle.learnt_from),
        "spec": bundle.spec.to_json(),
        "user_dtype": bundle.user_dtype,
        "rfm_edges": None if bundle.rfm_edges is None else json.loads(bundle.rfm_edges.to_json()),
        "segment_map": bundle.segment_map,
        "engagement_full_at": bundle.engagement_full_at,
        "contacts": [list(attribute) for attribute in bundle.contacts],
        "targets": [model.spec.target.name for model in bundle.models],
        "versions": {name: version(name) for name in _VERSIONED},
    }
    files = {"bundle.json": canonical_json(meta)}
    if bundle.clustering is not None:
        files["clusters.json"] = canonical_json(
            {**clustering_to_json(bundle.clustering), "curve": list(bundle.cluster_curve)}
        )
    for model in bundle.models:
        folder = f"targets/{model.spec.target.name}"
        files[f"{folder}/model.txt"] = model.text
        files[f"{folder}/model.json"] = model.spec.to_json()
    checksums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())}
    return {**files, "files.json": canonical_json(checksums)}


def bundle_id(folder: Path) -> str:
    """The id of the bundle in `folder`, wherever it lies: the start of the sha256 of its list of checksums."""
    return identity_of((folder / "files.json").read_bytes())


def identity_of(listing: bytes) -> str:
    """The id of a bundle with this list of checksums."""
    return hashlib.sha256(listing).hexdigest()[:ID_DIGITS]


def load_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, after every file was checked against its checksum.

    Raises:
        ConfigError: There is no bundle at `folder`.
        IntegrityError: Files are missing, changed, damaged or not part of it, or written by another major version.
    """
    listing = folder / "files.json"
    if not listing.is_file():
        raise ConfigError(
            f"there is no bundle at {folder}", code="bundle-missing", hint="Run `tamis fit` first, or check --bundle."
        )
    return _load(folder, hashlib.sha256(listing.read_bytes()).hexdigest())


@lru_cache(maxsize=4)
def _load(folder: Path, listing_sha256: str) -> Bundle:  # noqa: ARG001 - part of the cache's key
    problems = damages(folder)
    if problems:
        raise IntegrityError(
            f"the bundle {folder} is damaged:\n" + "\n".join(f"  {line}" for line in problems),
            code="bundle-damaged",
            hint=REFIT,
        )
    try:
        meta = read_meta(folder)
        clusters = folder / "clusters.json"
        clustering: dict[str, Any] | None = json.loads(clusters.read_bytes()) if clusters.exists() else None
        edges = meta["rfm_edges"]
        return Bundle(
            as_of=date.fromisoformat(meta["as_of"]),
            learnt_from=tuple(sorted(meta["learnt_from"].items())),
            spec=FeatureSpec.from_json(meta["spec"]),
            user_dtype=meta["user_dtype"],
            rfm_edges=None if edges is None else RfmEdges.from_json(json.dumps(edges)),
            segment_map=meta["segment_map"],
            engagement_full_at=int(meta["engagement_full_at"]),
            contacts=tuple((name, dtype) for name, dtype in meta["contacts"]),
            clustering=None if clustering is None else clustering_from_json(clustering),
            cluster_curve=() if clustering is None else tuple(clustering["curve"]),
            models=tuple(_load_model(folder / "targets" / name) for name in meta["targets"]),
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise IntegrityError(
            f"the bundle {folder} cannot be read: {type(error).__name__}", code="bundle-damaged", hint=REFIT
        ) from error


def _load_model(folder: Path) -> TrainedModel:
    text = (folder / "model.txt").read_bytes().decode()
    return TrainedModel(text=text, spec=ModelSpec.from_json((folder / "model.json").read_bytes()))


def damages(folder: Path) -> list[str]:
    """What is wrong with the files of a bundle, one line each; empty when they are those that were written."""
    try:
        listed: dict[str, str] = json.loads((folder / "files.json").read_bytes())
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"files.json"}
        problems = [f"missing: {name}" for name in sorted(listed.keys() - found)]
        problems += [f"not part of it: {name}" for name in sorted(found - listed.keys())]
        changed = [name for name in sorted(listed.keys() & found) if sha256_of(folder / name) != listed[name]]
    except (ValueError, AttributeError, OSError) as error:
        return [f"files.json: {type(error).__name__}"]
    return [*problems, *(f"changed: {name}" for name in changed)]


def read_meta(folder: Path) -> dict[str, Any]:
    """The description of a bundle, `bundle.json`, when this version can read it.

    Raises:
        IntegrityError: Another major version wrote the bundle.
        ValueError, KeyError, TypeError, OSError: It is no description.
    """
    meta: dict[str, Any] = json.loads((folder / "bundle.json").read_bytes())
    wrong = [f"format {meta['format']}, expected {FORMAT}"] if meta["format"] != FORMAT else []
    for name in ("polars", "lightgbm"):
        then, now = str(meta["versions"][name]), version(name)
        if then.partition(".")[0] != now.partition(".")[0]:
            wrong.append(f"{name} {then}, installed is {now}")
    if wrong:
        raise IntegrityError(
            f"the bundle {folder} was written with {'; '.join(wrong)}", code="bundle-version", hint="Run `tamis fit`."
        )
    return meta
