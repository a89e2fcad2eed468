"""What a drawing is made of: the rows of a figure in words, the order of its names, and the room that they need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.reporting.message import Name, Quantity
from engine.reporting.model import Field, Figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.reporting.words import Voice

Width = Literal["wide", "narrow"]

WHOLE: Final = frozenset({"heat", "none", "stacked_bars"})
"""Kinds of figures that take the whole width of the page; two of the others stand side by side."""

_WHOLE_WIDTH: Final = 760
_WIDTHS: Final[Mapping[Width, int]] = {"wide": 560, "narrow": 320}
LABELS: Final[Mapping[Width, int]] = {"wide": 190, "narrow": 112}
"""Pixels that names beside a drawing may take."""

_ROW: Final = 26
LINE: Final = 14
"""Pixels of a line of a name."""

LINES: Final = 3
"""Lines of a name at most."""

LETTER: Final = 7.4
"""Pixels that a letter takes, more or less: fonts differ from reader to reader."""


@dataclass(frozen=True)
class Drawing:
    """A figure on its way to a drawing: its language, and how wide it will be."""

    figure: Figure
    voice: Voice
    width: Width

    @property
    def plot_width(self) -> int:
        return _WHOLE_WIDTH if self.width == "wide" and self.figure.kind in WHOLE else _WIDTHS[self.width]

    def field(self, column: str) -> Field:
        return next(field for field in self.figure.fields if field.column == column)

    def label(self, column: str) -> str:
        return self.voice.put(self.field(column).label)

    def shown(self, column: str, value: Any) -> str:
        """A cell as a reader sees it."""
        return cell(self.field(column), value, self.voice)

    def order(self, column: str) -> list[str]:
        """The different values of a column in words, in the order of the table."""
        return list(dict.fromkeys(self.shown(column, value) for value in self.figure.table[column].to_list()))

    def rows(self) -> list[dict[str, Any]]:
        """The table with numbers for the axes, and `_<column>` as words; `_title` says the whole row."""
        columns = [field.column for field in self.figure.fields]
        found = []
        for row in self.figure.table.iter_rows(named=True):
            words = {f"_{column}": self.shown(column, row[column]) for column in columns}
            told = "; ".join(f"{self.label(column)}: {words[f'_{column}']}" for column in columns)
            plain = {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
            found.append({**plain, **words, "_title": told, "_marked": self._is_marked(row)})
        return found

    def room(self, column: str) -> int:
        """Pixels that the names of a vertical axis take."""
        return round(max(len(line) for lines in self.wrapped(column).values() for line in lines) * LETTER) + 8

    def wrapped(self, column: str) -> dict[str, list[str]]:
        """The names of a vertical axis in lines that have room; what is left of a very long name is not shown."""
        letters = int(LABELS[self.width] / LETTER)
        return {name: lines_of(name, letters) for name in self.order(column)}

    def row_height(self, column: str) -> int:
        """Pixels that the highest name of a vertical axis needs."""
        return max(_ROW, max(map(len, self.wrapped(column).values())) * LINE + 8)

    def _is_marked(self, row: Mapping[str, Any]) -> bool:
        column = self.figure.x if self.figure.kind == "lines" else self.figure.y
        return str(row.get(column)) in self.figure.marked


def cell(field: Field, value: Any, voice: Voice) -> str:
    """A value of a figure's table in words."""
    if value is None:
        return voice.number(Quantity(None))
    if field.unit is not None:
        return voice.number(Quantity(float(value), field.unit))
    if isinstance(value, date):
        return voice.day(value)
    if isinstance(value, bool | int | float):
        return voice.number(Quantity(float(value), "number"))
    return voice.name(Name(str(value), field.vocabulary))


def lines_of(name: str, letters: int) -> list[str]:
    """A name in lines of so many letters, `LINES` at most."""
    if len(name) <= letters:
        return [name]
    # Names of columns have no blanks: they are broken behind a `_`.
    parts = wrap(name.replace("_", "_\0 "), letters, max_lines=LINES, placeholder=" …")
    return [part.replace("\0 ", "").rstrip("\0") for part in parts] or [""]
