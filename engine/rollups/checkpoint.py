"""Which totals of an earlier run can be brought forward to a later day, and from which files.

A checkpoint is a table of totals per bucket of users, made of the units that it names. As long as these are what they
were, a later run reads the days that entered, that left a window or that got more events, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.rollups.index import Checkpoint, Entry, Index

_MOST_SHARE: Final = 0.4
"""Of all partials, the share up to which bringing forward is the cheaper way."""
_RENEW_SHARE: Final = 0.15
"""The share from which on a new checkpoint pays for itself on the next days."""
_MOST_CELLS: Final = 1 << 26
_MOST_COLUMNS: Final = 1_000


@dataclass(frozen=True)
class Terms:
    """What the totals of a run are about; totals on other terms cannot be used.

    Attributes:
        windows: Lengths in days.
        codes: Code in the store of each event type.
        priced: Positions of the event types whose amounts are summed.
        purchase: Position of the purchase type.
        buckets: Number of ranges that the users are cut into.
    """

    windows: tuple[int, ...]
    codes: tuple[int, ...]
    priced: tuple[int, ...]
    purchase: int | None
    buckets: int


@dataclass(frozen=True)
class Forward:
    """How the totals of a run come to be.

    Attributes:
        terms: What they are about.
        then: Day of the checkpoint (days since 1970-01-01); None when there is none to use.
        files: Its tables, one per bucket; in a task, that of its own.
        days: The days that have to be read.
        old: Files of the units that the checkpoint is made of, those with such days.
        new: The same of the other units.
        keep: Folder for the tables of a new checkpoint; None to make none.
    """

    terms: Terms
    then: int | None = None
    files: tuple[str, ...] = ()
    days: tuple[int, ...] = ()
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    keep: str | None = None

    def of_bucket(self, number: int) -> str:
        """The table of a bucket."""
        return self.files[number] if len(self.files) > 1 else self.files[0]


def plan_forward(index: Index, terms: Terms, day: int, store: Path) -> Forward | None:
    """How to come by the totals as of `day`; None when they are too many to be kept.

    Args:
        index: The store, up to date.
        terms: What the totals are about.
        day: Days since 1970-01-01.
        store: Folder of the store.
    """
    users = sum(file.rows for file in index.users)
    width = len(terms.windows) + 1
    columns = (len(terms.codes) + len(terms.priced) + 1) * width
    if columns > _MOST_COLUMNS or users // terms.buckets * columns > _MOST_CELLS:
        return None
    keep = str(store / "standing")
    usable = _usable(index, terms, day)
    if usable is None:
        return Forward(terms, keep=keep)
    checkpoint, then, later = usable
    days = _changed_days(terms.windows, checkpoint.day, day) | {
        count.day for entry in later for count in entry.counts if count.day < day
    }
    share = _rows(index.entries, days) / max(1, _rows(index.entries, None))
    if share > _MOST_SHARE:
        return Forward(terms, keep=keep)
    return Forward(
        terms=terms,
        then=checkpoint.day,
        files=tuple(str(store / file.path) for file in checkpoint.files),
        days=tuple(sorted(days)),
        old=_files(then, days, store),
        new=_files(later, days, store),
        keep=keep if share > _RENEW_SHARE else None,
    )


def _usable(index: Index, terms: Terms, day: int) -> tuple[Checkpoint, list[Entry], list[Entry]] | None:
    """A checkpoint that can be brought forward, the entries that it is made of, and the other ones."""
    checkpoint = index.checkpoint
    if checkpoint is None or checkpoint.day > day:
        return None
    about = (checkpoint.windows, checkpoint.codes, checkpoint.priced, checkpoint.purchase, len(checkpoint.files))
    if about != (terms.windows, terms.codes, terms.priced, terms.purchase, terms.buckets):
        return None
    known = {entry.name: entry.daily for entry in index.entries}
    # Files are named by what is in them: the same files are the same rows.
    for source, label, names in checkpoint.units:
        if tuple(file.path for file in known.get((source, label), ())) != names:
            return None
    made_of = {(source, label) for source, label, _ in checkpoint.units}
    then = [entry for entry in index.entries if entry.name in made_of]
    return checkpoint, then, [entry for entry in index.entries if entry.name not in made_of]


def _changed_days(windows: Sequence[int], then: int, now: int) -> set[int]:
    """The days that are in another window as of `now` than as of `then`, or only now before it."""
    return {day for length in (0, *windows) for day in range(then - length, now - length)}


def _rows(entries: Iterable[Entry], days: set[int] | None) -> int:
    return sum(count.kept for entry in entries for count in entry.counts if days is None or count.day in days)


def _files(entries: Iterable[Entry], days: set[int], store: Path) -> tuple[str, ...]:
    return tuple(
        str(store / file.path)
        for entry in entries
        if any((count.kept or count.lines) and count.day in days for count in entry.counts)
        for file in entry.daily
    )
