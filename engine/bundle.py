"""The bundle: what `fit` learns and `score` applies, as text and JSON, with a checksum of every file.

    bundle.json            date, feature specification, RFM edges and map, engagement scale, attributes, versions, files
    clusters.json          preparation, centroids, ids and names; the figures that the number of clusters was chosen by,
                           quality, stability, what became of the clusters before, users' moves, profiles
    drift.json             histograms of features and scores of the users of the fit
    value.json             customer value: the parameters of BG/NBD and Gamma-Gamma, and how well they fit
    targets/<name>/        model.txt (LightGBM's text), model.json (features, dtypes, codes, metrics, check rows) and
                           card.md (the model card, for people); where inputs ask for purposes, the same of the model of
                           users who lack one, in reduced/
    files.json             sha256 of every file above; the bundle's id is the checksum of this list

Nothing in it is ever unpickled or run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from engine.clusters.assign import Clustering
from engine.clusters.record import Clustered
from engine.clusters.record import from_json as clusters_from_json
from engine.clusters.record import to_json as clusters_to_json
from engine.consent.inputs import Inputs
from engine.errors import ConfigError, IntegrityError
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.propensity.card import model_card
from engine.propensity.drift import Reference
from engine.propensity.matrix import dtype_name
from engine.propensity.spec import ModelSpec
from engine.propensity.train import TrainedModel
from engine.segments.rfm_cells import all_codes
from engine.segments.rfm_maps import SegmentMap, published_table
from engine.segments.rfm_scores import RfmEdges
from engine.tables.durable import canonical_json, sha256_of
from engine.value.model import ValueModel

FORMAT: Final = 3
REFIT: Final = "Run `tamis fit` to write a new bundle, or restore this one from a copy."
_VERSIONED = ("tamis", "polars", "lightgbm", "polars-hash")
_MUST_MATCH = ("polars", "lightgbm")
_TEXT = ("Categorical", "Enum")
ID_DIGITS: Final = 12
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError)
"""What reading a file raises that is not what was written."""


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
        clusters: None when they are off.
        models: One per target, in the order of the configuration.
        drift: Histograms of the users of the fit; None when none were made.
        value: Customer value; None when it is not wanted.
        own_map: Code and segment of an RFM map of one's own; empty for a published one.
        inputs: Event types that only count for users who agreed to a purpose; None where all count.
        reduced: Models for the users who lack one of these purposes: at most one per target, in the order of `models`.
    """

    as_of: date
    learnt_from: tuple[tuple[str, str], ...]
    spec: FeatureSpec
    user_dtype: str
    rfm_edges: RfmEdges | None
    segment_map: SegmentMap
    engagement_full_at: int
    contacts: tuple[tuple[str, str], ...]
    clusters: Clustered | None
    models: tuple[TrainedModel, ...]
    drift: Reference | None = None
    value: ValueModel | None = None
    own_map: tuple[tuple[int, str], ...] = ()
    inputs: Inputs | None = None
    reduced: tuple[TrainedModel, ...] = ()

    @property
    def segment_table(self) -> dict[int, str]:
        """The RFM segment of each code 100 r + 10 f + m."""
        return dict(self.own_map) if self.segment_map == "own" else published_table(self.segment_map)

    @property
    def all_models(self) -> tuple[TrainedModel, ...]:
        """Those of `models`, then those of `reduced`."""
        return (*self.models, *self.reduced)

    @property
    def clustering(self) -> Clustering | None:
        """What assigns users to clusters; None when they are off."""
        return None if self.clusters is None else self.clusters.clustering


