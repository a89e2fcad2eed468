"""An erasure that is under way: what has to be known to finish it after it was cut short.

    <out>/_privacy/unfinished/<erasure>.json

It names the people, for nothing else knows any more which ids were theirs once the links are gone; so only its owner
may read it, and it is the last thing that goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from engine.erasure.people import People
from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import durable_json

FORMAT: Final = 1


@dataclass(frozen=True)
class Work:
    """An erasure.

    Attributes:
        erasure: Its name: `<UTC time>-<6 hex digits>`.
        reason: Why, as it was given.
        asked: How many people were asked for and are known.
        people: All their ids and addresses.
        told: What was found before anything was removed, for the receipt.
        links: By date, hashes of memberships that later ledgers may still name; see `engine.ledger.previous.Link`.
        bundles: Bundles that were replaced, and what by; empty for one that was only taken away.
        done: What each holding gave up so far.
    """

    erasure: str
    reason: str
    asked: int
    people: People
    told: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bundles: Mapping[str, str] = field(default_factory=dict)
    done: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Journal:
    """The file of an erasure, written anew before each step that could not be understood without it."""

    def __init__(self, out: Path, work: Work) -> None:
        self._out = out
        self.work = work

    def note(self, **changes: Any) -> None:
        """Replace what is known, on stable storage."""
        self.work = replace(self.work, **changes)
        self.write()

    def write(self) -> None:
        """Write the file; only its owner may read it."""
        people = self.work.people
        plain = {**asdict(replace(self.work, people=None)), "format": FORMAT}  # type: ignore[arg-type]
        plain["people"] = {
            "ids": list(people.ids),
            "clear": list(people.clear),
            "addresses": list(people.addresses),
            "user_dtype": people.user_dtype,
            "rekeyed": [list(pair) for pair in people.rekeyed],
        }
        path = journal_path(self._out, self.work.erasure)
        disk.make_folder(path.parent)
        disk.make_private(path.parent)
        durable_json(plain, path)
        disk.make_private(path)

    def close(self) -> None:
        """The erasure is finished."""
        path = journal_path(self._out, self.work.erasure)
        disk.remove_file(path)
        if not disk.list_folder(path.parent):
            disk.remove_tree(path.parent)


def journal_path(out: Path, erasure: str) -> Path:
    """The file of an erasure that is under way."""
    return journals_folder(out) / f"{erasure}.json"


def journals_folder(out: Path) -> Path:
    """Where such files are; it is there only while there are some."""
    return out / "_privacy" / "unfinished"


def unfinished(out: Path) -> list[Journal]:
    """The erasures that were cut short, the oldest first.

    Raises:
        IntegrityError: A file is damaged.
    """
    folder = journals_folder(out)
    paths = [path for path in disk.list_folder(folder) if path.suffix == ".json" and not disk.is_temporary(path.name)]
    return [Journal(out, _read(path)) for path in paths]


def _read(path: Path) -> Work:
    try:
        plain = json.loads(path.read_bytes())
        if plain.pop("format") != FORMAT:
            raise ValueError
        people = plain["people"]
        plain["people"] = People(
            tuple(people["ids"]),
            tuple(people["clear"]),
            tuple(people["addresses"]),
            people["user_dtype"],
            tuple((str(name), int(salt)) for name, salt in people["rekeyed"]),
        )
        plain["links"] = {day: tuple(hashes) for day, hashes in plain["links"].items()}
        return Work(**plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{path} is no record of an erasure",
            code="erasure-work",
            hint="It was changed or damaged. Remove it, and erase the people again: what is gone already stays gone.",
        ) from error
