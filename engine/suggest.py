"""The nearest of the names there are, for a name that is not one of them."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_CUTOFF = 0.6


def nearest(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """Up to `n` of `candidates` that resemble `name`, the most alike first; case and accents do not count.

    Likeness is difflib's ratio (Ratcliff and Obershelp 1988), with equal ratios in alphabetical order.
    """
    wanted = _plain(name)
    if not wanted:
        return []
    likeness = ((_likeness(wanted, _plain(candidate)), candidate) for candidate in sorted(set(candidates)))
    close = sorted((pair for pair in likeness if pair[0] >= _CUTOFF), key=lambda pair: (-pair[0], pair[1]))
    return [candidate for _, candidate in close[:n]]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """` (did you mean 'x' or 'y'?)`, ready to be appended to a message, or nothing when no name resembles it."""
    close = [repr(candidate) for candidate in nearest(name, candidates)]
    if not close:
        return ""
    listed = close[0] if len(close) == 1 else f"{', '.join(close[:-1])} or {close[-1]}"
    return f" (did you mean {listed}?)"


def _likeness(wanted: str, candidate: str) -> float:
    return difflib.SequenceMatcher(None, wanted, candidate, autojunk=False).ratio()


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def some_of(names: Iterable[str], shown: int = 40, *, command: str | None = None) -> str:
    """The first names of many, and how many more there are.

    Args:
        names: The names.
        shown: How many are named.
        command: What shows them all.
    """
    listed = list(names)
    if len(listed) <= shown:
        return ", ".join(listed)
    where = "" if command is None else f": `{command}` shows them"
    return f"{', '.join(listed[:shown])} and {len(listed) - shown} more{where}"