class _Meta(BaseModel):
    """The fields of `bundle.json` and their types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    format: int
    as_of: date
    learnt_from: dict[str, str]
    spec: dict[str, Any]
    user_dtype: Literal["Int64", "String"]
    rfm_edges: dict[str, Any] | None
    segment_map: SegmentMap
    own_map: tuple[tuple[int, str], ...] = ()
    engagement_full_at: int
    contacts: tuple[tuple[str, str], ...]
    targets: tuple[str, ...]
    inputs: dict[str, tuple[str, ...]] | None = None
    reduced: tuple[str, ...] = ()
    files: tuple[str, ...]
    versions: dict[str, str]


def bundle_files(bundle: Bundle) -> dict[str, str]:
    """The bundle as file names and texts; the same bundle gives the same texts."""
    versions = {name: version(name) for name in _VERSIONED}
    files = {}
    if bundle.clusters is not None:
        files["clusters.json"] = canonical_json(clusters_to_json(bundle.clusters))
    if bundle.drift is not None:
        files["drift.json"] = bundle.drift.to_json()
    if bundle.value is not None:
        files["value.json"] = bundle.value.to_json()
    attributes = [name for name, _ in bundle.contacts]
    full, reduced = _among(bundle.inputs)
    folders = [(f"targets/{model.spec.target.name}", model, full) for model in bundle.models]
    folders += [(_reduced_folder(model.spec.target.name), model, reduced) for model in bundle.reduced]
    for folder, model, among in folders:
        files[f"{folder}/model.txt"] = model.text
        files[f"{folder}/model.json"] = model.spec.to_json()
        files[f"{folder}/card.md"] = model_card(model.spec, attributes, versions, among)
    meta = {
        "format": FORMAT,
        "as_of": bundle.as_of.isoformat(),
        "learnt_from": dict(bundle.learnt_from),
        "spec": bundle.spec.to_json(),
        "user_dtype": bundle.user_dtype,
        "rfm_edges": None if bundle.rfm_edges is None else json.loads(bundle.rfm_edges.to_json()),
        "segment_map": bundle.segment_map,
        **({"own_map": [list(cell) for cell in bundle.own_map]} if bundle.own_map else {}),
        "engagement_full_at": bundle.engagement_full_at,
        "contacts": [list(attribute) for attribute in bundle.contacts],
        "targets": [model.spec.target.name for model in bundle.models],
        **({} if bundle.inputs is None else {"inputs": bundle.inputs.to_json()}),
        **({"reduced": [model.spec.target.name for model in bundle.reduced]} if bundle.reduced else {}),
        "files": sorted(files),
        "versions": versions,
    }
    files["bundle.json"] = canonical_json(meta)
    checksums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())}
    return {**files, "files.json": canonical_json(checksums)}


def _among(inputs: Inputs | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the cards say of consents: those of the full models and those of the reduced ones."""
    if inputs is None:
        return (), ()
    listed = "; ".join(f"`{purpose}`: {', '.join(types)}" for purpose, types in inputs.to_json().items())
    full = "Only users who agreed to every purpose that inputs ask for. Others have a reduced model, or no score."
    reduced = (
        "Only users who lack a purpose that inputs ask for. It is learnt from all users, on rows without any of them."
    )
    return (full, f"Inputs by purpose: {listed}."), (reduced, f"Inputs by purpose: {listed}.")


def bundle_id(folder: Path) -> str:
    """The id of the bundle in `folder`, wherever it lies: the start of the sha256 of its list of checksums."""
    return identity_of((folder / "files.json").read_bytes())


def is_bundle_id(name: str) -> bool:
    """Whether a folder of this name must hold the bundle of that id."""
    return _ID.fullmatch(name) is not None


def identity_of(listing: bytes) -> str:
    """The id of a bundle with this list of checksums."""
    return hashlib.sha256(listing).hexdigest()[:ID_DIGITS]


