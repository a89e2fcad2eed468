"""Whether a file that is no table names people. In JSON a number that is a figure (a count, a size, a time) is no name.

What is no JSON is searched byte by byte, and so is a file of JSON that cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from engine.erasure.people import People

_FIGURES: Final = frozenset(
    """
    bytes created createdTime deletionTimestamp duplicate duplicates erased excluded files inode kept last-updated-ms
    left_out matched modificationTime modified_ns numRecords numRecordsDeleted parent-snapshot-id people priced read
    rejected rows seed size sizeInBytes snapshot-id current-snapshot-id timestamp timestamp-ms total users value_minor
    version withheld zero
    added-data-files added-files-size added-records deleted-data-files deleted-records removed-files-size
    total-data-files total-files-size total-records
    """.split()
)
"""Fields of files that the project and its table formats write, whose value is a figure where it is a number. A list
below one of them is none: `users` are a count, or the ids at the edges of ranks."""
_SUMS: Final = "counts"
"""Every number below this field of a manifest is a figure; what it is of may be called anything."""
_JSON_NAMES: Final = ("_last_checkpoint",)


def is_named(name: str, content: bytes, people: People) -> bool:
    """Whether the content of a file names one of the people.

    Args:
        name: The name of the file, which tells whether it is JSON.
        content: Its bytes.
        people: Whom.
    """
    named = people.are_in(content)
    if not is_json(name) or not (people.has_numbers if named else people.has_escaped and b"\\" in content):
        return named
    documents = _documents(content)
    if documents is None:
        return named
    return bool(people.named_in(pl.Series(list(_texts(documents, None, is_sum=False)), dtype=pl.String)))


@dataclass(frozen=True)
class Known:
    """What people are known by, as `engine.formats` looks for it."""

    people: People

    def named_in(self, texts: pl.Series) -> list[str]:
        """Those texts, once each, that name one of them."""
        return self.people.named_in(texts)

    def are_named(self, name: str, content: bytes) -> bool:
        """Whether the content of a file that is no table, and has this name, names one of them."""
        return is_named(name, content, self.people)


def is_json(name: str) -> bool:
    """Whether a file is read as JSON, by its name."""
    return name.endswith(".json") or PurePath(name).name in _JSON_NAMES


def _documents(content: bytes) -> list[Any] | None:
    """The document of a file, or those of its lines; None where there are none."""
    with suppress(ValueError, RecursionError):
        return [_parsed(content)]
    with suppress(ValueError, RecursionError):
        return [_parsed(line) for line in content.splitlines() if line.strip()]
    return None


def _parsed(content: str | bytes) -> Any:
    return json.loads(content, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Of a field that is there twice a reader sees one: such a file is searched by its bytes.
        raise ValueError
    return found


def _texts(value: Any, field: str | None, *, is_sum: bool) -> Iterator[str]:
    """Every text of a value, and every number that may be an id, as text; of a text that is JSON, what is in it too."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one, key, is_sum=is_sum or key == _SUMS)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, None, is_sum=is_sum)
    elif isinstance(value, str):
        if field in _FIGURES and value.isdecimal():
            return
        inner = _inner(value)
        if inner is None:
            yield value
        else:
            yield from _texts(inner, None, is_sum=False)
    elif isinstance(value, int) and not isinstance(value, bool) and field not in _FIGURES and not is_sum:
        yield str(value)


def _inner(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return None
    with suppress(ValueError, RecursionError):
        found = _parsed(text)
        return found if isinstance(found, dict | list) else None
    return None
