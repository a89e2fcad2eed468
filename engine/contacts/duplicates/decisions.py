"""What was decided about pairs of contacts: merged, undone, refused, by whom and on which day.

    <out>/_contacts/decisions.json

It only grows: the last act about a pair counts. It holds ids of people, so it is for its owner to read alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal, get_args

import polars as pl

from engine.contacts.duplicates.order import order_of
from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import durable_text

Kind = Literal["merge", "undo", "refuse"]
By = Literal["person", "score", "exact"]
Pair = tuple[str, str]
"""Two ids, the smaller one first."""

_FORMAT: Final = 1


@dataclass(frozen=True)
class Act:
    """One decision.

    Attributes:
        kind: Merged, a merge undone, or known to be two people.
        pair: The two ids.
        on: The day it was decided.
        by: A person, the score of the pair, or an equal value.
    """

    kind: Kind
    pair: Pair
    on: date
    by: By = "person"


def pair_of(first: str, second: str) -> Pair:
    """Two ids in their order."""
    return (first, second) if order_of(first) <= order_of(second) else (second, first)


def contacts_folder(out: Path) -> Path:
    """Where an output root keeps what was found and decided about contacts."""
    return out / "_contacts"


def decisions_file(out: Path) -> Path:
    """Where the decisions are."""
    return contacts_folder(out) / "decisions.json"


def make_folder(out: Path) -> None:
    """Make the folder, for its owner alone.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    disk.make_folder(contacts_folder(out))
    disk.make_private(contacts_folder(out))


def read_decisions(out: Path) -> tuple[Act, ...]:
    """All decisions, the earliest first; none where there is no file.

    Raises:
        IntegrityError: The file is damaged.
    """
    path = decisions_file(out)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    try:
        found = json.loads(content)
        acts = tuple(_act(entry) for entry in found["acts"])
        if found["format"] != _FORMAT:
            raise _damaged(path)
    except (ValueError, TypeError, KeyError) as error:
        # Not as its cause: the text of the error may quote the file.
        raise _damaged(path) from (None if isinstance(error, json.JSONDecodeError) else error)
    return acts


def _act(entry: Mapping[str, str]) -> Act:
    kind, by = entry["act"], entry["by"]
    if kind not in get_args(Kind) or by not in get_args(By):
        message = "an act of another version"
        raise ValueError(message)
    pair = (entry["user_id"], entry["other_id"])
    if not all(isinstance(one, str) for one in pair):
        message = "an id that is no text"
        raise TypeError(message)
    return Act(kind, pair, date.fromisoformat(entry["on"]), by)  # type: ignore[arg-type]


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path} is damaged, or of a newer version",
        code="decisions-damaged",
        hint="Restore it from a backup; without it, contacts that were merged are apart again.",
    )


def write_decisions(acts: Sequence[Act], out: Path) -> None:
    """Write the file in place of what is there; without acts there is none.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    path = decisions_file(out)
    if not acts:
        disk.remove_file(path)
        return
    make_folder(out)
    lines = ",\n".join(
        json.dumps(
            {"on": act.on.isoformat(), "act": act.kind, "by": act.by, "user_id": act.pair[0], "other_id": act.pair[1]},
            ensure_ascii=False,
        )
        for act in acts
    )
    durable_text(f'{{"format": {_FORMAT}, "acts": [\n{lines}\n]}}\n', path)
    disk.make_private(path)


@contextmanager
def changing(out: Path) -> Iterator[tuple[Act, ...]]:
    """The decisions, while no other process changes them.

    Raises:
        IntegrityError: The file is damaged.
        ConfigError: The folder cannot be written to.
    """
    make_folder(out)
    with disk.lock(contacts_folder(out) / ".lock"):
        yield read_decisions(out)


def standing(acts: Iterable[Act]) -> dict[Pair, Act]:
    """The act that counts of each pair."""
    return {act.pair: act for act in acts}


def merged_pairs(acts: Iterable[Act]) -> pl.DataFrame:
    """The pairs that are merged: `user_id` and `other_id`, text, sorted."""
    pairs = sorted(pair for pair, act in standing(acts).items() if act.kind == "merge")
    return pl.DataFrame(pairs, {"user_id": pl.String, "other_id": pl.String}, orient="row")


def merges_digest(out: Path) -> str | None:
    """SHA-256 (hex) of the pairs that are merged, the same however they came to be; None when there are none.

    Raises:
        IntegrityError: The file is damaged.
    """
    pairs = merged_pairs(read_decisions(out))
    return None if pairs.is_empty() else hashlib.sha256(json.dumps(pairs.rows()).encode()).hexdigest()


def without_people(acts: Sequence[Act], ids: Iterable[str]) -> tuple[Act, ...]:
    """The decisions without every act about one of the ids, as an erasure leaves them."""
    gone = frozenset(ids)
    return tuple(act for act in acts if gone.isdisjoint(act.pair))
