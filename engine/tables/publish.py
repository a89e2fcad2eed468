"""From staged tables to published ones: a reader sees the old run or the new one, whenever the process may die.

A run stages its tables in its work folder and then publishes them in these steps, each durable before the next:

1. The staged tables are moved to `_sealed/` in the work folder, where no late attempt of a task looks for them, get
   their `_SUCCESS`, and are checked against the manifest.
2. The manifest is written into the work folder as `commit.json`. From here on the run counts: whoever finds the file
   carries the rest out.
3. Partitions that the published folder does not have yet are made there, empty, and readers are given a moment.
4. Per table, the sealed `as_of=` folder and the published one change places. Segments come last.
5. `commit.json` becomes the manifest in `_manifests/`: one rename, which only one run can do.
6. The work folder, which now holds the tables of the old run, is removed, after another such moment.

Before each step the run makes sure that it still has the lock (`engine.tables.lock`): one that lost it stops.

Step 3 is for readers that list a folder and then, by path, the folders in it: one that lists the old folder and then
the new ones below it would not look into a new partition, and miss its rows without a word. The moment of step 6 is
for those that have a folder of the old run open, and would find it empty. A listing that takes longer than
`LISTING_SECONDS` can still meet either; it is safe with the manifest's file names. Any other mixed listing names files
that are gone, since names follow from contents: list again.

Each table changes in one instant. Between the first and the last, a reader of several tables can see two runs side by
side for some milliseconds; one that needs them to agree asks `engine.tables.snapshot`, which finds every file of one
run at any moment, also while a publish is under way or after it was cut short.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path, PurePosixPath

from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import canonical_json, durable_json
from engine.tables.exchange import exchange
from engine.tables.layout import (
    SUCCESS,
    TABLES,
    bundles_folder,
    manifest_path,
    manifests_folder,
    table_folder,
    work_folder,
    work_root,
)
from engine.tables.lock import check_held, is_held
from engine.tables.manifest import Manifest, TableRecord, manifest_from_json, manifest_to_json, read_manifest
from engine.tables.verify import table_problems, verify_table

LISTING_SECONDS = 0.1
"""Time for a reader to finish listing the folders of one table and date."""

INTENT = "commit.json"
SEALED = "_sealed"
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
        ConflictError: Another run took over, or something else removed files of this one.
    """
    _exhaust(publish_steps(staging, out, manifest, {table.name for table in manifest.tables}, deep=deep))


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
    _exhaust(publish_steps(staging, out, manifest, {table.name for table in manifest.tables} & set(names)))


def success_marker(folder: Path) -> None:
    """Makes the empty `_SUCCESS` by which tools of the Hadoop family know a folder that is complete."""
    disk.create_empty(folder / SUCCESS)


def recover(out: Path, keep: Path | None = None) -> tuple[str, ...]:
    """Puts `out` in order after runs that did not end; call it under `writer_lock` before anything else.

    A run that had come to its `commit.json` is completed; what others left is removed. Calling it again, or dying in
    it, is harmless.

    Args:
        out: The output root.
        keep: A work folder to leave as it is, unless its run had begun to publish.

    Returns:
        The ids of the runs that were completed.

    Raises:
        IntegrityError: A publish cannot be completed because its files are gone or damaged.
    """
    completed = []
    works = [path for path in disk.list_folder(work_root(out)) if path.is_dir()]
    for work in works:
        if work == keep and not ((work / INTENT).exists() or (work / SEALED).exists()):
            continue
        if discard(work):
            continue
        manifest = read_manifest(work / INTENT)
        to_switch = _not_yet_switched(work, out, manifest)
        # What a process that was killed renamed may not be on stable storage yet.
        for folder in (out, *(out / name for name in TABLES)):
            if folder.is_dir():
                disk.sync_folder(folder)
        _exhaust(_carry_out(work, out, manifest, to_switch))
        completed.append(manifest.run_id)
    for path in disk.list_folder(work_root(out)):
        if disk.is_temporary(path.name):
            disk.remove_file(path)
    for folder in (manifests_folder(out), bundles_folder(out)):
        sweep_temporary(folder)
    return tuple(completed)


