"""Upkeep of Iceberg tables: what they hold, small files into large ones, and files that no snapshot needs any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from engine.formats.failures import give_up
from engine.formats.iceberg import ROW_GROUP_ROWS, IcebergTables, replace_files, write_batches
from engine.formats.upkeep import TARGET_BYTES, Compaction, TableState, Version

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_EPOCH = date(1970, 1, 1)


def state(tables: IcebergTables, name: str) -> TableState:
    """What a table holds now."""
    table = tables.open(name)
    if table is None:
        return TableState(name, tables.uri(name))
    with tables.errors():
        files = files_of_table(table)
        days = {_as_of(table, file).isoformat() for file in files}
        snapshot = table.current_snapshot()
        return TableState(
            name,
            tables.uri(name),
            version=0 if snapshot is None else int(snapshot.snapshot_id),
            dates=len(days),
            last=max(days, default=None),
            rows=sum(file.record_count for file in files),
            files=len(files),
            bytes=sum(file.file_size_in_bytes for file in files),
        )


def history(tables: IcebergTables, name: str, limit: int) -> list[Version]:
    """The last snapshots of a table, the newest first."""
    table = tables.open(name)
    if table is None:
        return []
    return [_version(snapshot) for snapshot in _newest_first(table)[:limit]]


def optimize(tables: IcebergTables, name: str) -> Compaction:
    """Put small files of each partition together in the order of their names; one commit that changes no row.

    A row group at a time is in memory.

    Raises:
        ConflictError: Another writer came first; run it again.
    """
    table = tables.open(name)
    if table is None:
        return Compaction(name)
    with tables.errors():
        groups = list(_small(files_of_table(table)))
        written = [
            write_batches(table, batches_of(table, group), partition_values(table, group[0]), "part-compacted")
            for group in groups
        ]
        old = [file for group in groups for file in group]
        if not old:
            return Compaction(name)
        with tables.contested() as won:
            replace_files(table, old, written, {"tamis.operation": "optimize"}, {})
            won.append(True)
    if not won:
        raise give_up(name, 1)
    return Compaction(name, removed=len(old), added=len(written))


def vacuum(
    tables: IcebergTables, name: str, now: datetime, *, keep_days: int, keep_versions: int, dry_run: bool
) -> list[str]:
    """Expire snapshots, then remove files that no kept one needs and what attempts left that came to no commit.

    Args:
        tables: The tables.
        name: The table.
        now: The time.
        keep_days: Snapshots stay that were current so many days ago or later, and files that are younger.
        keep_versions: So many last snapshots stay.
        dry_run: Only tell.

    Returns:
        The files, by their paths in the table.
    """
    table = tables.open(name)
    if table is None:
        return []
    before = now - timedelta(days=keep_days)
    with tables.errors():
        expired = _expired(table, before, keep_versions)
        if expired and not dry_run:
            table.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in expired]).commit()
            table.refresh()
        gone = {snapshot.snapshot_id for snapshot in expired}
        needed = set(needed_files(table, [one for one in table.snapshots() if one.snapshot_id not in gone]))
        return remove_unneeded(table, needed, before, dry_run=dry_run)


def files_of_table(table: Table) -> list[DataFile]:
    """The data files of the current snapshot, by path."""
    return sorted((task.file for task in table.scan().plan_files()), key=lambda file: file.file_path)


def partition_values(table: Table, file: DataFile) -> dict[str, Any]:
    """Value of each partition column of a file."""
    values = {field.name: file.partition[place] for place, field in enumerate(table.spec().fields)}
    return {**values, "as_of": _as_of(table, file)}


def _as_of(table: Table, file: DataFile) -> date:
    place = next(place for place, field in enumerate(table.spec().fields) if field.name == "as_of")
    value = file.partition[place]
    return value if isinstance(value, date) else _EPOCH + timedelta(days=int(value))


def _small(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    small = [file for file in files if file.file_size_in_bytes < TARGET_BYTES // 2]

    def partition(file: DataFile) -> str:
        return str(tuple(file.partition[place] for place in range(len(file.partition))))

    for _, of_one in groupby(sorted(small, key=lambda file: (partition(file), file.file_path)), key=partition):
        group: list[DataFile] = []
        for file in of_one:
            if group and sum(one.file_size_in_bytes for one in group) + file.file_size_in_bytes > TARGET_BYTES:
                if len(group) > 1:
                    yield group
                group = []
            group.append(file)
        if len(group) > 1:
            yield group


def batches_of(table: Table, files: Sequence[DataFile]) -> Iterator[pa.RecordBatch]:
    """The rows of data files, a row group at a time."""
    from pyarrow.parquet import ParquetFile

    for file in files:
        with table.io.new_input(file.file_path).open() as stream, ParquetFile(stream) as source:
            yield from source.iter_batches(ROW_GROUP_ROWS)


def _newest_first(table: Table) -> list[Snapshot]:
    return sorted(table.snapshots(), key=lambda one: one.sequence_number or 0, reverse=True)


def _version(snapshot: Snapshot) -> Version:
    summary = snapshot.summary
    about = {} if summary is None else summary.additional_properties
    operation = "" if summary is None else summary.operation.value
    return Version(
        version=snapshot.snapshot_id,
        at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        operation=about.get("tamis.operation", operation),
        as_of=about.get("tamis.as_of"),
        run_id=about.get("tamis.run_id"),
    )


def _expired(table: Table, before: datetime, keep: int) -> list[Snapshot]:
    # A snapshot was current until the next one came: that is what its age counts from.
    newest_first = _newest_first(table)
    limit = before.timestamp() * 1000
    pairs = zip(newest_first[1:], newest_first, strict=False)
    replaced = [old for old, successor in pairs if successor.timestamp_ms < limit]
    kept = {snapshot.snapshot_id for snapshot in newest_first[:keep]}
    return [snapshot for snapshot in replaced if snapshot.snapshot_id not in kept]


def needed_files(table: Table, snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """Every file that a table needs for some of its snapshots, metadata among them."""
    yield table.metadata_location
    for log in table.metadata.metadata_log:
        yield log.metadata_file
    seen = set()
    for snapshot in snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def remove_unneeded(table: Table, needed: set[str], before: datetime, *, dry_run: bool) -> list[str]:
    """Remove the files below a table that are older than `before` and not needed; returns their paths in the table."""
    from pyarrow.fs import FileSelector, FileType
    from pyiceberg.io.pyarrow import PyArrowFileIO

    from engine.formats.file_io import StoreFileIO

    scheme, netloc, root = PyArrowFileIO.parse_location(table.location())
    files = StoreFileIO(table.io.properties).fs_by_scheme(scheme, netloc)
    kept = {PyArrowFileIO.parse_location(path)[2] for path in needed}
    removed = []
    for info in files.get_file_info(FileSelector(root, recursive=True, allow_not_found=True)):
        if info.type != FileType.File or info.path in kept or info.mtime >= before:
            continue
        if not dry_run:
            files.delete_file(info.path)
        removed.append(info.path.removeprefix(root).lstrip("/"))
    return sorted(removed)
