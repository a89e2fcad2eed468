"""What is wrong with a rule, where, and how it is shown."""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

_SHOWN: Final = 100
MOST: Final = 20
"""Problems of one text that are told; suggestions for thousands of names would take minutes."""


class Problem(NamedTuple):
    """One thing that is wrong with the text of a rule.

    Attributes:
        message: What was found, what was expected, what to write.
        start, end: Where, as characters of the text, `[start, end)`.
    """

    message: str
    start: int
    end: int


def drawn(text: str, problem: Problem) -> str:
    """The line of the text in which the problem begins, carets below the place, and the message.

    A long line is cut to about 100 characters around the place.
    """
    start = min(problem.start, len(text))
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    end = min(max(problem.end, start + 1), max(last, start + 1))
    left = first if last - first <= _SHOWN else max(first, min(start - _SHOWN // 3, last - _SHOWN))
    right = min(last, left + _SHOWN)
    before, after = "…" * (left > first), "…" * (right < last)
    line = before + text[left:right].translate(_PLAIN_SPACES) + after
    indent = " " * (len(before) + _width(text[left:start]))
    carets = "^" * max(1, _width(text[start : min(end, right)]))
    return f"{line}\n{indent}{carets}\n{problem.message}"


_PLAIN_SPACES: Final = {ord(sign): " " for sign in "\t\r\v\f\u00a0\u202f\u2009"}


def _width(text: str) -> int:
    # Combining accents (text in NFD) take no place of their own.
    return sum(not unicodedata.combining(sign) for sign in text)
