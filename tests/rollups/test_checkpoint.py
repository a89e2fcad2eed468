from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.rollups.checkpoint import Forward, Terms, plan_forward
from engine.rollups.index import Checkpoint, DayCount, Entry, Index
from engine.tables.manifest import FileRecord

STORE = Path("store")
TERMS = Terms(windows=(2, 5), codes=(0, 1), priced=(1,), purchase=1, buckets=1)


def record(name: str, rows: int = 1) -> FileRecord:
    return FileRecord(name, rows, 1, "0" * 64)


def entry(label: str, *days: int, mark: str = "a") -> Entry:
    return Entry(
        source="log",
        label=label,
        fingerprint=mark,
        coded=(0, 1),
        event_types=(),
        event_columns=(),
        sources=(),
        user_dtype="Int64",
        read=len(days),
        left_out=0,
        excluded=0,
        rejected={},
        examples=(),
        counts=tuple(DayCount("visit", day, 1, 1) for day in days),
        unlisted=(),
        daily=(record(f"daily/{label}-{mark}"),),
    )


LOG = tuple(entry(f"{day:02d}", day) for day in range(20))


def kept(day: int, units: tuple[Entry, ...] = LOG, terms: Terms = TERMS) -> Checkpoint:
    return Checkpoint(
        day=day,
        windows=terms.windows,
        codes=terms.codes,
        priced=terms.priced,
        purchase=terms.purchase,
        units=tuple((unit.source, unit.label, tuple(file.path for file in unit.daily)) for unit in units),
        files=tuple(record(f"standing/{number}") for number in range(terms.buckets)),
    )


def plan(entries: tuple[Entry, ...], checkpoint: Checkpoint | None, day: int, terms: Terms = TERMS) -> Forward:
    index = Index(entries=entries, users=(record("users/1", 100),), checkpoint=checkpoint)
    found = plan_forward(index, terms, day, STORE)
    assert found is not None
    return found


def labels(files: tuple[str, ...]) -> list[str]:
    return [Path(file).name[:2] for file in files]


def test_only_the_days_that_enter_or_leave_a_window_are_read() -> None:
    found = plan((*LOG, entry("20", 20)), kept(20), 21)
    assert found.then == 20
    assert found.days == (15, 18, 20)
    assert (labels(found.old), labels(found.new)) == (["15", "18"], ["20"])
    assert found.files == ("store/standing/0",)
    assert found.keep is None


def test_late_events_of_a_new_unit_change_their_days() -> None:
    found = plan((*LOG, entry("20", 3, 20)), kept(20), 21)
    assert found.days == (3, 15, 18, 20)
    assert labels(found.old) == ["03", "15", "18"]


def test_the_same_day_again_reads_nothing() -> None:
    found = plan(LOG, kept(20), 20)
    assert (found.then, found.days, found.old, found.new, found.keep) == (20, (), (), (), None)


def test_after_some_days_a_new_checkpoint_is_made() -> None:
    found = plan((*LOG, entry("20", 20), entry("21", 21)), kept(20), 22)
    assert found.days == (15, 16, 18, 19, 20, 21)
    assert (found.then, found.keep) == (20, "store/standing")


@pytest.mark.parametrize(
    ("entries", "checkpoint", "day", "terms"),
    [
        (LOG, None, 20, TERMS),
        (LOG, kept(20), 19, TERMS),
        (LOG, kept(5), 20, TERMS),
        (LOG[:-1], kept(20), 20, TERMS),
        ((*LOG[:-1], entry("19", 19, mark="b")), kept(20), 20, TERMS),
        (LOG, kept(20), 20, replace(TERMS, windows=(2, 6))),
        (LOG, kept(20), 20, replace(TERMS, codes=(1, 0))),
        (LOG, kept(20), 20, replace(TERMS, priced=())),
        (LOG, kept(20), 20, replace(TERMS, purchase=None)),
        (LOG, kept(20), 20, replace(TERMS, buckets=2)),
    ],
    ids=[
        *("none", "later", "long ago", "a unit is gone", "a unit has changed", "windows", "types", "amounts"),
        *("purchase", "buckets"),
    ],
)
def test_totals_that_do_not_fit_are_not_used(
    entries: tuple[Entry, ...], checkpoint: Checkpoint | None, day: int, terms: Terms
) -> None:
    found = plan(entries, checkpoint, day, terms)
    assert (found.then, found.days, found.keep) == (None, (), "store/standing")


def test_totals_of_too_many_types_are_not_kept() -> None:
    many = replace(TERMS, codes=tuple(range(400)))
    assert plan_forward(Index(entries=LOG, users=(record("u", 10),)), many, 20, STORE) is None
