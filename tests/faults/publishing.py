"""Small publishes, byte for byte the same each time, and what readers see of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from engine.tables import disk, layout
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import discard, publish, publish_part
from engine.tables.snapshot import snapshot
from engine.tables.workspace import workspace
from tests.tables.samples import AS_OF, Segments, stage, stage_plain

EARLIER = date(2017, 12, 1)
LEDGER = ("membership_history", "membership_changes", "memberships")
OLD: Segments = {"loyal": [1, 2, 3], "Île-de-France": [4], "lost / gone": [5, 6]}
NEW: Segments = {"loyal": [1, 4], "new": [2, 3, 7, 8], "Île-de-France": [5], "rest": [6]}
OLD_TABLES = ("rejects", "drift", "features", "scores", *LEDGER)
NEW_TABLES = ("drift", "features", "scores", "points", *LEDGER, "segment_kpis")

Bytes = Mapping[str, bytes]


@dataclass(frozen=True)
class Run:
    """A run: its manifest, and the staged files by their paths."""

    manifest: Manifest
    files: Bytes
    part: tuple[str, ...] | None = None

    @property
    def segments(self) -> dict[str, bytes]:
        return {path: content for path, content in self.files.items() if path.startswith("segments/")}

    def stage(self, work: Path) -> None:
        for path, content in self.files.items():
            disk.make_folder((work / path).parent)
            with disk.replacing(work / path) as handle:
                handle.write(content)
                disk.sync_file(handle, work / path)

    def publish(self, out: Path) -> None:
        """The whole run: alone under the lock, staged and published; a part as the correction of a ledger does it."""
        if self.part is None:
            with workspace(out, self.manifest.run_id) as work:
                self.stage(work)
                publish(work, out, self.manifest)
            return
        with workspace(out, "another-date"):
            work = layout.work_folder(out, self.manifest.run_id)
            disk.make_folder(work)
            try:
                self.stage(work)
                publish_part(work, out, self.manifest, self.part)
            finally:
                discard(work)


def a_run(
    scratch: Path, run_id: str, segments: Segments, tables: tuple[str, ...], as_of: date = AS_OF, first: int = 0
) -> Run:
    shifted = {name: [first + user for user in users] for name, users in segments.items()}
    manifest = stage(scratch, run_id, shifted, plain=tables, as_of=as_of)
    return Run(manifest, _files(scratch, run_id))


def a_part(scratch: Path, whole: Run) -> Run:
    """The ledger of a run, made anew."""
    run_id = whole.manifest.run_id
    disk.remove_tree(layout.work_folder(scratch, run_id))
    made = {name: stage_plain(scratch, run_id, name, [7, 9]) for name in LEDGER[1:]}
    tables = {table.name: table for table in whole.manifest.tables if table.name not in LEDGER} | made
    ordered = tuple(tables[name] for name in layout.TABLES if name in tables)
    manifest = replace(whole.manifest, tables=ordered, counts={"ledger": "made anew"})
    return Run(manifest, _files(scratch, run_id), part=LEDGER)


def _files(scratch: Path, run_id: str) -> dict[str, bytes]:
    work = layout.work_folder(scratch, run_id)
    return {path: (work / path).read_bytes() for path in disk.list_files(work)}


def listed(out: Path, as_of: date = AS_OF, table: str = "segments") -> dict[str, bytes]:
    """What a reader finds who lists one table of a date and opens what is there."""
    found = sorted(layout.table_folder(out, table, as_of).glob("**/*.parquet"))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def followed(out: Path, as_of: date = AS_OF) -> tuple[Manifest, dict[str, bytes]] | None:
    """What a reader finds who opens all files of all tables that the manifest names."""
    found = snapshot(out, as_of)
    return found and (found.manifest, {path: file.read_bytes() for path, file in found.files.items()})


def recorded(out: Path, as_of: date = AS_OF) -> Manifest | None:
    path = layout.manifest_path(out, as_of)
    return read_manifest(path) if path.exists() else None


def prepared(out: Path, runs: tuple[Run, ...]) -> None:
    for run in runs:
        run.publish(out)


Runs = Callable[[Path], tuple[tuple[Run, ...], Run]]


def new_date(scratch: Path) -> tuple[tuple[Run, ...], Run]:
    """An earlier date is published."""
    earlier = a_run(scratch, "earlier", OLD, OLD_TABLES, EARLIER, first=20)
    return (earlier,), a_run(scratch, "new", NEW, NEW_TABLES)


def same_date(scratch: Path) -> tuple[tuple[Run, ...], Run]:
    """An earlier date is published, and the date itself, with other tables and segments."""
    (earlier,), new = new_date(scratch)
    return (earlier, a_run(scratch, "old", OLD, OLD_TABLES, first=40)), new


def ledger_of_a_date(scratch: Path) -> tuple[tuple[Run, ...], Run]:
    """Some tables of a published date are replaced, and one of them is removed."""
    (earlier,), new = new_date(scratch)
    return (earlier, new), a_part(scratch, new)
