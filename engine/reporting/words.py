"""From messages to words: texts of a language, its plurals, its numbers and dates.

A text is a sentence with placeholders: `{users}` is the argument of that name, written as its type is written;
`{users|person|people}` is one of two words, chosen by the number; they may have placeholders of their own. In French 0
and 1 are singular, in English 1 alone. Texts stand in `texts/<language>.toml`, a table per section; both files have the
same keys and the same placeholders.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Final
from unicodedata import bidirectional

from engine.reporting.message import Argument, Message, Name, Quantity
from engine.reporting.numbers import DASH, Language, day_text, is_singular, written
from engine.segments.labels import labels_of

LANGUAGES: Final[tuple[Language, ...]] = ("en", "fr")

_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "RLE", "RLO", "RLI"})
_MARKS = re.compile(r" (?=[:;?!»])|(?<=«) ")
_FORM = r"((?:[^|{}]|\{\w+\})*)"
_PLACE = re.compile(rf"\{{(\w+)(?:\|{_FORM}\|{_FORM})?\}}")


@dataclass(frozen=True)
class Voice:
    """A language with what it needs to speak of one run.

    Attributes:
        language: The language.
        currency: ISO code of the amounts (`EUR`); amounts are plain numbers without one.
        names: What the names of a vocabulary are called in the language: `("segment", "at_Risk")` → `À risque`.
    """

    language: Language
    currency: str = ""
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def put(self, message: Message) -> str:
        """The words of a message.

        Raises:
            KeyError: The language has no such text, or the message no such argument.
        """
        arguments = dict(message.arguments)

        def place(found: re.Match[str]) -> str:
            argument = arguments[found[1]]
            if found[2] is None:
                return self.show(argument)
            return _PLACE.sub(place, found[2] if self._is_singular(argument) else found[3])

        return _PLACE.sub(place, texts(self.language)[message.key])

    def sentence(self, message: Message) -> str:
        """The words of a message that stands alone: with a capital, but for names of columns and the like."""
        text = self.put(message)
        first = text.split(maxsplit=1)[0] if text.strip() else ""
        return text[:1].upper() + text[1:] if first.rstrip(":,").isalpha() else text

    def show(self, argument: Argument) -> str:
        """An argument as it stands in a sentence or a cell."""
        match argument:
            case Message():
                return self.put(argument)
            case Name():
                return self.name(argument)
            case Quantity():
                return self.number(argument)
            case date():
                return self.day(argument)
            case tuple():
                return self._listed([self.put(each) for each in argument])
        return argument

    def name(self, name: Name) -> str:
        """A name as the language has it; as it is when the language has no other."""
        given = self.names.get((name.vocabulary, name.text))
        if given is None and name.vocabulary == "segment":
            given = dict(labels_of(name.text)).get(self.language)
        return _isolated(name.text if given is None else given)

    def day(self, day: date) -> str:
        """A date in full: `1 December 2017`, `1er décembre 2017`."""
        return day_text(day, self.language)

    def number(self, quantity: Quantity) -> str:
        """A number with its unit."""
        return written(quantity, self.language, self.currency)

    def _is_singular(self, argument: Argument) -> bool:
        if isinstance(argument, Quantity):
            return argument.value is not None and is_singular(argument.value, self.language)
        return not isinstance(argument, tuple) or is_singular(len(argument), self.language)

    def _listed(self, parts: list[str]) -> str:
        last = " et " if self.language == "fr" else " and "
        return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + last + parts[-1] if parts else DASH


def _isolated(name: str) -> str:
    """A name that is written from right to left, so that it does not turn what stands around it (UAX 9, isolates)."""
    turned = any(bidirectional(letter) in _RIGHT_TO_LEFT for letter in name)
    return f"\u2068{name}\u2069" if turned else name


@lru_cache
def texts(language: Language) -> dict[str, str]:
    """All texts of a language by key: `section.name`."""
    document = tomllib.loads((files("engine.reporting") / "texts" / f"{language}.toml").read_text(encoding="utf-8"))
    found = {f"{section}.{name}": text for section, entries in document.items() for name, text in entries.items()}
    # French has a blank before these marks, at which no line ends.
    return {key: _MARKS.sub("\u00a0", text) for key, text in found.items()} if language == "fr" else found


def placeholders(text: str) -> set[str]:
    """The arguments that a text names."""
    inner = [
        name for found in _PLACE.finditer(text) for form in found.groups()[1:] if form for name in placeholders(form)
    ]
    return {found[1] for found in _PLACE.finditer(text)} | set(inner)
