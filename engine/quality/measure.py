"""Measure the data of a run, from what was counted when its rows were read.

In: the units of the rollup store and what was read of the contacts. Out: measurements. No row is read again, but for
columns of the contacts whose file does not say how many values they lack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.config import Config
from engine.config_sources import Source
from engine.features.windows import day_number
from engine.quality.footers import empty_values
from engine.quality.reconcile import source_rows
from engine.quality.table import Measured
from engine.quality.unit import UnitQuality, added
from engine.quality.values import far_out
from engine.rollups.index import Entry
from engine.rollups.units import date_in

if TYPE_CHECKING:
    from engine.contacts.read import ContactsRecord

CONTACTS: Final = "contacts"


def measure(
    config: Config, entries: Collection[Entry], contacts: ContactsRecord | None, as_of: date, types: Collection[str]
) -> list[Measured]:
    """Everything that is measured of the data of a run.

    Args:
        config: The configuration.
        entries: The units of the log.
        contacts: What was read of the contacts; None without.
        as_of: Day of the run.
        types: The event types in use.

    Raises:
        IntegrityError: Rows of a source do not add up.
    """
    end_day = day_number(as_of)
    found: list[Measured] = []
    for source in config.sources:
        own = [entry for entry in entries if entry.source == source.name]
        found += source_rows(source.name, own, end_day, types)
        found += _freshness(source, own, end_day)
        recent = [entry for entry in own if is_recent(entry, end_day, config.quality.days)]
        found += _of_rows(source, recent, config.quality.late_days)
        found += _duplicates(source, recent, end_day, types)
    found += _of_contacts(contacts)
    return found


def is_recent(entry: Entry, end_day: int, days: int | None) -> bool:
    """Whether a unit is measured: all are without a number of days, and those whose files name no date.

    Args:
        entry: The unit.
        end_day: First day that is not used (days since 1970-01-01).
        days: How many days before it are measured.
    """
    if days is None or not entry.label or date_in(entry.label) != entry.label:
        return True
    return end_day - days <= day_number(date.fromisoformat(entry.label)) < end_day


def _of_rows(source: Source, entries: Sequence[Entry], late_days: int) -> Iterator[Measured]:
    name, counted = source.name, added(entry.quality for entry in entries)
    read = sum(entry.read for entry in entries)
    yield Measured("source", name, "rows", None, read)
    for column, rows in counted.empty:
        yield Measured("source", name, "completeness", column, read - rows, read)
    rejected: Counter[str] = Counter()
    for entry in entries:
        rejected.update(entry.rejected)
    yield Measured("source", name, "invalid_share", None, rejected.total(), read)
    for rule, rows in sorted(rejected.items()):
        yield Measured("source", name, "reject_share", rule, rows, read)
    checked = read - sum(entry.left_out + entry.excluded + entry.erased for entry in entries)
    for rule, rows in counted.broken:
        yield Measured("source", name, "rule_share", rule, rows, checked)
    if source.columns.received_time is not None:
        late = sum(rows for days, rows in counted.late if days >= late_days)
        yield Measured("source", name, "late_share", None, late, sum(rows for _, rows in counted.late))
    yield from _outliers(name, counted)


def _outliers(name: str, counted: UnitQuality) -> Iterator[Measured]:
    rows: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for one in counted.values:
        found = far_out(one.bins)
        if found is not None:
            rows[one.column] += found.rows
            values[one.column] += found.values
    for column in sorted(values):
        yield Measured("source", name, "outlier_share", column, rows[column], values[column])


def _duplicates(source: Source, entries: Iterable[Entry], end_day: int, types: Collection[str]) -> Iterator[Measured]:
    if source.columns.event_id is None:
        return
    used = set(types)
    counts = [count for entry in entries for count in entry.counts if count.day < end_day and count.event_type in used]
    repeats = sum(count.duplicates for count in counts)
    rows = sum(count.kept + count.duplicates + count.lines for count in counts)
    yield Measured("source", source.name, "duplicate_share", None, repeats, rows)


def _freshness(source: Source, entries: Iterable[Entry], end_day: int) -> Iterator[Measured]:
    days = [count.day for entry in entries for count in entry.counts if count.day < end_day and count.rows]
    if days:
        yield Measured("source", source.name, "freshness_days", None, end_day - max(days))


def _of_contacts(contacts: ContactsRecord | None) -> Iterator[Measured]:
    if contacts is None:
        return
    yield Measured(CONTACTS, CONTACTS, "rows", None, contacts.rows)
    known = contacts.rows - contacts.left_out - contacts.erased - (contacts.later or 0)
    for rule, rows in contacts.broken.items():
        yield Measured(CONTACTS, CONTACTS, "rule_share", rule, rows, known)
    for kind in ("email", "phone"):
        if f"{kind}_invalid" in contacts.cleaned:
            yield Measured(CONTACTS, CONTACTS, "invalid_share", kind, contacts.cleaned[f"{kind}_invalid"], known)
    if contacts.part is not None:
        yield from _attributes(Path(contacts.part), [name for name, _ in contacts.attributes])
    for added_one in contacts.enriched:
        yield Measured("enrichment", added_one.name, "rows", None, added_one.rows)
        given = added_one.matched + added_one.unmatched
        yield Measured("enrichment", added_one.name, "completeness", None, added_one.matched, given)


def _attributes(part: Path, names: Sequence[str]) -> Iterator[Measured]:
    """How many contacts have a value of each attribute."""
    from pyarrow.parquet import read_metadata

    footer = read_metadata(part)
    known = empty_values(footer, names)
    scan = pl.scan_parquet(part, glob=False, hive_partitioning=False)
    schema = scan.collect_schema()
    unknown = [name for name in names if name not in known]
    if unknown:
        empty = [
            (pl.col(name).is_null() | (pl.col(name) == "" if schema[name] == pl.String else pl.lit(value=False)))
            .sum()
            .cast(pl.Int64)
            .alias(name)
            for name in unknown
        ]
        known |= scan.select(empty).collect().row(0, named=True)
    for name in names:
        yield Measured(CONTACTS, CONTACTS, "completeness", name, footer.num_rows - known[name], footer.num_rows)
