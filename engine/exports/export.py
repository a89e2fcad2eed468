"""`tamis export`: the users of segments as files that an e-mail tool imports, and where every user of them went."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config
from engine.erasure.first import finish_erasures_first
from engine.errors import ConfigError
from engine.events.files import find_files
from engine.exports import tools
from engine.exports.cells import csv_lines
from engine.exports.consents import agreed_users
from engine.exports.files import RECORD, CsvFiles, export_folder, export_target, file_stem
from engine.exports.listing import listing
from engine.exports.people import (
    LEFT_OUT,
    ROWS_PER_RANGE,
    WITHOUT_CONSENT,
    Kind,
    Unit,
    count_members,
    emptied,
    id_ranges,
    with_refusals,
)
from engine.exports.plan import Plan, plan_export
from engine.exports.record import REASONS, ExportRecord, Request, UnitRecord, check_record
from engine.exports.shared import Overlap, Source, find_overlap, first_of_each, read_all, shared_with, without_members
from engine.exports.suppression import suppression_files
from engine.progress import Progress, track
from engine.remote.fetch import fetched_as
from engine.stages.permits_now import suppressed_now
from engine.suggest import did_you_mean, some_of
from engine.tables.durable import durable_json
from engine.why.published import NEEDED, Published, open_published

_OF_COLUMNS: Final = frozenset({"features", "scores"})
"""Published tables whose rows are read where columns of theirs are written."""


@dataclass
class _Tally:
    """What is known of a unit so far."""

    files: CsvFiles
    users: int = 0
    written: int = 0
    left_out: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    clipped: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    emptied: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    seen: set[str] = field(default_factory=set)


def export_segments(
    config: Config, request: Request, *, progress: Progress | None = None, rows_per_range: int = ROWS_PER_RANGE
) -> ExportRecord:
    """Write the users of segments in the format of a tool, with the contacts as they are now.

    Users are read in ranges of their ids, so memory does not grow with their number, but for 8 bytes each that find
    addresses which several have. The folder is there as a whole or not at all.

    Args:
        config: With `[exports]` and `[contacts]`.
        request: What is to be exported.
        progress: Told about finished ranges.
        rows_per_range: Users that are read at one time; it changes no byte.

    Raises:
        ConflictError: An erasure is under way.
        ConfigError: A segment that is not published, a configuration that lacks what the tool needs, suppression lists
            that cannot be read, a folder that cannot be used; nothing was written.
        DataError: Contacts that cannot be read, or with two rows for one user.
        IntegrityError: Published files are missing or changed, or users got lost.
        ResourceError: The disk is full or failing.
    """
    out = Path(config.out)
    finish_erasures_first(config)
    target = export_target(request.to, out, overwrite=request.overwrite)
    needed = (*NEEDED, "membership_changes") if request.changes else NEEDED
    published = open_published(out, request.as_of, needed)
    units = _units(published, request)
    lists = suppression_files(config.exports.suppress, request.suppress)
    user_dtype = published.schema("features")["user_id"]
    with _contact_files(config) as files, agreed_users(config, published.as_of, user_dtype) as agreed:
        plan = replace(plan_export(config, published, request.tool, files), agreed=agreed)
        written_of = {table for table, _, _ in plan.published}
        published.check_contents([name for name in needed if name not in _OF_COLUMNS or name in written_of])
        headers = [name for name in (config.exports.email, plan.user_id) if name]
        suppressed = suppressed_now(config, lists, headers, user_dtype)
        plan = with_refusals(config, plan, suppressed)
        source = Source(published, plan, units, suppressed, tuple(id_ranges(published, rows_per_range)))
        overlap = find_overlap(source, progress)
        purposes = () if config.consent is None else config.consent.exports
        with (
            listing(out, published, request.tool, target, purposes) as list_files,
            export_folder(target, config.exports.readable_by, overwrite=request.overwrite) as folder,
        ):
            record = ExportRecord(
                tool=request.tool,
                as_of=published.as_of,
                run_id=published.manifest.run_id,
                to=str(request.to),
                units=_write(source, overlap, folder, progress),
                suppression=source.suppressed.files,
            )
            check_record(record, count_members(published, {unit.segment for unit in units}))
            names = [{"name": file.name, "sha256": file.sha256} for unit in record.units for file in unit.files]
            durable_json({**record.to_dict(), "to": target.name, "files": names}, folder / RECORD)
            list_files(record)
    return record


@contextmanager
def _contact_files(config: Config) -> Iterator[list[str]]:
    """Local paths of the contacts' files, for as long as they are read."""
    files = () if config.contacts is None else find_files("contacts", config.contacts.path)
    with fetched_as(files) as local:
        yield [str(file) for file in local]


