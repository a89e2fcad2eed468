"""A stable code for each kind of warning, so that a log can be filtered and counted by it."""

from __future__ import annotations

import re
from typing import Final

OTHER: Final = "warning"
_GUARD: Final = re.compile(r"guard ([a-z]+)\b")
FRAGMENTS: Final = (
    ("stale-log", "the last event is of"),
    ("files-quarantined", " of the log cannot be read and "),
    ("rollups-damaged", "rollups were damaged and made again"),
    ("event-type-missing", "the log has no event of type"),
    ("model-kept", "stays, the new one did not pass its gate"),
    ("clusters-kept", "the new ones did not pass their gate"),
    ("value-kept", "the new one could not be fitted"),
    ("bundle-reused", "was used again"),
    ("bundle-not-taken", "it was fitted and put aside before"),
    ("model-weak", "did not pass its gate"),
    ("clusters-weak", "the clusters did not pass their gate"),
    ("clusters-unstable", "clusters that are found again in few samples"),
    ("clusters-features", "which tells no"),
    ("leak-attributes", "models learn from attributes as they are today"),
    ("leak-feature", "alone tells the label"),
    ("model-constant", "the model has learnt nothing"),
    ("ids-differ", "users with its event only"),
    ("base-rate-shifted", "the base rate has shifted"),
    ("calibration", "was predicted on average"),
    ("drift-features", "features are distributed otherwise"),
    ("drift-scores", "scores are distributed otherwise"),
    ("drift-nulls", "features lack values for another share"),
    ("drift-unseen", "features have values that no model knows"),
    ("list-not-in-force", "has no members: its list"),
    ("list-unknown-ids", "ids of its list belong to no user"),
    ("quality-limit", "quality: "),
    ("schema-changed", "columns of "),
)
"""Codes, and words that stand in no warning of a later one."""


def warning_code(message: str) -> str:
    """The code of a warning; `guard-NAME` for what guards find, `warning` for one that has none of its own."""
    guard = _GUARD.match(message)
    if guard is not None:
        return f"guard-{guard[1]}"
    return next((code for code, words in FRAGMENTS if words in message), OTHER)
