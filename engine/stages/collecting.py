"""What under an output root is not needed any more: old dates, bundles that nothing uses, and what killed runs left.

What goes is worked out first (`plan_collection`), from manifests and names alone, and then removed under the lock of
the output root. Files that Tamis does not know are never touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

from engine.bundle import is_bundle_id
from engine.bundle_pointer import Act, read_acts, state_of, write_acts
from engine.errors import IntegrityError, TamisError
from engine.ledger.cascade import pending_correction
from engine.remote.fetch import cache_folder, clear, leavings
from engine.rollups.index import INDEX_NAME, read_index
from engine.rollups.update import store_folder, sweep
from engine.stages.verifying import published_folders
from engine.tables import disk
from engine.tables.collect import move_away, remove_date
from engine.tables.layout import SUCCESS, TABLES, bundles_folder, manifest_path, table_folder, work_root
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import INTENT
from engine.tables.workspace import workspace
from engine.why.published import published_dates

Kind = Literal["date", "orphan", "bundle", "work", "rollup", "fetched"]
_RUN: Final = "gc"


@dataclass(frozen=True)
class Item:
    """Something that is not needed.

    Attributes:
        kind: `date`: a published date; `orphan`: a table's folder or file that no manifest names; `bundle`; `work`: the
            folder of a run that was killed; `rollup`: files of the store that its index does not name; `fetched`:
            copies of files of object stores, left by a run that was killed.
        name: The date, or the path relative to the output root.
        files, bytes: How much it is.
    """

    kind: Kind
    name: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Collected:
    """What goes, what stays, and what a person should know.

    Attributes:
        items: What goes, in the order in which it goes.
        kept: Published dates that stay, ascending.
        notes: Why something stays that was asked to go, or cannot be judged.
    """

    items: tuple[Item, ...]
    kept: tuple[date, ...]
    notes: tuple[str, ...]


def plan_collection(out: Path, *, keep_days: int | None = None, keep_dates: int | None = None) -> Collected:
    """What `collect` would remove.

    A date goes when it is neither among the last `keep_dates` published ones nor at most `keep_days` days older than
    the newest one; a limit that is None keeps nothing. Without any limit no date goes. The newest one always stays.

    A later date is not harmed: its ledger tells what it was made from. What it tells of is gone, though: reasons,
    validations and histories that reach back to the removed dates.

    Args:
        out: The output root.
        keep_days: Age in days, counted from the newest published date: never from today.
        keep_dates: Number of dates.
    """
    dates = published_dates(out)
    notes: list[str] = []
    old = _old(dates, keep_days, keep_dates)
    if old and pending_correction(out) is not None:
        notes.append("no date is removed: a run that was killed left ledgers to be corrected; run the last date again")
        old = []
    kept = [day for day in dates if day not in old]
    items = [_sized("date", day.isoformat(), _paths_of(out, day)) for day in old]
    manifests = {}
    for day in kept:
        try:
            manifests[day] = read_manifest(manifest_path(out, day))
        except (IntegrityError, OSError):
            notes.append(f"nothing of {day} is looked at: its manifest cannot be read")
    items += _orphans(out, dates, manifests)
    if len(manifests) == len(kept):
        items += _bundles(out, manifests, notes)
    else:
        notes.append("no bundle is removed: which ones are used is not known")
    items += [
        _sized("work", _relative(path, out), [path])
        for path in disk.list_folder(work_root(out))
        if path.is_dir() and not (path / INTENT).exists() and path.name != _RUN
    ]
    items += _rollups(out, notes)
    items += _fetched(out)
    return Collected(tuple(items), tuple(kept), tuple(notes))


def collect(out: Path, *, keep_days: int | None = None, keep_dates: int | None = None) -> Collected:
    """Remove what is not needed; see `plan_collection`, with what is found once the lock is held.

    Raises:
        ConflictError: Another run is writing to `out`.
        IntegrityError: A publish that was cut short cannot be completed.
        ResourceError: The disk is failing. What was not removed yet is found again.
    """
    left = [item for item in plan_collection(out).items if item.kind == "work"]
    with workspace(out, _RUN) as work:
        # Taking the lock has completed or removed what killed runs left.
        swept = [item for item in left if not (out / item.name).exists()]
        plan = plan_collection(out, keep_days=keep_days, keep_dates=keep_dates)
        for item in plan.items:
            if item.kind == "date":
                remove_date(out, date.fromisoformat(item.name), work)
        orphans = [item for item in plan.items if item.kind == "orphan"]
        for item in orphans:
            _remove_orphan(out / item.name, work, out)
        _remove_bundles(out, [item.name for item in plan.items if item.kind == "bundle"], work)
        if any(item.kind == "rollup" for item in plan.items):
            sweep(store_folder(out))
        clear(cache_folder(out))
    items = tuple(item for item in plan.items if item.kind != "work")
    return Collected((*items, *swept), plan.kept, plan.notes)


def _old(dates: Sequence[date], keep_days: int | None, keep_dates: int | None) -> list[date]:
    if not dates or (keep_days is None and keep_dates is None):
        return []
    newest = dates[-1]
    recent = {newest, *(dates[-keep_dates:] if keep_dates else ())}
    if keep_days is not None:
        recent |= {day for day in dates if newest - day <= timedelta(days=keep_days)}
    return [day for day in dates if day not in recent]


def _relative(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix()


def _paths_of(out: Path, as_of: date) -> list[Path]:
    return [manifest_path(out, as_of), *(table_folder(out, name, as_of) for name in TABLES)]


def _sized(kind: Kind, name: str, paths: Sequence[Path]) -> Item:
    sizes = [size for path in paths for size in _sizes(path)]
    return Item(kind, name, len(sizes), sum(sizes))


def _sizes(path: Path) -> list[int]:
    if path.is_dir():
        return list(disk.list_files(path).values())
    return [path.lstat().st_size] if path.exists() else []


# ------------------------------------------------------------------------------------------------------------- orphans


def _orphans(out: Path, dates: Collection[date], manifests: dict[date, Manifest]) -> list[Item]:
    """Folders of dates and tables that no manifest has, and files in the others that theirs does not name."""
    found = []
    for day, folder in published_folders(out):
        if day not in dates:
            found.append(_sized("orphan", _relative(folder, out), [folder]))
        elif day in manifests:
            listed = {record.path for table in manifests[day].tables for record in table.records}
            for name in disk.list_files(folder):
                path = folder / name
                if _relative(path, out) not in listed and name != SUCCESS:
                    found.append(_sized("orphan", _relative(path, out), [path]))
    return found


def _remove_orphan(path: Path, work: Path, out: Path) -> None:
    if path.is_dir():
        gone = work / "_orphan" / _relative(path, out)
        move_away(path, gone)
        disk.remove_tree(gone)
    else:
        disk.remove_file(path)


# ------------------------------------------------------------------------------------------------- bundles and rollups


def _bundles(out: Path, manifests: dict[date, Manifest], notes: list[str]) -> list[Item]:
    """Bundles that scored no date that stays, and that nobody can choose: held or withdrawn long ago, or unfinished."""
    folders = [path for path in disk.list_folder(bundles_folder(out)) if path.is_dir() and is_bundle_id(path.name)]
    try:
        acts = read_acts(out)
    except TamisError:
        notes.append("no bundle is removed: the record of what was done with them cannot be read")
        return []
    used = {manifest.bundle for manifest in manifests.values()}
    first = min(manifests, default=None)
    return [
        _sized("bundle", _relative(path, out), [path])
        for path in folders
        if path.name not in used and _is_past(path.name, acts, first)
    ]


def _is_past(bundle: str, acts: Sequence[Act], first: date | None) -> bool:
    state = state_of(acts, bundle)
    if state in {"current", "promoted"}:
        return False
    if state == "unfinished":
        return True
    # One that was held lately may be waiting for a person; the last fit says when the next one is due.
    fitted = max(act.as_of for act in acts if act.bundle == bundle)
    return first is not None and fitted < first


def _remove_bundles(out: Path, names: Sequence[str], work: Path) -> None:
    if not names:
        return
    gone = {Path(name).name for name in names}
    acts = read_acts(out)
    left = [act for act in acts if act.bundle not in gone]
    # What the record names must be there.
    if len(left) != len(acts):
        write_acts(out, left)
    for name in sorted(gone):
        move_away(bundles_folder(out) / name, work / "_bundles" / name)
    disk.remove_tree(work / "_bundles")


def _rollups(out: Path, notes: list[str]) -> list[Item]:
    store = store_folder(out)
    if not store.is_dir():
        return []
    try:
        named = {file.path for file in read_index(store).files()} | {INDEX_NAME}
    except IntegrityError:
        notes.append("the rollups are not looked at: their index cannot be read; the next run makes them anew")
        return []
    sizes = [size for name, size in disk.list_files(store).items() if name not in named]
    return [Item("rollup", _relative(store, out), len(sizes), sum(sizes))] if sizes else []


def _fetched(out: Path) -> list[Item]:
    cache = cache_folder(out)
    sizes: dict[int, int] = {}
    for folder in leavings(cache):
        for name in disk.list_files(folder):
            # Another run may remove them meanwhile.
            with suppress(FileNotFoundError):
                status = (folder / name).lstat()
                # What a reader had is a link to what is kept.
                sizes[status.st_ino] = status.st_size
    return [Item("fetched", _relative(cache, out), len(sizes), sum(sizes.values()))] if sizes else []
