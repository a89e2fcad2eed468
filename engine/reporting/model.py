"""The parts of a report before anything is drawn: sections of sentences, figures and tables, for three readers.

Facts become sections (`engine.reporting.sections`), sections become a page, lines in a terminal, or tables. A section
without its facts says what is missing, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from engine.reporting.message import Message, Quantity, Unit
from engine.reporting.numbers import Language

if TYPE_CHECKING:
    import polars as pl

Audience = Literal["manager", "scientist", "engineer"]
"""Whom a section is for, in the order of the page."""

Kind = Literal["bars", "grouped_bars", "stacked_bars", "lines", "dots", "heat", "calibration", "none"]
"""How a figure is drawn: `bars` one number per name, horizontal; `grouped_bars` and `stacked_bars` with a colour;
`lines` numbers over dates or ordinals, a colour per line; `dots` a number with an interval per name; `heat` a number
per pair; `calibration` predicted against observed with the diagonal; `none` the table alone."""


@dataclass(frozen=True)
class Field:
    """A column of a figure's table.

    Attributes:
        column: Its name in the frame.
        label: What the axis or the head of the column says.
        unit: How its numbers are written; None for names and dates.
        vocabulary: For names, as of `engine.reporting.message.Name`.
    """

    column: str
    label: Message
    unit: Unit | None = None
    vocabulary: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart and the table behind it.

    Attributes:
        key: Unique in the report; name of the table's file (`[a-z0-9_]+`).
        kind: How it is drawn.
        title: The finding, with its numbers: a sentence.
        definition: What is counted, in which unit, over whom; shown on demand.
        table: The numbers, in the order in which they are read. No row is of one person.
        fields: Columns of the table that are shown, in their order.
        x: Column of the horizontal axis (the number of `bars`, the date of `lines`); for `heat` the column names.
        y: Column of the vertical axis (the names of `bars`, the number of `lines`); for `heat` the row names.
        colour: Column of the colours, or the number of `heat`; None for one colour.
        low, high: Columns of the interval of `dots` and `calibration`.
        users: Column of how many people a row is of, where there is one: small cells are masked by it.
        marked: Values of `y` (of `x` in `lines`) that are pointed out.
    """

    key: str
    kind: Kind
    title: Message
    definition: Message
    table: pl.DataFrame
    fields: tuple[Field, ...]
    x: str = ""
    y: str = ""
    colour: str | None = None
    low: str | None = None
    high: str | None = None
    users: str | None = None
    marked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """What a report says about one subject.

    Attributes:
        key: Unique in the report; the anchor of the section.
        audience: For whom it is.
        title: A few words.
        sentences: What was found, the most important first, with numbers.
        figures: Charts and tables.
        missing: What is not there, and why; None when all is.
        alarms: Findings that ask for somebody's attention.
    """

    key: str
    audience: Audience
    title: Message
    sentences: tuple[Message, ...] = ()
    figures: tuple[Figure, ...] = ()
    missing: Message | None = None
    alarms: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Tile:
    """One number at the head of a report."""

    number: Quantity
    label: Message


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: What it is about: the name of the output and the day.
        subtitle: What it is compared with, and what else its reader should know first.
        tiles: A few numbers.
        sections: In the order of the page; those of one audience follow each other.
        footer: How it was made: run, configuration, versions.
        names: By language, what the names of a vocabulary are called; see `engine.reporting.words.Voice`.
        language: The language that is shown first.
        currency: ISO code of the amounts, or empty.
    """

    title: Message
    subtitle: tuple[Message, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    footer: tuple[Message, ...] = ()
    names: Mapping[Language, Mapping[tuple[str, str], str]] = field(default_factory=dict)
    language: Language = "en"
    currency: str = ""
