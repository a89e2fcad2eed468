"""Kinds of causes of entries and exits: why somebody moved, without a value of the person, so that many are counted.

A reason (`engine.ledger.reasons`) tells one person's change with that person's values; a cause is what many of them
have in common. Both are made side by side from the same findings, a cause is never read out of a text.
"""

from __future__ import annotations

from typing import Final

FIRST_RUN: Final = "first_run"
NEW_USER: Final = "new_user"
USER_GONE: Final = "user_gone"
CONSENT_WITHDRAWN: Final = "consent_withdrawn"
CONSENT_MISSING: Final = "consent_missing"
OBJECTED: Final = "objected"
"""A user is gone because nothing may be computed any more."""
SEGMENT_NEW: Final = "segment_new"
SEGMENT_REMOVED: Final = "segment_removed"
RULE_CHANGED: Final = "rule_changed"
LIST_BEGINS: Final = "list_begins"
LIST_EXPIRED: Final = "list_expired"
LIST_CHANGED: Final = "list_changed"
EXPERIMENT_CHANGED: Final = "experiment_changed"
OTHER_SEGMENT: Final = "other_segment"
"""A segment of the same group that is tried earlier took the user or let go."""
UNKNOWN: Final = "unknown"
"""The tables of the two dates do not tell."""
CLAUSE_TRUE: Final = "clause_true"
CLAUSE_FALSE: Final = "clause_false"
"""A clause of the rule holds now and did not, or held and no longer does; the clause says which."""
OTHER: Final = "other"
"""All causes beyond those that are told apart."""

WITHHELD: Final = (CONSENT_WITHDRAWN, CONSENT_MISSING, OBJECTED)
"""Why nothing may be computed of a user who has events."""

SCORES: Final = ("r_score", "f_score", "m_score")
"""What an RFM map reads."""

FELL: Final = "fell"
ROSE: Final = "rose"
APPEARED: Final = "appeared"
VANISHED: Final = "vanished"
WAYS: Final = (FELL, ROSE, APPEARED, VANISHED)
"""What becomes of a score; it appears where there was none, or none of the same type."""

TEXTS: Final = {
    FIRST_RUN: "first run",
    NEW_USER: "new user",
    USER_GONE: "user is gone",
    CONSENT_WITHDRAWN: "consent withdrawn",
    CONSENT_MISSING: "consent missing",
    OBJECTED: "user objects",
    SEGMENT_NEW: "segment is new",
    SEGMENT_REMOVED: "segment was removed",
    RULE_CHANGED: "rule changed",
    LIST_BEGINS: "list begins",
    LIST_EXPIRED: "list expired",
    LIST_CHANGED: "list changed",
    EXPERIMENT_CHANGED: "experiment changed",
    OTHER_SEGMENT: "another segment is tried first",
    UNKNOWN: "cause unknown",
    OTHER: "other causes",
    **{f"{score}_{way}": f"{score} {way}" for score in SCORES for way in WAYS},
}
"""Every kind but `CLAUSE_TRUE` and `CLAUSE_FALSE`, in words: theirs are the clause as it is configured."""
