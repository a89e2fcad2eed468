"""Where every row went, and how long it took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.consent.permits import Withheld
from engine.errors import DataError, IntegrityError
from engine.events.checks import rows_read
from engine.events.ingest import REJECT_SCHEMA
from engine.events.record import IngestRecord
from engine.history import events
from engine.stages.preparation import Prepared
from engine.stages.scoring import ScoreRecord, SegmentSize
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import TableRecord, dtypes_of, table_record
from engine.tables.published_types import published_schema

if TYPE_CHECKING:
    import polars as pl

_NAMED_TYPES = 50


class BucketRecord(Protocol):
    """What every stage tells of a bucket."""

    @property
    def users(self) -> int:
        """Users with an event before `as_of`."""
        ...

    @property
    def kept(self) -> int:
        """Their events."""
        ...

    @property
    def contacts_matched(self) -> int:
        """Those of them who have a contact."""
        ...

    @property
    def withheld(self) -> Withheld:
        """Further users with an event before `as_of`, of whom nothing is computed."""
        ...


class Stopwatch:
    """Seconds per stage, in the order of the stages, and in total."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        events.stage_begun(name)
        start = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - start
        events.stage_ended(name, self._seconds[name])

    def timings(self) -> dict[str, float]:
        """Seconds per finished stage, and `total`."""
        return {**self._seconds, "total": time.perf_counter() - self._start}


def reconcile(prepared: Prepared, buckets: Sequence[BucketRecord]) -> None:
    """Check that every row that was read is accounted for.

    Raises:
        IntegrityError: Rows are missing or counted twice between two stages.
    """
    total = prepared.ingested
    dropped = total.left_out + total.excluded + total.erased + sum(total.rejected.values())
    accounted = dropped + total.after_as_of + total.passed
    kept = sum(bucket.kept for bucket in buckets)
    if accounted != rows_read(total) or kept != total.kept:
        raise IntegrityError(
            f"rows do not add up: {rows_read(total)} read, {accounted} accounted for; "
            f"{total.kept} events passed on to the buckets, {kept} counted there",
            code="rows-lost",
            hint="An input or work file was changed during the run; run the command again.",
        )


def ingest_counts(total: IngestRecord) -> dict[str, Any]:
    """Rows by source, rejected rows by source and rule, and good rows by event type: the 50 most frequent ones.

    `other_event_types` are the rows of further types; `missing_types` are in use (a bundle has learned from them) and
    without a row before `as_of`, which is worth a warning; `quarantined` are the files that the run went on without.
    They are there only when there is something to tell.
    """
    rejected: dict[str, dict[str, int]] = {}
    for (source, rule), count in sorted(total.rejected.items()):
        rejected.setdefault(source, {})[rule] = count
    types: Counter[str] = Counter()
    for entry in total.types:
        types[entry.event_type] += entry.rows
    largest = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    others = sum(rows for _, rows in largest[_NAMED_TYPES:]) + total.unlisted
    return {
        "sources": dict(sorted(total.read.items())),
        "rejected": rejected,
        "event_types": dict(sorted(largest[:_NAMED_TYPES])),
        **({"other_event_types": others} if others else {}),
        **({"missing_types": list(total.missing_types)} if total.missing_types else {}),
        **({"quarantined": [asdict(bad) for bad in total.quarantined]} if total.quarantined else {}),
    }


def row_counts(total: IngestRecord) -> dict[str, int]:
    """What became of every row: `read` is the sum of all others.

    `kept` counts events; a row that was summed into the row of its order is in `merged`.
    """
    return {
        "read": rows_read(total),
        "left_out": total.left_out,
        **({"excluded": total.excluded} if total.excluded else {}),
        **({"erased": total.erased} if total.erased else {}),
        "rejected": sum(total.rejected.values()),
        "duplicate": total.duplicates,
        "merged": total.lines,
        "after_as_of": total.after_as_of,
        "kept": total.kept,
    }


