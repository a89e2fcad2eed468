"""Published tables without some people: only the files that have them are written again, and a date changes at once.

The files that stay get a second name in a staged folder, beside the new ones; then the folder and the published one
change places, as in every publish. What the manifest counted stays: it tells what the run did. It gains `erased`: the
people and rows that were taken out since. The hash by which the next date knows the memberships that its ledger was
made from is changed with them, so that no ledger is made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.erasure.held import Held, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.parquet import groups_of, held_count, other_groups, rows_held, text_groups
from engine.erasure.people import People, texts_of
from engine.errors import IntegrityError
from engine.ledger.previous import has_ledger, link_of
from engine.tables import disk
from engine.tables.durable import durable_row_groups
from engine.tables.layout import decode_partition, manifest_path, work_folder
from engine.tables.manifest import FileRecord, Manifest, TableRecord, read_manifest, table_record
from engine.tables.publish import discard, publish_part
from engine.why.published import published_dates

if TYPE_CHECKING:
    from pydantic import JsonValue

USER_ID: Final = "user_id"
"""The column by which a published table tells of whom a row is."""

NO_PERSON: Final[Mapping[str, str]] = {
    "rejects": "where a rejected row stands in its file, and the rule: never what is in it",
    "drift": "histograms and distances of whole columns",
    "quality": "rates and counts of whole columns and sources",
    "segment_definitions": "the configuration of the segments",
    "segment_kpis": "sums over the users of a segment",
    "segment_composition": "shares of the users of a segment",
    "rfm_grid": "counts of users by score",
    "score_distribution": "counts of users by score",
    "segment_flows": "counts of users by where from, where to and why",
}
"""Published tables without a row about a person, and why."""

_OWN: Final = frozenset({USER_ID, "run_id", "segment", "group", "rule_version"})
"""Columns of tables of people whose text is never an attribute of somebody."""

_STEM: Final = re.compile(r"(.*)-[0-9a-f]{12}")


def find_in_tables(place: Place) -> Iterator[Held]:
    """Rows of the people in every table of every published date."""
    for day in published_dates(place.out):
        manifest = read_manifest(manifest_path(place.out, day))
        for table in manifest.tables:
            held = [record for record in table.records if _count(place, table, record)]
            if held:
                rows = pl.concat(_with_folders(place, table, record) for record in held)
                yield Held(f"{table.name} as_of={day}", rows, tuple(record.path for record in held))
            naming = [record for record in table.records if record not in held and _texts(place, table, record)]
            if naming:
                files = [record.path for record in naming]
                yield Held(f"{table.name} of others as_of={day}", pl.DataFrame({"file": files}), tuple(files))
        named = _named(place, manifest)
        if named:
            where = manifest_path(place.out, day).relative_to(place.out).as_posix()
            yield Held(f"manifest as_of={day}", pl.DataFrame({"text": named}), (where,))


def erase_in_tables(place: Place, journal: Journal) -> Removed:
    """Publish every date again without the people, the earliest first; dates that have nothing of them stay."""
    removed = Removed()
    for day in published_dates(place.out):
        removed += _erase_date(place, journal, day)
    return removed


def has_people(table: TableRecord) -> bool:
    """Whether a published table tells of people.

    Raises:
        IntegrityError: That is not known: the table has no `user_id`, and nobody has said that it holds no person.
    """
    if any(name == USER_ID for name, _ in table.schema):
        return True
    if table.name not in NO_PERSON:
        raise IntegrityError(
            f"whether the table {table.name!r} tells of people is not known: it has no column {USER_ID!r}",
            code="erasure-table",
            hint="Report this as a bug: every table must be declared in engine/erasure/tables.py.",
        )
    return False


def _count(place: Place, table: TableRecord, record: FileRecord) -> int:
    """Rows of a file about the people; in tables of figures, rows whose text names them (an address as a value)."""
    path = place.out / record.path
    if has_people(table):
        return held_count(path, USER_ID, place.people.values)
    return sum(int(_names(place.people, part).sum()) for part in groups_of(path))


def _texts(place: Place, table: TableRecord, record: FileRecord) -> list[str]:
    """The texts in rows of a file that name the people, such as who recommended somebody; in tables of people alone."""
    if not has_people(table) or not place.people.needles:
        return []
    found: set[str] = set()
    for part in text_groups(place.out / record.path, _OWN):
        for column in part.iter_columns():
            found.update(place.people.named_in(column))
    return sorted(found)


def _others(place: Place, table: TableRecord, path: Path) -> Iterator[pl.DataFrame]:
    if has_people(table):
        return (_blanked(place.people, part) for part in other_groups(path, USER_ID, place.people.values))
    return (part.filter(~_names(place.people, part)) for part in groups_of(path))


def _names(people: People, rows: pl.DataFrame) -> pl.Series:
    """Whether some text of each row names the people."""
    found = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    for column in rows.iter_columns():
        if column.dtype == pl.String and people.needles:
            named = people.named_in(column)
            found = found | column.is_in(pl.Series(named, dtype=pl.String).implode()).fill_null(value=False)
    return found


def _blanked(people: People, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of others, with null in the place of a text that names the people."""
    changed = []
    for column in rows.iter_columns():
        if column.dtype == pl.String and column.name not in _OWN and (named := people.named_in(column)):
            is_named = pl.col(column.name).is_in(named)
            changed.append(pl.when(is_named).then(None).otherwise(pl.col(column.name)).alias(column.name))
    return rows.with_columns(changed)


