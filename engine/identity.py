"""What makes two runs the same run: hashes of the configuration and the input, and the versions of the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.metadata import version as installed_version
from typing import Any

from engine.config import Config, Contacts
from engine.config_contacts import Cleaning
from engine.consent.inputs import asked_of_all, inputs_of

# None changes while a process runs, and each is a search of the whole path of modules.
version = cache(installed_version)

_LEARNT_FROM = (
    "timezone",
    "currency_digits",
    "seed",
    "sources",
    "contacts",
    "accounts",
    "identity",
    "exclude",
    "machines",
    "events",
    "features",
    "engagement",
    "rfm",
    "targets",
    "model",
    "value",
    "clusters",
)
_APPLIED_LATER = {"path", "tune", "gate", "names", "max_moved", "refit_psi", "refit_far", "duplicates"}
"""Keys of these sections that change nothing that is learnt."""
_CAME_LATER = {"rules", "purposes"}
_DIGITS = 10
_CODE = ("tamis", "polars", "polars-hash", "pyarrow", "numpy", "scipy", "lightgbm", "scikit-learn")
"""Packages whose versions can change a byte of what is written."""


def learning_hashes(config: Config) -> dict[str, str]:
    """A hash per part of the configuration that a bundle depends on.

    Where the files lie is left out: a log that moved or grew is the same log. Segments, checks and execution are
    applied after learning.
    """
    hashes = {}
    for section in _LEARNT_FROM:
        value = getattr(config, section)
        if section == "sources":
            plain: object = [_said(source.model_dump(mode="json", exclude={"path"})) for source in value]
        elif section == "contacts" and value is not None:
            plain = _contacts(value)
        elif hasattr(value, "model_dump"):
            plain = value.model_dump(mode="json", exclude=_APPLIED_LATER)
        else:
            plain = [_said(entry.model_dump(mode="json")) for entry in value] if isinstance(value, tuple) else value
        hashes[section] = _hash(plain)
    # Only there where it matters: bundles of other configurations stay what they were.
    if config.consent is not None:
        hashes["consent.process"] = _hash(sorted(asked_of_all(config.consent)))
    inputs = inputs_of(config.consent)
    if inputs is not None:
        hashes["consent.inputs"] = _hash(inputs.to_json())
    return hashes


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _said(entry: dict[str, Any]) -> dict[str, Any]:
    """A source or a target without the keys that came later and are not used: bundles stay what they were."""
    return {key: value for key, value in entry.items() if key not in _CAME_LATER or value}


def _contacts(contacts: Contacts) -> dict[str, Any]:
    """What the attributes are made of; what counts rows or finds duplicates changes none of them."""
    plain = contacts.model_dump(mode="json", include={"user_id", "columns", "model_columns"})
    # What is not configured is not there: bundles from before it could be stay what they were.
    if contacts.valid_from is not None:
        plain["valid_from"] = contacts.valid_from
    if contacts.cleaning != Cleaning():
        plain["cleaning"] = contacts.cleaning.model_dump(mode="json", exclude={"role_names", "disposable_domains"})
        lists = (contacts.cleaning.role_names, contacts.cleaning.disposable_domains)
        plain["cleaning"]["lists"] = [path is not None for path in lists]
    rules = [rule.model_dump(mode="json") for rule in contacts.rules if rule.action != "count"]
    if rules:
        plain["rules"] = rules
    if contacts.enrich:
        plain["enrich"] = [one.model_dump(mode="json", exclude={"path"}) for one in contacts.enrich]
    return plain


def run_identity(kind: str, as_of: date | None, fingerprints: Mapping[str, str]) -> str:
    """Id of a run: equal for equal input, configuration, bundle, versions of the code and date.

    Args:
        kind: `fit`, `score` or `check`.
        as_of: Date of the run; None when every event counts.
        fingerprints: What it depends on.
    """
    text = json.dumps([dict(fingerprints), {name: version(name) for name in _CODE}], sort_keys=True)
    return f"{kind}-{as_of.isoformat() if as_of else 'all'}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def run_mark(run_id: str) -> str:
    """The part of a run's id that tells it from other runs of its date; stands in the names of its files."""
    return run_id.rpartition("-")[2]