def segment_counts(
    buckets: Sequence[ScoreRecord], rules: Iterable[str], currency_digits: int
) -> dict[str, dict[str, float | None]]:
    """Per segment, the largest first: users, and their mean spend in major units; None for a rule that took nobody."""
    sizes: dict[str, SegmentSize] = {name: SegmentSize() for name in rules}
    for bucket in buckets:
        for name, size in bucket.segments.items():
            known = sizes.get(name, SegmentSize())
            sizes[name] = SegmentSize(known.users + size.users, known.spent_minor + size.spent_minor)
    ordered = sorted(sizes.items(), key=lambda item: (-item[1].users, item[0]))
    minor = 10**currency_digits
    return {
        name: {
            "users": size.users,
            "mean_spend": round(size.spent_minor / size.users / minor, 2) if size.users else None,
        }
        for name, size in ordered
    }


def contact_counts(prepared: Prepared, buckets: Sequence[BucketRecord]) -> dict[str, Any]:
    """What became of the contacts, and what was added to them from which files; nothing without contacts.

    `read` are their rows, `left_out` those without an id and `matched` the users that have one. The rest is there only
    where there is something to tell: `erased` (rows of people who were), `later` (rows of the future), what was counted
    of addresses and numbers, `rules` (rows that break each), `quarantined`.

    Raises:
        DataError: Not one contact belongs to a user of the log.
    """
    contacts = prepared.contacts
    if contacts is None:
        return {}
    matched = sum(bucket.contacts_matched for bucket in buckets)
    usable = contacts.rows - (contacts.later or 0) - (contacts.quarantined or 0) - contacts.erased
    others = sum(bucket.withheld.users for bucket in buckets)
    if usable and contacts.attributes and not matched and not others:
        raise DataError(
            f"none of the {contacts.rows} contacts belongs to a user of the events",
            code="contacts-mismatch",
            hint="Check contacts.user_id: it must hold the same ids as the events.",
        )
    counts: dict[str, Any] = {"read": contacts.rows, "left_out": contacts.left_out, "matched": matched}
    if contacts.erased:
        counts["erased"] = contacts.erased
    if contacts.later is not None:
        counts["later"] = contacts.later
    counts |= contacts.cleaned
    if contacts.broken:
        counts["rules"] = contacts.broken
    if contacts.quarantined is not None:
        counts["quarantined"] = contacts.quarantined
    if not contacts.enriched:
        return {"contacts": counts}
    enriched = {
        one.name: {key: value for key, value in asdict(one).items() if key != "name"} for one in contacts.enriched
    }
    return {"contacts": counts, "enrichment": enriched}


def table_records(
    prepared: Prepared, buckets: Sequence[ScoreRecord], as_of: date, more: Sequence[TableRecord | None] = ()
) -> tuple[TableRecord, ...]:
    """The staged tables, with their files over all buckets; a table without rows is left out.

    Args:
        prepared: The rollups of the run, with the files of its rejects.
        buckets: What became of the buckets.
        as_of: Day of the run.
        more: Further tables; None for one without rows.
    """
    schemas = buckets[0].schemas
    tables = [
        table_record(name, as_of, schemas[name], [file for bucket in buckets for file in bucket.files[name]])
        for name in schemas
    ]
    tables.append(table_record("rejects", as_of, dtypes_of(REJECT_SCHEMA), prepared.rejects))
    tables += [table for table in more if table is not None]
    return tuple(table for table in tables if table.rows)


def stage_table(frame: pl.DataFrame | None, name: str, as_of: date, staging: Path, mark: str) -> TableRecord | None:
    """A small table as one staged file; None without rows.

    Args:
        frame: Its rows, sorted.
        name: The table.
        as_of: Day of the run.
        staging: Work folder of the run.
        mark: Part of every file name of the run.

    Raises:
        ResourceError: The disk is full or failing.
    """
    if frame is None or frame.is_empty():
        return None
    file = durable_parquet(frame, table_folder(staging, name, as_of), f"part-00000-{mark}", root=staging)
    return table_record(name, as_of, dtypes_of(published_schema(frame.schema)), [file])


def check_tables(tables: Sequence[TableRecord], users: int) -> None:
    """Check that every user is in each table that has one row per user.

    Raises:
        IntegrityError: Users are missing or there twice.
    """
    rows = {table.name: table.rows for table in tables}
    wrong = [
        f"{name} has {rows.get(name, 0)}" for name in ("features", "scores", "segments") if rows.get(name, 0) != users
    ]
    if wrong:
        raise IntegrityError(
            f"rows do not add up: {users} users, but {', '.join(wrong)}",
            code="users-lost",
            hint="Nothing was published; run the command again.",
        )