def _with_folders(place: Place, table: TableRecord, record: FileRecord) -> pl.DataFrame:
    """The rows of a file about the people, with the values that its folders tell."""
    path = place.out / record.path
    folders = [part.partition("=") for part in Path(record.path).parts[2:-1]]
    keys = {key: pl.lit(decode_partition(value)) for key, _, value in folders}
    if has_people(table):
        return rows_held(path, USER_ID, place.people.values).with_columns(**keys)
    return pl.concat(part.filter(_names(place.people, part)) for part in groups_of(path)).with_columns(**keys)


def _named(place: Place, manifest: Manifest) -> list[str]:
    return place.people.named_in(pl.Series(list(texts_of(manifest.counts)), dtype=pl.String))


def _erase_date(place: Place, journal: Journal, day: date) -> Removed:
    out = place.out
    manifest = read_manifest(manifest_path(out, day))
    held = {
        record.path: rows
        for table in manifest.tables
        for record in table.records
        if (rows := _count(place, table, record)) or _texts(place, table, record)
    }
    touched = [table for table in manifest.tables if any(record.path in held for record in table.records)]
    if any(table.name == "memberships" for table in touched):
        # Noted before the switch: afterwards nothing tells what the next date was made from.
        known = journal.work.links.get(day.isoformat(), ())
        links = tuple(dict.fromkeys((*known, link_of(manifest).memberships)))
        journal.note(links={**journal.work.links, day.isoformat(): links})
    plain = _as_it_shall_be(place, journal, manifest)
    if not touched:
        if plain != manifest:
            _publish(out, plain, [])
        return Removed(dates=(day.isoformat(),)) if plain != manifest else Removed()
    work = work_folder(out, manifest.run_id)
    disk.make_folder(work)
    try:
        made = {table.name: _staged(place, work, day, table, held) for table in touched}
        people = _people_in(place, touched, held)
        counts: dict[str, JsonValue] = {**plain.counts}
        counts["erased"] = _erased(plain.counts, people, sum(held.values()))
        tables = tuple(made.get(table.name, table) for table in manifest.tables)
        publish_part(work, out, replace(plain, counts=counts, tables=tables), list(made))
    finally:
        discard(work)
    gone = sum(len(table.records) - len(made[table.name].records) for table in touched)
    return Removed(sum(held.values()), len(held) - gone, gone, (day.isoformat(),))


def _publish(out: Path, manifest: Manifest, names: list[str]) -> None:
    work = work_folder(out, manifest.run_id)
    disk.make_folder(work)
    try:
        publish_part(work, out, manifest, names)
    finally:
        discard(work)


def _as_it_shall_be(place: Place, journal: Journal, manifest: Manifest) -> Manifest:
    """The manifest without names of the people, and with what other dates and the bundle are called now."""
    changed = replace(manifest, counts=place.people.without(manifest.counts))
    if changed.bundle in journal.work.bundles:
        changed = replace(changed, bundle=journal.work.bundles[str(changed.bundle)] or None)
    ledger = changed.counts.get("ledger")
    previous = ledger.get("previous") if has_ledger(manifest) and isinstance(ledger, dict) else None
    if not isinstance(ledger, dict) or not isinstance(previous, dict):
        return changed
    before = str(previous.get("as_of"))
    if previous.get("memberships") not in journal.work.links.get(before, ()):
        return changed
    path = manifest_path(place.out, date.fromisoformat(before))
    if not path.exists():
        return changed
    now = {**previous, "memberships": link_of(read_manifest(path)).memberships}
    return replace(changed, counts={**changed.counts, "ledger": {**ledger, "previous": now}})


def _staged(place: Place, work: Path, day: date, table: TableRecord, held: Mapping[str, int]) -> TableRecord:
    """A table without the people, staged: its files written again where they had some, else shared."""
    records = []
    for record in table.records:
        if record.path not in held:
            target = work / record.path
            disk.make_folder(target.parent)
            disk.share(place.out / record.path, target)
            records.append(record)
        elif record.rows > held[record.path]:
            records.append(_rewritten(place, work, table, record))
    if not records:
        # A table keeps its columns when nobody is left in it.
        records.append(_rewritten(place, work, table, table.records[0]))
    return table_record(table.name, day, table.schema, records)


def _rewritten(place: Place, work: Path, table: TableRecord, record: FileRecord) -> FileRecord:
    path = place.out / record.path
    found = _STEM.fullmatch(path.stem)
    stem = path.stem if found is None else found[1]
    schema = pl.Schema(pl.read_parquet_schema(path))
    return durable_row_groups(_others(place, table, path), schema, (work / record.path).parent, stem, root=work)


def _people_in(place: Place, touched: list[TableRecord], held: Mapping[str, int]) -> int:
    """How many of the ids the date had: those of the table with the most of them."""
    most = 0
    for table in touched:
        if has_people(table):
            paths = [place.out / record.path for record in table.records if record.path in held]
            ids = pl.concat(rows_held(path, USER_ID, place.people.values).select(USER_ID) for path in paths)
            most = max(most, ids[USER_ID].n_unique())
    return most


def _erased(counts: Mapping[str, Any], people: int, rows: int) -> dict[str, JsonValue]:
    before = counts.get("erased")
    known = before if isinstance(before, dict) else {}
    return {"people": int(known.get("people", 0)) + people, "rows": int(known.get("rows", 0)) + rows}