def discard(work: Path) -> bool:
    """Removes a work folder, unless its publish has begun: then it stays for `recover`, which completes it.

    Whatever ends a run early (an error, Ctrl-C) must come through here: to remove a folder with a `commit.json` would
    leave the tables of two runs side by side for good. A run that lost the lock leaves its folder to the next.

    Returns:
        Whether the folder is gone.
    """
    if (work / INTENT).exists() or not is_held(work.parents[1]):
        return False
    out = work.parents[1]
    if (work / SEALED).exists() and manifests_folder(out).is_dir():
        # Its intent may have become the manifest just before the run died: then that must last longer than the folder.
        for folder in (manifests_folder(out), out):
            disk.sync_folder(folder)
    _remove(work)
    return True


def sweep_temporary(folder: Path) -> None:
    """Removes what killed attempts left half-written anywhere below `folder`."""
    for name in disk.list_files(folder):
        path = folder / name
        if disk.is_temporary(path.name):
            disk.remove_file(path)


def publish_steps(
    staging: Path, out: Path, manifest: Manifest, names: set[str], *, deep: bool = False
) -> Iterator[None]:
    """The steps of `publish`, one at each `next`, in the order of this module's description; 4 takes one per table."""
    if staging != work_folder(out, manifest.run_id):
        message = f"staging must be {work_folder(out, manifest.run_id)}, got {staging}"
        raise ValueError(message)
    # What is about to be carried out must also be readable by whoever has to finish it.
    manifest_from_json(canonical_json(manifest_to_json(manifest)), "the manifest")
    check_held(out)
    tables = [table for table in manifest.tables if table.name in names]
    _seal(staging, tables)
    for table in tables:
        verify_table(staging / SEALED, table, deep=deep)
    disk.sync_tree(staging)
    for folder in (work_root(out), out):
        disk.sync_folder(folder)
    yield
    check_held(out)
    if not (staging / SEALED).is_dir():
        raise disk.removed_meanwhile(staging)
    durable_json(manifest_to_json(manifest), staging / INTENT)
    yield
    yield from _carry_out(staging, out, manifest, names)


def _exhaust(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def _seal(staging: Path, tables: list[TableRecord]) -> None:
    sealed = staging / SEALED
    disk.make_folder(sealed)
    for table in tables:
        if (staging / table.name).exists():
            disk.rename(staging / table.name, sealed / table.name)
    sweep_temporary(sealed)
    for table in tables:
        if (sealed / table.path).is_dir():
            success_marker(sealed / table.path)


def _carry_out(work: Path, out: Path, manifest: Manifest, to_switch: set[str]) -> Iterator[None]:
    tables = {table.name: table for table in manifest.tables}
    check_held(out)
    announced = [folder for name in sorted(to_switch) for folder in _announce(out, tables[name])]
    if announced:
        time.sleep(LISTING_SECONDS)
    yield
    for name in TABLES:
        check_held(out)
        if name not in tables:
            _retire(work, out, name, manifest.as_of)
        elif name in to_switch:
            _switch(work, out, tables[name])
        yield
    check_held(out)
    _record(work, out, manifest.as_of)
    yield
    # Without its intent the folder is rubbish to whoever finds it.
    if is_held(out):
        _remove(work)


def _remove(work: Path) -> None:
    # What was published until now may be open in a reader that is about to list it.
    replaced = [work / _RETIRED, *disk.list_folder(work / SEALED)]
    if any(disk.list_folder(folder) for folder in replaced):
        time.sleep(LISTING_SECONDS)
    disk.remove_tree(work)


def _record(work: Path, out: Path, as_of: date) -> None:
    path = manifest_path(out, as_of)
    disk.make_folder(path.parent)
    try:
        disk.rename(work / INTENT, path)
    except FileNotFoundError as error:
        raise disk.removed_meanwhile(work / INTENT) from error
    for folder in (path.parent, work):
        disk.sync_folder(folder)


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
    staged, live = work / SEALED / table.path, out / table.path
    try:
        if live.exists():
            exchange(staged, live)
            return
        disk.make_folder(live.parent)
        disk.rename(staged, live)
    except FileNotFoundError as error:
        raise disk.removed_meanwhile(live if staged.exists() else staged) from error
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
        staged = table_problems(work / SEALED, table, deep=True)
        if staged:
            lines = "\n".join(f"  {problem}" for problem in staged)
            message = (
                f"run {manifest.run_id} cannot be completed, neither {out} nor {work} has its {table.name}:\n{lines}"
            )
            hint = f"remove {work} and run as_of {manifest.as_of} again: it replaces every table of that date"
            raise IntegrityError(message, code="publish-incomplete", hint=hint)
        names.add(table.name)
    return names