def _units(published: Published, request: Request) -> tuple[Unit, ...]:
    names = [segment.name for segment in published.segments]
    wanted: list[str] = []
    unknown = []
    for name in request.segments:
        found = next((known for known in names if known == unicodedata.normalize("NFC", name)), None)
        if found is None:
            unknown.append(f"no segment {name!r} on {published.as_of}{did_you_mean(name, names)}")
        elif found not in wanted:
            wanted.append(found)
    if unknown or not wanted:
        raise ConfigError(
            "\n".join(unknown) or "expected segments to export, got none",
            code="segment-unknown",
            hint=f"Segments: {some_of(names, command='tamis segments list')}."
            if names
            else "The date was scored without segments.",
        )
    kinds: tuple[Kind, ...] = ("members", "entries", "exits") if request.changes else ("members",)
    units = tuple(Unit(name, kind) for name in wanted for kind in kinds)
    stems = [file_stem(unit.segment, unit.kind, published.as_of) for unit in units]
    # Some file systems take names that differ in capitals alone for one.
    plain = [stem.casefold() for stem in stems]
    double = sorted({stem for stem in plain if plain.count(stem) > 1})
    if double:
        raise ConfigError(
            f"two segments would have one file: {', '.join(f'{stem}.csv' for stem in double)}",
            code="export-names",
            hint="Export them into two folders.",
        )
    return units


def _write(source: Source, overlap: Overlap, folder: Path, progress: Progress | None) -> tuple[UnitRecord, ...]:
    plan = source.plan
    header = _header(plan)
    tallies: dict[Unit, _Tally] = {}
    staying: defaultdict[str, list[pl.Series]] = defaultdict(list)
    try:
        for unit in source.units:
            stem = file_stem(unit.segment, unit.kind, source.published.as_of)
            tallies[unit] = _Tally(CsvFiles(folder, stem, header, tools.most_bytes(plan), plan.exports.readable_by))
        present = [unit for unit in source.units if unit.kind != "exits"]
        for unit, rows in read_all(source, present, track(progress, "writing members", len(source.ranges))):
            if unit.kind == "members" and unit.segment in overlap.leaving:
                staying[unit.segment].append(shared_with(rows, overlap.leaving[unit.segment]))
            _write_rows(plan, unit, rows, overlap, tallies[unit])
        gone = [unit for unit in source.units if unit.kind == "exits"]
        # Told last: an address of somebody who left may belong to somebody who stays.
        if gone:
            for unit, rows in read_all(source, gone, track(progress, "writing exits", len(source.ranges))):
                leaving = without_members(rows, staying[unit.segment])
                _write_rows(plan, unit, leaving, overlap, tallies[unit])
        reasons = REASONS if plan.agreed is None else (*REASONS, WITHOUT_CONSENT)
        return tuple(_record(unit, tally, reasons) for unit, tally in tallies.items())
    finally:
        for tally in tallies.values():
            tally.files.abandon()


def _header(plan: Plan) -> str:
    top = tools.header(plan)
    names = pl.DataFrame([top], schema=[str(place) for place in range(len(top))], orient="row")
    line: str = csv_lines(names, tools.separator(plan))[0]
    return tools.beginning(plan) + line


def _write_rows(plan: Plan, unit: Unit, rows: pl.DataFrame, overlap: Overlap, tally: _Tally) -> None:
    if plan.exports.duplicates == "first":
        rows = first_of_each(rows, overlap.repeated.get(unit), tally.seen)
    chosen = rows.filter(pl.col(LEFT_OUT).is_null())
    tally.users += rows.height
    tally.written += chosen.height
    for reason, users in rows.drop_nulls(LEFT_OUT)[LEFT_OUT].value_counts().iter_rows():
        tally.left_out[reason] += users
    for column in (*plan.names, *plan.columns):
        if emptied(column.name) in chosen.columns and (cells := int(chosen[emptied(column.name)].sum())):
            tally.emptied[column.header] += cells
    found, cut = tools.clip(plan, tools.cells(plan, chosen))
    for name, cells in cut.items():
        tally.clipped[name] += cells
    tally.files.write(csv_lines(found, tools.separator(plan)))


def _record(unit: Unit, tally: _Tally, reasons: Sequence[str]) -> UnitRecord:
    left_out = {reason: tally.left_out[reason] for reason in reasons}
    files = tuple(tally.files.close())
    cells = dict(tally.clipped), dict(tally.emptied)
    return UnitRecord(unit.segment, unit.kind, tally.users, tally.written, left_out, *cells, files)
