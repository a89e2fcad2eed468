"""What a single value of the configuration may be, and the base of its sections."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"an IANA time zone such as 'Europe/Paris' or 'UTC', got {name!r}"
        raise ValueError(message) from error
    return name


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        message = f"expected each name once, got {', '.join(map(repr, repeated))} more than once"
        raise ValueError(message)
    return names


def _regular_expression(pattern: str) -> str:
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        # `regex error: …` on one line, or a drawing of the place and then `error: …`.
        lines = str(error).splitlines()
        reason = next((line for line in lines if line.startswith("error: ")), lines[0]).rpartition("error: ")[2]
        message = f"expected a regular expression, got {pattern!r}: {reason}"
        raise ValueError(message) from error
    return pattern


def _separator(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n':
        message = f"expected one character such as ';', ',' or '|', got {text!r}"
        raise ValueError(message)
    return text


TimeZone = Annotated[str, AfterValidator(_known_zone)]
RegularExpression = Annotated[str, Field(min_length=1), AfterValidator(_regular_expression)]
Separator = Annotated[str, AfterValidator(_separator)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], AfterValidator(_different)]
Paths = Text | Annotated[tuple[Text, ...], Field(min_length=1)]


class Section(BaseModel):
    """Base of every section: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
