"""The text of a rule as tokens, in Unicode NFC, and the ways from there back to the text and to a plainer text."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from engine.rules.problems import Problem
from engine.rules.words import ALL_FUNCTIONS, ARGUMENT_NAMES, KEYWORDS, TIME_UNITS, TYPED_TEXT

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | (?P<foreign>/\*|<=>|->>?|\*\*|<<|>>|&&?|\|(?!\|)|=<|>=<)
    | (?P<symbol><=|>=|<>|!=|==|=>|\|\||//|[=<>+\-*/%(),])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A part of the text: `text`, `quoted`, `number`, `word` or `symbol`, as it is written, at `[start, end)`."""

    kind: str
    written: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        return self.written.upper() if self.kind in {"word", "symbol"} else ""


@dataclass(frozen=True)
class Source:
    """A text, read up to the first sign that no rule has.

    Attributes:
        original: As it was given.
        text: In Unicode NFC; the tokens and the syntax tree count its characters.
        tokens: Its parts, without white space and comments.
        problems: Signs that cannot be read; places in `text`.
    """

    original: str
    text: str
    tokens: tuple[Token, ...]
    problems: tuple[Problem, ...]

    @cached_property
    def plain(self) -> str:
        """The text with blanks for comments and unusual white space; every token stays at its place."""
        plain = [" "] * len(self.text)
        for token in self.tokens:
            plain[token.start : token.end] = token.written
        return "".join(plain)

    @cached_property
    def _nfc_starts(self) -> tuple[list[int], list[int]] | None:
        if self.original == self.text:
            return None
        pieces = re.findall(r"(?s).[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u3099\u309a]*", self.original)
        normal = [unicodedata.normalize("NFC", piece) for piece in pieces]
        if "".join(normal) != self.text:
            return [0], [0]
        places, written, here, there = [], [], 0, 0
        for piece, changed in zip(pieces, normal, strict=True):
            places.append(here)
            written.append(there)
            here, there = here + len(changed), there + len(piece)
        return [*places, here], [*written, there]

    def in_original(self, place: int) -> int:
        """The place in the text as it was given, of a place in `text`."""
        if self._nfc_starts is None:
            return place
        places, written = self._nfc_starts
        piece = bisect_right(places, place) - 1
        return min(written[piece] + place - places[piece], len(self.original))

    def returned(self, problem: Problem) -> Problem:
        """The problem at its place in the text as it was given."""
        return Problem(problem.message, self.in_original(problem.start), self.in_original(problem.end))

    def written(self, first: int, last: int) -> str:
        """The tokens `first` to `last` as they are written, white space squeezed."""
        tokens = self.tokens[first : last + 1]
        gaps = [" " * (after.start > before.end) for before, after in pairwise(tokens)]
        return "".join(token.written + gap for token, gap in zip(tokens, [*gaps, ""], strict=True))


def source_of(text: str) -> Source:
    """The text, normalised and split."""
    normal = unicodedata.normalize("NFC", text)
    tokens: list[Token] = []
    position = 0
    while position < len(normal):
        match = _TOKEN.match(normal, position)
        if match is None or match.lastgroup == "foreign":
            problem = _unreadable(position, match.group() if match else normal[position])
            return Source(text, normal, tuple(tokens), (problem,))
        if match.lastgroup != "space":
            token = Token(str(match.lastgroup), match.group(), match.start(), match.end())
            if tokens and (glued := _glued(tokens[-1], token)) is not None:
                return Source(text, normal, tuple(tokens), (glued,))
            tokens.append(token)
        position = match.end()
    return Source(text, normal, tuple(tokens), ())


def canonical(tokens: Sequence[Token]) -> str:
    """The tokens with one blank between them, keywords and functions in capitals, names of arguments in small letters.

    Texts that differ in white space, comments, case of keywords and Unicode form alone have the same.
    """
    nothing = Token("none", "", 0, 0)
    padded = [nothing, *tokens, nothing]
    return " ".join(_canonical(*three) for three in zip(padded, tokens, padded[2:], strict=False))


def _canonical(before: Token, token: Token, after: Token) -> str:
    word = token.upper
    if token.kind == "symbol":
        return "<>" if word == "!=" else word
    if token.kind != "word":
        return token.written
    if after.written == "=>" and word in ARGUMENT_NAMES:
        return word.lower()
    typed = (word in TYPED_TEXT and after.kind in {"text", "number"}) or before.upper == "AS"
    unit = word in TIME_UNITS and before.kind in {"text", "number"}
    called = after.written == "(" and word in ALL_FUNCTIONS
    return word if word in KEYWORDS or typed or unit or called else token.written


def _glued(before: Token, token: Token) -> Problem | None:
    if before.end != token.start:
        return None
    if before.kind == "number" and token.kind in {"word", "number"}:
        return Problem(f"{before.written}{token.written} is neither a number nor a name", before.start, token.end)
    if before.kind == "word" and token.kind == "text" and len(before.written) == 1:
        message = f"{before.written} stands directly before a quote; text is written between single quotes alone"
        return Problem(message, before.start, before.end)
    return None


_ADVICE: Final = {
    ";": "a rule is one condition, not several statements",
    "≥": "'at least' is written >=",
    "≤": "'at most' is written <=",
    "≠": "'different from' is written <>",
    "=<": "'at most' is written <=",
    "&": "'and' is written AND",
    "&&": "'and' is written AND",
    "|": "'or' is written OR",
    "!": "'not' is written NOT, 'different from' <>",
    "€": "amounts are plain numbers, in major units",
    "$": "amounts are plain numbers, in major units",
    "£": "amounts are plain numbers, in major units",
    "–": "the minus sign is -",
    "—": "the minus sign is -",
    "−": "the minus sign is -",
    "×": "'times' is written *",
    "÷": "'divided by' is written /",
    "`": 'names of columns with other signs than letters, digits and _ stand in double quotes: "like this"',
    ".": "columns have no dots before or in their names; a point stands in numbers alone",
    "\ufeff": "remove the invisible mark",
    "\u200b": "remove the invisible mark",
}


def _unreadable(position: int, sign: str) -> Problem:
    end = position + len(sign)
    if sign in "'\"":
        advice = "; an apostrophe within a text is written twice: 'Val d''Oise'" if sign == "'" else ""
        return Problem(f"the quote {sign} is not closed{advice}", position, end)
    if sign == "/*":
        return Problem("the comment is not closed by */", position, position + 2)
    if unicodedata.category(sign[0]) in {"Pi", "Pf"} or sign in {"\u201a", "\u201e"}:
        message = f"{sign}: text is written in straight single quotes, as in region = 'Île-de-France'"
        return Problem(message, position, end)
    shown = sign if sign.isprintable() else ascii(sign)
    return Problem(f"{shown} is not part of the language{_because(sign)}", position, end)


def _because(sign: str) -> str:
    advice = _ADVICE.get(sign)
    return "" if advice is None else f": {advice}"
