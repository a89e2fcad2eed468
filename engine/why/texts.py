"""Texts of a rule that can be slips: values that no user has, and patterns with the signs of another language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.rules.rule import Rule
from engine.suggest import did_you_mean
from engine.why.published import Published

MOST_VALUES: Final = 200
"""A column with more different texts is not looked at: it tells users apart, as a name does."""

_STARRED: Final = re.compile(r"\bI?LIKE\s+'((?:[^'%]|'')*\*(?:[^'%]|'')*)'", re.IGNORECASE)


class PublishedTexts:
    """The different texts of columns of a published date, each column read once."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._known: dict[str, frozenset[str] | None] = {}

    def of(self, column: str) -> frozenset[str] | None:
        """The texts of a column; None where there are more than `MOST_VALUES`, or no such column."""
        if column not in self._known:
            self._known[column] = self._read(column)
        return self._known[column]

    def _read(self, column: str) -> frozenset[str] | None:
        table = next((name for name in ("features", "scores") if column in self._published.schema(name)), None)
        if table is None:
            return None
        found = self._published.read(table, [column])[column].cast(pl.String).drop_nulls().unique()
        return frozenset(found) if found.len() <= MOST_VALUES else None


def unknown_texts(rule: Rule, texts: PublishedTexts) -> Iterator[str]:
    """What a rule compares columns with and no user has, with what could be meant.

    Args:
        rule: The rule.
        texts: Of the date.

    Raises:
        IntegrityError: Published files are not there.
    """
    for column, text in dict.fromkeys(pair for clause in rule.clauses for pair in clause.texts):
        there = texts.of(column)
        if there is not None and text not in there:
            yield f"no user has {text!r} in {column}{did_you_mean(text, there)}"


def starred_patterns(rule: Rule) -> Iterator[str]:
    """Patterns of LIKE in which a star stands for itself, as nobody means it."""
    patterns = (match[1] for clause in rule.clauses for match in _STARRED.finditer(clause.text))
    for pattern in dict.fromkeys(patterns):
        yield f"LIKE '{pattern}' looks for a star: any text is %, one character is _"