def load_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, after every file was checked against its checksum; kept for the tasks of one process.

    Raises:
        ConfigError: There is no bundle at `folder`.
        IntegrityError: Files are missing, changed, damaged, not part of it or of another bundle, or were written by
            another major version.
    """
    listing = folder / "files.json"
    if not listing.is_file():
        if (folder / "bundle.json").is_file():
            check_files(folder)
        raise ConfigError(
            f"there is no bundle at {folder}", code="bundle-missing", hint="Run `tamis fit` first, or check --bundle."
        )
    return _load(folder, hashlib.sha256(listing.read_bytes()).hexdigest())


@lru_cache(maxsize=4)
def _load(folder: Path, listing_sha256: str) -> Bundle:  # noqa: ARG001 - part of the cache's key
    check_files(folder)
    try:
        read_meta(folder)
        meta = _Meta.model_validate_json((folder / "bundle.json").read_bytes())
        parts = {name: (folder / name).read_bytes() for name in meta.files if not name.startswith("targets/")}
        clusters: dict[str, Any] | None = json.loads(parts["clusters.json"]) if "clusters.json" in parts else None
        bundle = Bundle(
            as_of=meta.as_of,
            learnt_from=tuple(sorted(meta.learnt_from.items())),
            spec=_feature_spec(meta.spec),
            user_dtype=meta.user_dtype,
            rfm_edges=None if meta.rfm_edges is None else RfmEdges.from_json(json.dumps(meta.rfm_edges)),
            segment_map=meta.segment_map,
            own_map=meta.own_map,
            engagement_full_at=meta.engagement_full_at,
            contacts=meta.contacts,
            clusters=None if clusters is None else clusters_from_json(clusters),
            models=tuple(_load_model(folder / "targets" / name) for name in meta.targets),
            inputs=None if meta.inputs is None else Inputs.from_json(meta.inputs),
            reduced=tuple(_load_model(folder / _reduced_folder(name)) for name in meta.reduced),
            drift=Reference.from_json(parts["drift.json"]) if "drift.json" in parts else None,
            value=ValueModel.from_json(parts["value.json"]) if "value.json" in parts else None,
        )
        problems = _contradictions(bundle, meta, folder)
    except UNREADABLE as error:
        raise IntegrityError(
            f"the bundle {folder} cannot be read: {type(error).__name__}", code="bundle-damaged", hint=REFIT
        ) from error
    if problems:
        raise IntegrityError(
            f"the parts of the bundle {folder} do not belong together:\n" + "\n".join(f"  {line}" for line in problems),
            code="bundle-parts",
            hint=REFIT,
        )
    return bundle


def _feature_spec(data: dict[str, Any]) -> FeatureSpec:
    spec = FeatureSpec.from_json(data)
    # Names were checked; this checks the types of the values.
    TypeAdapter(FeatureSpec).validate_json(json.dumps(data), strict=True)
    return spec


def _reduced_folder(target: str) -> str:
    return f"targets/{target}/reduced"


def _load_model(folder: Path) -> TrainedModel:
    text = (folder / "model.txt").read_bytes().decode()
    return TrainedModel(text=text, spec=ModelSpec.from_json((folder / "model.json").read_bytes()))


def _contradictions(bundle: Bundle, meta: _Meta, folder: Path) -> list[str]:
    """What does not fit together in a bundle whose files are all readable."""
    parts = {"clusters.json": bundle.clusters, "drift.json": bundle.drift, "value.json": bundle.value}
    made = {"bundle.json", *(name for name, part in parts.items() if part is not None)}
    placed = [(f"targets/{name}", name, model) for name, model in zip(meta.targets, bundle.models, strict=True)]
    placed += [(_reduced_folder(name), name, model) for name, model in zip(meta.reduced, bundle.reduced, strict=True)]
    made |= {f"{where}/{file}" for where, _, _ in placed for file in ("model.txt", "model.json", "card.md")}
    there = set(json.loads((folder / "files.json").read_bytes()))
    problems = [f"missing: {name}" for name in sorted(made - there)]
    problems += [f"not part of it: {name}" for name in sorted({*there, *meta.files} - made)]
    columns = {feature.name: dtype_name(feature.dtype) for feature in catalogue(bundle.spec)}
    columns |= {name: "String" if dtype.startswith(_TEXT) else dtype for name, dtype in bundle.contacts}
    if bundle.clustering is not None:
        needed = ((name, None) for name in bundle.clustering.preparation.features)
        problems += [f"clusters.json: {line}" for line in _column_problems(needed, columns)]
    if bundle.rfm_edges is not None and tuple(bundle.segment_table) != all_codes(bundle.rfm_edges.bins):
        problems.append(f"bundle.json: the RFM map {bundle.segment_map!r} is not made of the scores of the edges")
    if bundle.value is not None and bundle.spec.purchase is None:
        problems.append("value.json: the bundle's features know no purchase")
    if not set(meta.reduced) <= set(meta.targets) or (meta.reduced and bundle.inputs is None):
        problems.append("bundle.json: reduced models of targets or inputs that it does not have")
    for where, name, model in placed:
        if model.spec.target.name != name:
            problems.append(f"{where}: holds the model of the target {model.spec.target.name!r}")
        needed_types = zip(model.spec.features, model.spec.dtypes, strict=True)
        problems += [f"{where}: {line}" for line in _column_problems(needed_types, columns)]
    return problems


def _column_problems(needed: Iterable[tuple[str, str | None]], columns: dict[str, str]) -> list[str]:
    problems = []
    for name, dtype in needed:
        if name not in columns:
            problems.append(f"the feature {name!r} is none of the bundle's features and attributes")
        elif dtype not in {None, columns[name]}:
            problems.append(f"the feature {name!r} is {dtype}, the bundle's is {columns[name]}")
    return problems


def check_files(folder: Path) -> None:
    """Stop when the files of a bundle are not those that were written; `load_bundle` reads a bundle only once.

    Raises:
        IntegrityError: All that is wrong.
    """
    problems = damages(folder)
    if problems:
        raise IntegrityError(
            f"the bundle {folder} is damaged:\n" + "\n".join(f"  {line}" for line in problems),
            code="bundle-damaged",
            hint=REFIT,
        )


def damages(folder: Path) -> list[str]:
    """What is wrong with the files of a bundle, one line each; empty when they are those that were written."""
    try:
        listed: dict[str, str] = json.loads((folder / "files.json").read_bytes())
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"files.json"}
        problems = [f"missing: {name}" for name in sorted(listed.keys() - found)]
        problems += [f"not part of it: {name}" for name in sorted(found - listed.keys())]
        changed = [name for name in sorted(listed.keys() & found) if sha256_of(folder / name) != listed[name]]
        identity = bundle_id(folder)
    except UNREADABLE as error:
        return [f"files.json: {type(error).__name__}"]
    if is_bundle_id(folder.name) and folder.name != identity:
        problems.append(f"files.json: is of the bundle {identity}")
    return [*problems, *(f"changed: {name}" for name in changed)]


def read_meta(folder: Path) -> dict[str, Any]:
    """The description of a bundle, `bundle.json`, when this version can read it.

    Raises:
        IntegrityError: Another major version wrote the bundle.
        ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError: It is no description.
    """
    meta: dict[str, Any] = json.loads((folder / "bundle.json").read_bytes())
    wrong = [f"format {meta['format']}, expected {FORMAT}"] if meta["format"] != FORMAT else []
    # Of format 1 nothing else is known to be as it is now.
    for name in () if wrong else _MUST_MATCH:
        then, now = str(meta["versions"][name]), version(name)
        if then.partition(".")[0] != now.partition(".")[0]:
            wrong.append(f"{name} {then}, installed is {now}")
    if wrong:
        raise IntegrityError(
            f"the bundle {folder} was written with {'; '.join(wrong)}", code="bundle-version", hint="Run `tamis fit`."
        )
    return meta
