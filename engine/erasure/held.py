"""What a place where the project writes has of some people, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl  # noqa: TC002

from engine.config import Config
from engine.erasure.journal import Journal
from engine.erasure.people import People


@dataclass(frozen=True)
class Place:
    """Where is looked, and for whom.

    Attributes:
        config: The configuration; its output root is absolute.
        people: Whom.
    """

    config: Config
    people: People

    @property
    def out(self) -> Path:
        """The output root."""
        return Path(self.config.out)


@dataclass(frozen=True)
class Held:
    """What one part of a holding has of the people.

    Attributes:
        part: Which part: a table and its date, a file.
        rows: Its rows about them, with the columns they have there; a file that only names them is one row.
        files: The files with these rows, relative to the output root, or absolute where they lie elsewhere.
        is_about_people: False for leftovers, which go whether the people are in them or not.
    """

    part: str
    rows: pl.DataFrame = field(repr=False)
    files: tuple[str, ...] = ()
    is_about_people: bool = True


@dataclass(frozen=True)
class Removed:
    """What was taken out of a holding.

    Attributes:
        rows: Rows, or places in files that named them.
        rewritten: Files that were written again without them.
        removed: Files that are gone.
        dates: Published dates that changed.
    """

    rows: int = 0
    rewritten: int = 0
    removed: int = 0
    dates: tuple[str, ...] = ()

    def __add__(self, other: Removed) -> Removed:
        dates = tuple(sorted({*self.dates, *other.dates}))
        return Removed(self.rows + other.rows, self.rewritten + other.rewritten, self.removed + other.removed, dates)


@dataclass(frozen=True)
class Holding:
    """A place where the project writes about people.

    Attributes:
        name: Names it in receipts, and its file in an export of everything held about a person.
        patterns: Regular expressions of the paths, relative to the output root, that belong to it.
        about: What lies there, in a sentence.
        find: What it has of some people.
        erase: Takes them out; calling it again, or after it was cut short, is harmless.
    """

    name: str
    patterns: tuple[str, ...]
    about: str
    find: Callable[[Place], Iterator[Held]]
    erase: Callable[[Place, Journal], Removed]
