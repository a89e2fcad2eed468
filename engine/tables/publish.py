"""From staged tables to published ones: a reader sees the old run or the new one, whenever the process may die.

A run stages its tables in its work folder and then publishes them in these steps, each durable before the next:

1. The staged tables are checked against the manifest.
2. The manifest is written into the work folder as `commit.json`. From here on the run counts: whoever finds the file
   carries the rest out.
3. Partitions that the published folder does not have yet are made there, empty, and readers are given a moment.
4. Per table, the staged `as_of=` folder and the published one change places. Segments come last.
5. The manifest is written to `_manifests/`.
6. The work folder, which now holds the tables of the old run, is removed.

Step 3 is for readers that list a folder and then, by path, the folders in it: one that lists the old folder and then
the new ones below it would not look into a new partition, and miss its rows without a word. A listing that takes
longer than `LISTING_SECONDS` can still do so; it is safe with the manifest's file names. Any other mixed listing names
files that are gone, since names follow from contents: list again.

Each table changes in one instant. Between the first and the last, a reader of several tables can see two runs side by
side for some milliseconds; one that needs them to agree takes the file names from the manifest, and starts again
when a name is not there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from datetime import date
from pathlib import Path, PurePosixPath

from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import canonical_json, durable_json
from engine.tables.exchange import exchange
from engine.tables.layout import (
    TABLES,
    bundles_folder,
    manifest_path,
    manifests_folder,
    table_folder,
    work_folder,
    work_root,
)
from engine.tables.manifest import Manifest, TableRecord, manifest_from_json, manifest_to_json, read_manifest
from engine.tables.verify import table_problems, verify_table

LISTING_SECONDS = 0.1
"""Time for a reader to finish listing the folders of one table and date."""

_INTENT = "commit.json"
_RETIRED = "_retired"


def publish(staging: Path, out: Path, manifest: Manifest, *, deep: bool = False) -> None:
    """Replaces all tables of `manifest.as_of` below `out` by the staged ones; call it under `writer_lock`.

    A table of that date which the manifest does not list is removed. Afterwards the work folder is gone.

    Args:
        staging: The run's work folder, `work_folder(out, manifest.run_id)`, with `<table>/as_of=…/` as in `out`.
        out: The output root.
        manifest: What is staged.
        deep: Read every staged file again and compare its SHA-256.

    Raises:
        IntegrityError: The staged files are not those of the manifest; nothing was published.
        ConfigError: The output folder cannot be written to.
        ResourceError: The disk is full or failing. After step 2 the next `recover` completes the publish.
    """
    _publish(staging, out, manifest, {table.name for table in manifest.tables}, deep=deep)


def publish_part(staging: Path, out: Path, manifest: Manifest, names: Collection[str]) -> None:
    """Replaces some tables of a date that is published already, and its manifest; call it under `writer_lock`.

    As `publish`, and as safe: a run that dies in it is completed by `recover`.

    Args:
        staging: The work folder of the manifest's run, with those of the named tables that the manifest lists.
        out: The output root.
        manifest: All tables of the date as they shall be: the named ones as they are staged, the others as they are
            published. A named table that it does not list is removed.
        names: The tables.

    Raises:
        TamisError: As `publish`.
    """
    _publish(staging, out, manifest, {table.name for table in manifest.tables} & set(names), deep=False)


def recover(out: Path) -> tuple[str, ...]:
    """Puts `out` in order after runs that did not end; call it under `writer_lock` before anything else.

    A run that had come to its `commit.json` is completed; what others left is removed. Calling it again, or dying in
    it, is harmless.

    Returns:
        The ids of the runs that were completed.

    Raises:
        IntegrityError: A publish cannot be completed because its files are gone or damaged.
    """
    completed = []
    for work in sorted(folder for folder in _entries(work_root(out)) if folder.is_dir()):
        if discard(work):
            continue
        manifest = read_manifest(work / _INTENT)
        _carry_out(work, out, manifest, _not_yet_switched(work, out, manifest))
        completed.append(manifest.run_id)
    for path in _entries(work_root(out)):
        if disk.is_temporary(path.name):
            disk.remove_file(path)
    for folder in (manifests_folder(out), bundles_folder(out)):
        sweep_temporary(folder)
    return tuple(completed)


def discard(work: Path) -> bool:
    """Removes a work folder, unless its publish has begun: then it stays for `recover`, which completes it.

    Whatever ends a run early (an error, Ctrl-C) must come through here: to remove a folder with a `commit.json` would
    leave the tables of two runs side by side for good.

    Returns:
        Whether the folder is gone.
    """
    if (work / _INTENT).exists():
        return False
    disk.remove_tree(work)
    return True


def sweep_temporary(folder: Path) -> None:
    """Removes what killed attempts left half-written anywhere below `folder`."""
    for name in disk.list_files(folder):
        path = folder / name
        if disk.is_temporary(path.name):
            disk.remove_file(path)


def _publish(staging: Path, out: Path, manifest: Manifest, names: set[str], *, deep: bool) -> None:
    if staging != work_folder(out, manifest.run_id):
        message = f"staging must be {work_folder(out, manifest.run_id)}, got {staging}"
        raise ValueError(message)
    # What is about to be carried out must also be readable by whoever has to finish it.
    manifest_from_json(canonical_json(manifest_to_json(manifest)), "the manifest")
    sweep_temporary(staging)
    for table in manifest.tables:
        if table.name in names:
            verify_table(staging, table, deep=deep)
    _sync_tree(staging)
    for folder in (work_root(out), out):
        disk.sync_folder(folder)
    durable_json(manifest_to_json(manifest), staging / _INTENT)
    _carry_out(staging, out, manifest, names)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _sync_tree(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        disk.sync_folder(Path(parent))


def _carry_out(work: Path, out: Path, manifest: Manifest, to_switch: set[str]) -> None:
    tables = {table.name: table for table in manifest.tables}
    announced = [folder for name in sorted(to_switch) for folder in _announce(out, tables[name])]
    if announced:
        time.sleep(LISTING_SECONDS)
    for name in TABLES:
        if name not in tables:
            _retire(work, out, name, manifest.as_of)
        elif name in to_switch:
            _switch(work, out, tables[name])
    durable_json(manifest_to_json(manifest), manifest_path(out, manifest.as_of))
    # Without its intent the rest of the folder is rubbish to whoever finds it.
    disk.remove_file(work / _INTENT)
    disk.sync_folder(work)
    disk.remove_tree(work)


def _announce(out: Path, table: TableRecord) -> list[Path]:
    live = out / table.path
    if not live.exists():
        return []
    folders = sorted({out / PurePosixPath(record.path).parent for record in table.records})
    missing = [folder for folder in folders if not folder.exists()]
    for folder in missing:
        disk.make_folder(folder)
    return missing


def _switch(work: Path, out: Path, table: TableRecord) -> None:
    staged, live = work / table.path, out / table.path
    if live.exists():
        exchange(staged, live)
        return
    disk.make_folder(live.parent)
    disk.rename(staged, live)
    for folder in (live.parent, out):
        disk.sync_folder(folder)


def _retire(work: Path, out: Path, name: str, as_of: date) -> None:
    # Moved before it is deleted, so that it is never seen with some of its files gone.
    live = table_folder(out, name, as_of)
    if live.exists():
        disk.make_folder(work / _RETIRED)
        disk.rename(live, work / _RETIRED / name)
        disk.sync_folder(live.parent)


def _not_yet_switched(work: Path, out: Path, manifest: Manifest) -> set[str]:
    # Contents are compared, not only names: the machine itself may have crashed.
    names = set()
    for table in manifest.tables:
        if not table_problems(out, table, deep=True):
            continue
        staged = table_problems(work, table, deep=True)
        if staged:
            lines = "\n".join(f"  {problem}" for problem in staged)
            message = (
                f"run {manifest.run_id} cannot be completed, neither {out} nor {work} has its {table.name}:\n{lines}"
            )
            hint = f"remove {work} and run as_of {manifest.as_of} again: it replaces every table of that date"
            raise IntegrityError(message, code="publish-incomplete", hint=hint)
        names.add(table.name)
    return names
