"""Sentences as keys and values: what is said is decided once, and put into words per language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

Unit = Literal["count", "money", "share", "points", "days", "factor", "number", "seconds", "bytes", "ordinal"]
"""How a number is written: `share` 0.12 is 12 %, `points` 0.02 is 2 percentage points, `factor` 1.3 is 1.3 ×."""


@dataclass(frozen=True)
class Quantity:
    """A number with its unit; None is written as a dash.

    Attributes:
        value: In the unit's base: shares as fractions, money in major units, bytes, seconds.
        unit: How it is written.
        signed: Whether a plus is written too: differences.
    """

    value: float | None
    unit: Unit = "count"
    signed: bool = False


@dataclass(frozen=True)
class Name:
    """A name out of the data or the configuration: never translated but by `vocabulary`, always escaped.

    Attributes:
        text: The name.
        vocabulary: `segment`, `stage`, … when the program knows names of the kind in other languages; else empty.
    """

    text: str
    vocabulary: str = ""


Argument: TypeAlias = "Quantity | Name | date | str | Message | tuple[Message, ...]"
"""What stands in a sentence; a tuple is an enumeration (`a, b and c`)."""


@dataclass(frozen=True)
class Message:
    """A sentence or a label.

    Attributes:
        key: Of a text in `engine/reporting/texts/<language>.toml`.
        arguments: Values for its placeholders, by name.
    """

    key: str
    arguments: tuple[tuple[str, Argument], ...] = ()


def say(key: str, **arguments: Quantity | Name | date | str | Message | tuple[Message, ...] | int) -> Message:
    """A message; whole numbers are counts."""
    return Message(
        key,
        tuple((name, Quantity(value) if isinstance(value, int) else value) for name, value in arguments.items()),
    )
