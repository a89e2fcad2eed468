"""The people that are looked for: every id that is theirs, the keys of these, and the addresses they are known by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import polars as pl

from engine.asked_users import as_stored
from engine.events.keys import user_key
from engine.privacy.ids import LEAST_DIGITS, LEAST_LETTERS

_WORD: Final = r"[\w@+\-]"
GONE: Final = "(erased)"
"""What stands in a text where somebody was named."""


@dataclass(frozen=True)
class People:
    """Some people, as the tables know them; what is printed of it is how many ids there are.

    Attributes:
        ids: Every id that is theirs, as the tables have it (pseudonyms where tables have those), each once.
        clear: The same ids as the sources have them, as far as they are known.
        addresses: Addresses, telephone numbers and the like that the contacts have of them.
        user_dtype: Int64 or String.
        rekeyed: Ids that share a key with another one, and their salts; see `engine.events.keys`.
    """

    ids: tuple[str, ...] = field(repr=False)
    clear: tuple[str, ...] = field(repr=False, default=())
    addresses: tuple[str, ...] = field(repr=False, default=())
    user_dtype: str = "String"
    rekeyed: tuple[tuple[str, int], ...] = field(repr=False, default=())

    def __repr__(self) -> str:
        return f"<People {len(self.ids)}>"

    @cached_property
    def values(self) -> pl.Series:
        """The ids in the type of the tables, sorted; text that no user of the tables can have is left out."""
        dtype = pl.String() if self.user_dtype == "String" else pl.Int64()
        return pl.Series("user_id", sorted(set(as_stored(self.ids, self.user_dtype).values())), dtype)

    @cached_property
    def keys(self) -> pl.Series:
        """The keys of the ids in the rollups (UInt64), sorted."""
        keys = self.values.to_frame().select(user_key(pl.col("user_id"), self.rekeyed).alias("user_key"))
        return keys["user_key"].unique().sort()

    @cached_property
    def names(self) -> frozenset[str]:
        """Everything they are known by."""
        return frozenset(name for name in (*self.ids, *self.clear, *self.addresses) if name)

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """The names that can be told from other text wherever they stand; a short number or word cannot."""
        return tuple(sorted(name for name in self.names if _can_be_told(name)))

    @cached_property
    def has_numbers(self) -> bool:
        """Whether a needle is a number, which a figure may be as well."""
        return any(name.lstrip("+-").isdigit() for name in self.needles)

    @cached_property
    def has_escaped(self) -> bool:
        """Whether JSON can write a needle in other letters than its own."""
        return any(json.dumps(name) != f'"{name}"' for name in self.needles)

    def pattern_in(self, texts: Iterable[str]) -> re.Pattern[str] | None:
        """Finds the needles that are in some texts, where they are no part of a longer word; None when none is.

        A pattern of thousands of names would try each of them at every letter: it has those alone that are there.
        """
        near = _near(texts, self.needles)
        if not near:
            return None
        named = "|".join(map(re.escape, near))
        return re.compile(rf"(?<!{_WORD})(?<!\w\.)(?:{named})(?!{_WORD}|\.\w)", re.IGNORECASE)

    def named_in(self, texts: pl.Series) -> list[str]:
        """Those texts, once each, that name one of them."""
        if not self.needles:
            return []
        near = texts.unique().drop_nulls().sort()
        near = near.filter(near.str.contains_any(list(self.needles), ascii_case_insensitive=True))
        pattern = self.pattern_in(near)
        return [] if pattern is None else [text for text in near if pattern.search(text)]

    def are_in(self, content: bytes) -> bool:
        """Whether bytes that are no table name one of them, in UTF-8."""
        # Latin-1 gives every byte a letter of its own.
        near = _near([content.decode("latin-1")], [name.encode().decode("latin-1") for name in self.needles])
        if not near:
            return False
        named = b"|".join(re.escape(name.encode("latin-1")) for name in near)
        word = rb"[A-Za-z0-9_@+\-\x80-\xff]"
        pattern = rb"(?<!" + word + rb")(?<!\w\.)(?:" + named + rb")(?!" + word + rb"|\.\w)"
        return re.search(pattern, content, re.IGNORECASE) is not None

    def is_cell(self, text: str) -> bool:
        """Whether a cell of a table of text is one of their names, whatever its case."""
        # Exports put an apostrophe before what a spreadsheet would compute, such as +33…
        plain = text.strip().casefold()
        return plain in self._folded or plain.removeprefix("'") in self._folded

    @cached_property
    def _folded(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in self.needles) | frozenset(
            name.casefold() for name in self.addresses
        )

    def without(self, value: Any) -> Any:
        """A value that JSON has, with every text that names one of them changed."""
        pattern = self.pattern_in(texts_of(value))
        return value if pattern is None else _replaced(value, pattern)


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value that JSON has, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts_of(key)
            yield from texts_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one)


def _replaced(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(GONE, value)
    if isinstance(value, list | tuple):
        return [_replaced(one, pattern) for one in value]
    if isinstance(value, dict):
        return {_replaced(key, pattern): _replaced(one, pattern) for key, one in value.items()}
    return value


def _near(texts: Iterable[str], names: Sequence[str]) -> list[str]:
    """The names that stand anywhere in some texts, as they are written there, the longest first."""
    column = pl.Series("text", list(texts), pl.String)
    if not names or not column.str.contains_any(list(names), ascii_case_insensitive=True).any():
        return []
    found = column.str.extract_many(list(names), ascii_case_insensitive=True, overlapping=True).explode()
    return sorted(found.drop_nulls().unique(), key=lambda name: (-len(name), name))


def _can_be_told(name: str) -> bool:
    digits = name.lstrip("+-")
    return len(digits) >= LEAST_DIGITS if digits.isdigit() else len(name) >= LEAST_LETTERS
