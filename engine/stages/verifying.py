"""Whether everything that lies under an output root is what was written there.

Published tables are compared with their manifests, bundles and rollups with their checksums, and the ledger of each
date with the date that it was made from. Nothing is changed; a run that publishes meanwhile is told from damage by its
manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from engine.bundle import damages, is_bundle_id
from engine.bundle_pointer import current_of, pointer_path, read_acts
from engine.errors import ConfigError, ConflictError, IntegrityError
from engine.execution.protocol import Executor
from engine.ledger.cascade import is_broken
from engine.ledger.previous import has_ledger, ledger_of
from engine.progress import Progress, track
from engine.rollups.index import INDEX_NAME, read_index
from engine.rollups.update import store_folder
from engine.rollups.verify import VerifyTask, damaged_files, portions
from engine.tables import disk
from engine.tables.check_before import check_before
from engine.tables.layout import TABLES, bundles_folder, manifest_path, table_folder, work_root
from engine.tables.manifest import FileRecord, Manifest, TableRecord, read_manifest
from engine.tables.publish import INTENT
from engine.tables.verify import file_problems, listing_problems
from engine.why.published import published_dates

_TASK_BYTES: Final = 256 << 20
_OF_A_WRITER: Final = {"lock", "holder.json", "ledger.json", "retention.json"}
_REFIT: Final = "restore it from a copy, or run `tamis fit`"
_ROLL: Final = "the next run rolls it up again by itself; `tamis rollup rebuild` does it now; check the disk"


@dataclass(frozen=True)
class Problem:
    """Something that is not what was written.

    Attributes:
        where: A file or folder, relative to the output root where it lies below it.
        problem: What is wrong with it.
        remedy: What to do.
    """

    where: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class VerifiedOutput:
    """What was compared.

    Attributes:
        dates: Published dates, ascending.
        files, bytes: Files of their tables, of the bundles and of the rollups, as far as something lists them.
        bundles: Bundles.
        units: Units of the rollups.
        problems: What is wrong, by place.
        leftovers: What runs left that were killed, or that are writing now; no harm, the next run removes it.
    """

    dates: tuple[date, ...]
    files: int
    bytes: int
    bundles: int
    units: int
    problems: tuple[Problem, ...]
    leftovers: tuple[str, ...]


def verify_output(
    out: Path,
    as_of: date | None = None,
    *,
    deep: bool = False,
    executor: Executor,
    progress: Progress | None = None,
) -> VerifiedOutput:
    """Compare what is under an output root with what was written.

    Args:
        out: The output root.
        as_of: Only this published date; all of them, the bundles and the rollups when None.
        deep: Also read the keys of every table back: each is there once, and none is null.
        executor: Where the files are read.
        progress: Told how far it is.

    Raises:
        ConfigError: Nothing is published for the date.
        ConflictError: A run changed what was looked at.
    """
    dates = published_dates(out)
    if as_of is not None and as_of not in dates:
        raise ConfigError(
            f"nothing is published for {as_of} under {out}",
            code="not-published",
            hint=f"Published dates: {', '.join(map(str, dates[-5:])) or 'none'}.",
        )
    days = dates if as_of is None else [as_of]
    manifests, problems = _manifests(out, days)
    found = _Counts()
    problems += _tables(out, manifests, executor, progress, found)
    if deep:
        problems += _keys(out, manifests, problems, executor, progress)
    problems += _chain(out, dates, set(days))
    if as_of is None:
        problems += _orphans(out, set(dates))
        problems += _bundles(out, executor, progress, found)
        problems += _rollups(out, executor, progress, found)
    if problems and _manifests(out, days)[0] != manifests:
        raise ConflictError(
            f"a run published under {out} while it was verified",
            code="verify-busy",
            hint="Verify it again when no run is writing.",
        )
    ordered = tuple(sorted(set(problems), key=lambda one: (one.where, one.problem)))
    return VerifiedOutput(tuple(days), found.files, found.bytes, found.bundles, found.units, ordered, leftovers(out))


@dataclass
class _Counts:
    files: int = 0
    bytes: int = 0
    bundles: int = 0
    units: int = 0


def _manifests(out: Path, days: Sequence[date]) -> tuple[list[Manifest], list[Problem]]:
    manifests, problems = [], []
    for day in days:
        path = manifest_path(out, day)
        try:
            manifests.append(read_manifest(path))
        except (IntegrityError, OSError) as error:
            what = error.message if isinstance(error, IntegrityError) else "cannot be read"
            problems.append(Problem(_relative(path, out), what, f"run {day} again"))
    return manifests, problems


def _relative(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else str(path)


# -------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class TableFiles:
    """Files of one published table, to be compared with their records."""

    out: str
    as_of: date
    table: TableRecord
    sizes: tuple[int, ...]


def verify_files(task: TableFiles) -> tuple[Problem, ...]:
    """What is wrong with each file: its bytes, SHA-256, rows and columns."""
    remedy = f"run {task.as_of} again"
    pairs = zip(task.table.records, task.sizes, strict=True)
    return tuple(
        Problem(record.path, problem.removeprefix(f"{record.path}: "), remedy)
        for record, size in pairs
        for problem in file_problems(Path(task.out), task.table, record, size, deep=True)
    )


def _tables(
    out: Path, manifests: Sequence[Manifest], executor: Executor, progress: Progress | None, found: _Counts
) -> list[Problem]:
    problems: list[Problem] = []
    tasks: list[TableFiles] = []
    for manifest in manifests:
        listed = {table.name for table in manifest.tables}
        remedy = f"run {manifest.as_of} again"
        for name in TABLES:
            folder = table_folder(out, name, manifest.as_of)
            if name not in listed and folder.is_dir():
                problems.append(Problem(_relative(folder, out), "the manifest has no such table", remedy))
        for table in manifest.tables:
            lines, sizes = listing_problems(out, table)
            problems += [_of_listing(line, table, remedy) for line in lines]
            tasks += _portions(out, manifest.as_of, table, sizes)
            found.files += len(table.records)
            found.bytes += table.bytes
    on_done = track(progress, "verify tables", len(tasks))
    return problems + [problem for listed in executor.map(verify_files, tasks, on_done=on_done) for problem in listed]


def _of_listing(line: str, table: TableRecord, remedy: str) -> Problem:
    for mark in ("missing: ", "not in the manifest: "):
        if line.startswith(mark):
            told = remedy if mark == "missing: " else "take it away, or let `tamis gc` remove it"
            return Problem(line.removeprefix(mark), mark.removesuffix(": "), told)
    return Problem(table.path, line, remedy)


def _portions(out: Path, as_of: date, table: TableRecord, sizes: dict[str, int]) -> Iterator[TableFiles]:
    portion: list[FileRecord] = []
    there = [record for record in table.records if record.path in sizes]
    for record in there:
        portion.append(record)
        if sum(sizes[one.path] for one in portion) > _TASK_BYTES or record is there[-1]:
            part = replace(table, records=tuple(portion))
            yield TableFiles(str(out), as_of, part, tuple(sizes[one.path] for one in portion))
            portion = []


def _keys(
    out: Path, manifests: Sequence[Manifest], known: Sequence[Problem], executor: Executor, progress: Progress | None
) -> list[Problem]:
    """Keys that are there twice or null, on dates whose files are those that were written."""
    problems = []
    advance = track(progress, "verify keys", len(manifests))
    for manifest in manifests:
        paths = tuple(table.path for table in manifest.tables)
        if has_ledger(manifest) and not any(problem.where.startswith(paths) for problem in known):
            try:
                ledger = ledger_of(manifest)
                buckets, rekeyed = int(str(ledger["buckets"])), int(str(ledger["rekeyed"]))
                check_before(manifest.tables, out, buckets=buckets, rekeyed=rekeyed, executor=executor)
            except IntegrityError as error:
                where = _relative(manifest_path(out, manifest.as_of), out)
                lines = error.message.splitlines()[1:] or [error.message]
                problems += [Problem(where, line.strip(), f"run {manifest.as_of} again") for line in lines]
        if advance is not None:
            advance(manifest)
    return problems


def _chain(out: Path, dates: Sequence[date], asked: set[date]) -> list[Problem]:
    """Dates whose ledger was not made from what the date before it is."""
    problems = []
    before: Manifest | None = None
    for manifest in _manifests(out, dates)[0]:
        if not has_ledger(manifest):
            continue
        try:
            is_wrong = before is not None and is_broken(manifest, before)
        except IntegrityError as error:
            problems.append(Problem(_relative(manifest_path(out, manifest.as_of), out), error.message, error.hint))
            continue
        if before is not None and is_wrong and manifest.as_of in asked:
            where = _relative(manifest_path(out, manifest.as_of), out)
            what = f"its memberships were not made from those that are published for {before.as_of}"
            problems.append(Problem(where, what, f"run {before.as_of} again, which corrects the dates after it"))
        before = manifest
    return problems


def _orphans(out: Path, dates: set[date]) -> list[Problem]:
    return [
        Problem(_relative(folder, out), "no manifest names it", "`tamis gc` removes it, or run the date again")
        for day, folder in published_folders(out)
        if day not in dates
    ]


def published_folders(out: Path) -> list[tuple[date, Path]]:
    """Every `as_of=` folder of every table, with its date."""
    found = []
    for name in TABLES:
        for folder in sorted((out / name).glob("as_of=*")) if (out / name).is_dir() else ():
            try:
                day = date.fromisoformat(folder.name.removeprefix("as_of="))
            except ValueError:
                continue
            if folder == table_folder(out, name, day):
                found.append((day, folder))
    return found


def leftovers(out: Path) -> tuple[str, ...]:
    """What is in the work folder beside the lock, relative to the output root."""
    entries = disk.list_folder(work_root(out))
    begun = " (a publish that has begun: the next run completes it)"
    return tuple(
        f"{_relative(path, out)}{begun if (path / INTENT).exists() else ''}"
        for path in entries
        if path.name not in _OF_A_WRITER
    )


# ------------------------------------------------------------------------------------------------- bundles and rollups


@dataclass(frozen=True)
class BundleFolder:
    """A bundle to compare with its checksums."""

    folder: str


def verify_bundle(task: BundleFolder) -> tuple[str, ...]:
    """What is wrong with its files."""
    return tuple(damages(Path(task.folder)))


def _bundles(out: Path, executor: Executor, progress: Progress | None, found: _Counts) -> list[Problem]:
    folder = bundles_folder(out)
    folders = [path for path in disk.list_folder(folder) if path.is_dir() and is_bundle_id(path.name)]
    tasks = [BundleFolder(str(path)) for path in folders]
    on_done = track(progress, "verify bundles", len(tasks))
    problems = [
        Problem(_relative(path, out), line, _REFIT)
        for path, lines in zip(folders, executor.map(verify_bundle, tasks, on_done=on_done), strict=True)
        for line in lines
    ]
    for path in folders:
        sizes = disk.list_files(path)
        found.files += len(sizes)
        found.bytes += sum(sizes.values())
    found.bundles = len(folders)
    pointer = _relative(pointer_path(out), out)
    try:
        current = current_of(read_acts(out))
    except IntegrityError as error:
        return [*problems, Problem(pointer, error.message, error.hint)]
    if current is not None and not (folder / current).is_dir():
        problems.append(Problem(pointer, f"the bundle {current} is in use and is not there", _REFIT))
    return problems


def _rollups(out: Path, executor: Executor, progress: Progress | None, found: _Counts) -> list[Problem]:
    store = store_folder(out)
    try:
        index = read_index(store)
    except IntegrityError as error:
        return [Problem(_relative(store / INDEX_NAME, out), error.message, error.hint)]
    files = list(index.files())
    tasks = [VerifyTask(str(store), portion) for portion in portions(files)]
    on_done = track(progress, "verify rollups", len(tasks))
    damaged = [path for paths in executor.map(damaged_files, tasks, on_done=on_done) for path in paths]
    if damaged and read_index(store) != index:
        raise ConflictError(
            f"a run changed the store {store} while it was verified",
            code="rollup-busy",
            hint="Verify it again when no run is writing.",
        )
    found.files += len(files)
    found.bytes += sum(file.bytes for file in files)
    found.units = len(index.entries)
    return [Problem(_relative(store / path, out), _damage(store / path), _ROLL) for path in damaged]


def _damage(path: Path) -> str:
    return "other bytes than were written" if path.exists() else "missing"
