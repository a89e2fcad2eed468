"""What has been kept for longer than the configuration says, beside people: dates of tables, records, exports.

Ages of dates and records are counted from the newest one, so that nothing goes because nothing was run; those of
exports from the day that is asked. What is so many days old stays, what is older goes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config import Config, Retention
from engine.errors import IntegrityError
from engine.exports.files import RECORD
from engine.exports.listing import forget_files, listed_exports, standing_files
from engine.formats.commit import commit_published
from engine.history.store import runs_folder
from engine.ledger.bucket import LEDGER
from engine.ledger.cascade import pending_correction
from engine.ledger.previous import READ
from engine.register.places import register_folder
from engine.remote.address import is_remote
from engine.tables import disk
from engine.tables.collect import remove_date
from engine.tables.durable import durable_json
from engine.tables.layout import manifest_path, work_folder, work_root
from engine.tables.manifest import read_manifest
from engine.tables.publish import publish_part
from engine.why.published import published_dates

if TYPE_CHECKING:
    from pydantic import JsonValue

_RUN: Final = re.compile(r"(\d{8})T\d{6}Z-[0-9a-f]{6}\.json")
_REGISTER: Final = re.compile(r"(?:fit-)?as_of=(\d{4}-\d{2}-\d{2})\.(?:json|md)")


@dataclass(frozen=True)
class OldTable:
    """A table of a date that is older than its period."""

    table: str
    as_of: date
    rows: int
    files: int
    bytes: int


@dataclass(frozen=True)
class OldFile:
    """A file of an export that is older than its period: its absolute path, and the export."""

    path: str
    export: str
    rows: int


@dataclass(frozen=True)
class Old:
    """What goes beside people.

    Attributes:
        tables: Tables of dates, the oldest date first.
        records: Records of runs and of processing, by their paths relative to the output root.
        exports: Files of exports.
        notes: Why something stays that is older than its period.
        begun: Tables of dates that went, by a retention that was cut short: what else is of them goes now.
    """

    tables: tuple[OldTable, ...] = ()
    records: tuple[str, ...] = ()
    exports: tuple[OldFile, ...] = ()
    notes: tuple[str, ...] = ()
    begun: tuple[tuple[str, date], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.tables or self.records or self.exports or self.begun)


def find_old(out: Path, retention: Retention, as_of: date) -> Old:
    """What is older than its period.

    Args:
        out: The output root.
        retention: The periods.
        as_of: The day from which ages of exports are counted.

    Raises:
        IntegrityError: A manifest or the list of exports is damaged.
    """
    notes: list[str] = []
    tables = list(_old_tables(out, retention))
    if tables and pending_correction(out) is not None:
        notes.append("no table is removed: a run that was killed left ledgers to be corrected; run the last date again")
        tables = []
    records = (
        ()
        if retention.runs_days is None
        else (
            *_old_names(out, runs_folder(out), _RUN, "%Y%m%d", retention.runs_days),
            *_old_names(out, register_folder(out), _REGISTER, "%Y-%m-%d", retention.runs_days),
        )
    )
    exports = list(_old_exports(out, retention, as_of, notes))
    return Old(tuple(tables), tuple(records), tuple(exports), tuple(notes), _read_begun(out))


def remove_old(config: Config, old: Old) -> None:
    """Remove what `find_old` found; call it under the lock of the output root.

    The manifest of a date and the tables of a format follow; a date of which no table is left goes as a whole. A date
    whose features, scores, definitions or memberships go has no ledger any more: later ledgers stay as they are, and a
    run of the next date again begins without it.

    Raises:
        TamisError: The disk is failing, or the tables of a format cannot be reached: calling it again goes on.
    """
    out = Path(config.out)
    going = tuple(dict.fromkeys((*old.begun, *((one.table, one.as_of) for one in old.tables))))
    if going:
        # Once a manifest is without a table, nothing else tells what may be left of it elsewhere.
        durable_json({"tables": [[table, day.isoformat()] for table, day in going]}, _note(out))
        for day in sorted({one.as_of for one in old.tables}):
            _drop(out, day, [one.table for one in old.tables if one.as_of == day])
        _remove_beside(config, going)
        disk.remove_file(_note(out))
    for name in old.records:
        disk.remove_file(out / name)
    _remove_exports(out, old.exports)


def _remove_beside(config: Config, going: Sequence[tuple[str, date]]) -> None:
    """What is left of tables of dates that manifests do not have any more: in formats, in a store, the date itself."""
    out, url = Path(config.out), str(config.publish.url or "")
    if config.publish.format != "parquet" or is_remote(url):
        commit_published(config)
    if config.publish.format == "parquet" and is_remote(url):
        from engine.formats.erasure_uploaded import remove_tables

        remove_tables(url, going)
    for day in sorted({day for _, day in going}):
        path = manifest_path(out, day)
        if path.exists() and not read_manifest(path).tables:
            remove_date(out, day, work_folder(out, "retention"))


def _note(out: Path) -> Path:
    return work_root(out) / "retention.json"


def _read_begun(out: Path) -> tuple[tuple[str, date], ...]:
    path = _note(out)
    if not path.exists():
        return ()
    try:
        found = [(str(table), date.fromisoformat(day)) for table, day in json.loads(path.read_bytes())["tables"]]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(
            f"{path} is no note of a retention",
            code="retention-note",
            hint="It was changed or damaged. Remove it; files of tables that are not published any more may be left in "
            "an object store.",
        ) from error
    # A date that was run again since is published anew: its tables are kept, or go by their own age.
    return tuple((table, day) for table, day in found if not _is_there(out, table, day))


def _is_there(out: Path, table: str, day: date) -> bool:
    path = manifest_path(out, day)
    return path.exists() and any(one.name == table for one in read_manifest(path).tables)


def _drop(out: Path, day: date, names: Sequence[str]) -> None:
    manifest = read_manifest(manifest_path(out, day))
    kept = tuple(table for table in manifest.tables if table.name not in names)
    counts = dict(manifest.counts)
    if set(names) & {*READ, *LEDGER}:
        counts.pop("ledger", None)
    before = counts.get("removed_tables", [])
    removed: list[JsonValue] = [*sorted({*map(str, before if isinstance(before, list) else []), *names})]
    counts["removed_tables"] = removed
    work = work_folder(out, manifest.run_id)
    disk.make_folder(work)
    publish_part(work, out, replace(manifest, tables=kept, counts=counts), ())


def _old_tables(out: Path, retention: Retention) -> Iterator[OldTable]:
    dates = published_dates(out)
    if not dates or not retention.tables:
        return
    for day in dates[:-1]:
        limits = {name for name, days in retention.tables.items() if dates[-1] - day > timedelta(days=days)}
        if limits:
            for table in read_manifest(manifest_path(out, day)).tables:
                if table.name in limits:
                    yield OldTable(table.name, day, table.rows, table.files, table.bytes)


def _old_names(out: Path, folder: Path, pattern: re.Pattern[str], form: str, days: int) -> list[str]:
    found = {path: match for path in disk.list_folder(folder) if (match := pattern.fullmatch(path.name))}
    dated = {path: datetime.strptime(match[1], form).date() for path, match in found.items()}  # noqa: DTZ007 - a day
    newest = max(dated.values(), default=None)
    if newest is None:
        return []
    old = [path for path, day in dated.items() if newest - day > timedelta(days=days)]
    return [path.relative_to(out).as_posix() for path in old]


def _old_exports(out: Path, retention: Retention, as_of: date, notes: list[str]) -> Iterator[OldFile]:
    if retention.exports_days is None:
        return
    for path, listed in standing_files(listed_exports(out)).items():
        if as_of - listed.at.date() <= timedelta(days=retention.exports_days):
            continue
        file = next(one for one in listed.files if one.path == path)
        if _sha256(Path(path)) != file.sha256:
            notes.append(f"{path} stays: it is not what the export {listed.export} wrote")
            continue
        yield OldFile(path, listed.export, file.rows)


def _remove_exports(out: Path, old: Sequence[OldFile]) -> None:
    for listed in listed_exports(out):
        own = [one.path for one in old if one.export == listed.export]
        if not own:
            continue
        for path in own:
            disk.remove_file(Path(path))
        forget_files(out, listed, own)
        folder = Path(listed.to)
        if [path.name for path in disk.list_folder(folder)] == [RECORD]:
            disk.remove_tree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
