"""Blocks: only contacts that agree in something are compared, or there would be as many pairs as contacts squared.

In: texts such as `soundex(last_name)+first(postcode, 2)`. Out: a number per contact; equal numbers make a block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from engine.contacts.duplicates.values import Rows, Values, numbered, picked, together
from engine.errors import ConfigError
from engine.suggest import did_you_mean

Kind = Literal["value", "soundex", "first", "digits"]

_CALL: Final = re.compile(r"(?P<kind>[A-Za-z_]+)\((?P<column>[^(),]+)(?:,\s*(?P<length>\d{1,3}))?\s*\)")
_WITH_LENGTH: Final = ("first", "digits")
# American Soundex: letters that sound alike have one digit; vowels part them, h and w do not.
_SOUNDS: Final = {
    **dict.fromkeys("aeiouy", "0"),
    **dict.fromkeys("bfpv", "1"),
    **dict.fromkeys("cgjkqsxz", "2"),
    **dict.fromkeys("dt", "3"),
    "l": "4",
    **dict.fromkeys("mn", "5"),
    "r": "6",
    **dict.fromkeys("hw", ""),
}


@dataclass(frozen=True)
class Part:
    """One thing that contacts of a block agree in.

    Attributes:
        kind: What is taken of the attribute.
        column: The attribute.
        length: Characters that are taken; 0 where the kind has none.
    """

    kind: Kind
    column: str
    length: int = 0


@dataclass(frozen=True)
class BlockKey:
    """What contacts of a block agree in; all parts at once.

    Attributes:
        text: As it stands in the configuration.
        parts: Its parts.
    """

    text: str
    parts: tuple[Part, ...]


def parse_blocks(texts: Sequence[str], attributes: Collection[str]) -> tuple[BlockKey, ...]:
    """The keys of texts.

    Args:
        texts: As in `contacts.duplicates.block`.
        attributes: Names of the attributes there are.

    Raises:
        ConfigError: What cannot be read, or names no attribute; all of it at once.
    """
    problems: list[str] = []
    keys = []
    for text in texts:
        parts = [_part(piece.strip(), text, attributes, problems) for piece in text.split("+")]
        keys.append(BlockKey(text, tuple(part for part in parts if part is not None)))
    if problems:
        raise ConfigError(
            "contacts.duplicates.block\n" + "\n".join(f"  {problem}" for problem in problems),
            code="duplicates-block",
            hint="Write an attribute, soundex(name), first(name, 4) or digits(phone, 6), several joined by +.",
        )
    return tuple(keys)


def _part(text: str, whole: str, attributes: Collection[str], problems: list[str]) -> Part | None:
    if text in attributes:
        return Part("value", text)
    found = _CALL.fullmatch(text)
    if found is None:
        what = f"no attribute {text!r}{did_you_mean(text, attributes)}" if text else "nothing beside a +"
        problems.append(f"{whole!r}: {what}")
        return None
    kind, column, length = found["kind"], found["column"].strip(), int(found["length"] or 0)
    if column not in attributes:
        problems.append(f"{whole!r}: no attribute {column!r}{did_you_mean(column, attributes)}")
    elif kind in _WITH_LENGTH and not length:
        problems.append(f"{whole!r}: {kind} expects how many characters, such as {kind}({column}, 4)")
    elif kind == "soundex" and found["length"]:
        problems.append(f"{whole!r}: soundex expects an attribute alone, such as soundex({column})")
    elif kind == "soundex":
        return Part("soundex", column)
    elif kind == "first":
        return Part("first", column, length)
    elif kind == "digits":
        return Part("digits", column, length)
    else:
        problems.append(f"{whole!r}: {kind} is none of soundex, first, digits")
    return None


def block_numbers(key: BlockKey, columns: Mapping[str, Values]) -> Rows:
    """The number of the block of each contact; -1 for those that are in none.

    Args:
        key: What contacts of a block agree in.
        columns: The folded values of the attributes.
    """
    found: Rows | None = None
    for part in key.parts:
        values = columns[part.column]
        taken = values.texts.to_frame("text").select(_taken(part, pl.col("text"))).to_series()
        numbers = picked(values.numbers, numbered(taken))
        found = numbers if found is None else together(found, numbers)
    if found is None:
        message = "a block key without parts"
        raise ValueError(message)
    return found


def _taken(part: Part, text: pl.Expr) -> pl.Expr:
    """What a part takes of a folded text."""
    if part.kind == "value":
        return text
    if part.kind == "soundex":
        return soundex(text)
    if part.kind == "first":
        return text.str.replace_all(" ", "", literal=True).str.slice(0, part.length)
    digits = text.str.replace_all(r"[^0-9]+", "")
    # The last ones: an international and a national number differ in the first.
    return pl.when(digits != "").then(digits.str.tail(part.length))


def soundex(text: pl.Expr) -> pl.Expr:
    """American Soundex (Russell 1918, in the form of the US National Archives) of folded text; null without a-z.

    The first letter, and three digits for the consonants after it: letters of one digit that follow each other, also
    with h or w between, count once. Of several words the letters are taken as one.
    """
    letters = text.str.replace_all(r"[^a-z]+", "")
    sounds = letters.str.replace_many(_SOUNDS)
    for digit in "123456":
        sounds = sounds.str.replace_all(f"{digit}{digit}+", digit)
    # That of the first letter itself, which h and w do not have.
    after = pl.when(letters.str.contains("^[hw]")).then(sounds).otherwise(sounds.str.slice(1))
    digits = after.str.replace_all("0", "", literal=True).str.slice(0, 3).str.pad_end(3, "0")
    return pl.when(letters != "").then(pl.concat_str(letters.str.slice(0, 1), digits))
