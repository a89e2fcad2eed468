"""What makes two runs the same run: hashes of the configuration and the input, and the versions of the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version

from engine.config import Config

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
_APPLIED_LATER = {"path", "tune", "gate", "names", "max_moved", "refit_psi", "refit_far"}
"""Keys of these sections that change nothing that is learnt."""
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
            plain: object = [source.model_dump(mode="json", exclude={"path"}) for source in value]
        elif hasattr(value, "model_dump"):
            plain = value.model_dump(mode="json", exclude=_APPLIED_LATER)
        else:
            plain = [entry.model_dump(mode="json") for entry in value] if isinstance(value, tuple) else value
        hashes[section] = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    return hashes


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
