"""Why people moved between segments, put into words: the causes of the table `segment_flows`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.ledger.causes import CLAUSE_FALSE, CLAUSE_TRUE, SCORES, TEXTS, WAYS
from engine.reporting.masking import OTHERS
from engine.reporting.message import Message, say
from engine.reporting.words import Voice

if TYPE_CHECKING:
    import polars as pl

    from engine.reporting.numbers import Language

VOCABULARY: Final = "cause"
"""Of the names that `cause_key` gives."""

_SPOKEN: Final = frozenset(TEXTS) | {f"{score}_{way}" for score in SCORES for way in WAYS}
_BETWEEN: Final = "|"


def cause_key(kind: str, cause: str) -> str:
    """One name for a cause: its kind, and the clause where it has one."""
    return f"{kind}{_BETWEEN}{cause}" if kind in {CLAUSE_TRUE, CLAUSE_FALSE} or kind not in _SPOKEN else kind


def cause_message(key: str) -> Message:
    """A cause as part of a sentence: `because …`."""
    kind, _, clause = key.partition(_BETWEEN)
    if key == OTHERS:
        return say("causes.other")
    if kind in {CLAUSE_TRUE, CLAUSE_FALSE}:
        return say(f"causes.{kind}", clause=clause)
    # A kind of a later version is told as that one tells it.
    return say(f"causes.{kind}") if kind in _SPOKEN else say("causes.as_told", cause=clause)


def cause_names(flows: pl.DataFrame | None, language: Language) -> dict[tuple[str, str], str]:
    """The causes of a table of moves in words, as `engine.reporting.words.Voice` has names."""
    if flows is None:
        return {}
    kinds = zip(flows["cause_kind"].to_list(), flows["cause"].to_list(), strict=True)
    voice = Voice(language)
    keys = sorted({OTHERS} | {cause_key(kind, cause) for kind, cause in kinds})
    return {(VOCABULARY, key): voice.put(cause_message(key)) for key in keys}
