"""Upkeep of Delta tables: what they hold, small files into large ones, and files that no version needs any more."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.formats.delta import DeltaTables
from engine.formats.failures import give_up
from engine.formats.upkeep import TARGET_BYTES, Compaction, TableState, Version


def state(tables: DeltaTables, name: str) -> TableState:
    """What a table holds now."""
    table = tables.open(name)
    if table is None:
        return TableState(name, tables.uri(name))
    with tables.errors():
        actions = table.get_add_actions(flatten=True)
        days = {str(partition["as_of"]) for partition in table.partitions()}
        return TableState(
            name,
            tables.uri(name),
            version=int(table.version()),
            dates=len(days),
            last=max(days, default=None),
            rows=int(table.count()),
            files=actions.num_rows,
            bytes=sum(size for size in actions["size_bytes"].to_pylist()),
        )


def history(tables: DeltaTables, name: str, limit: int) -> list[Version]:
    """The last versions of a table, the newest first."""
    table = tables.open(name)
    if table is None:
        return []
    with tables.errors():
        return [
            Version(
                version=int(entry["version"]),
                at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
                operation=str(entry["operation"]).lower(),
                as_of=entry.get("tamis.as_of"),
                run_id=entry.get("tamis.run_id"),
            )
            for entry in table.history(limit)
        ]


def optimize(tables: DeltaTables, name: str) -> Compaction:
    """Put small files of each partition together in the order in which they are; one commit that changes no row.

    Raises:
        ConflictError: Another writer replaced what was put together; run it again.
    """
    from deltalake import WriterProperties
    from deltalake.exceptions import CommitFailedError

    table = tables.open(name)
    if table is None:
        return Compaction(name)
    with tables.errors():
        try:
            with tables.keeping(name):
                found = table.optimize.compact(
                    target_size=TARGET_BYTES, writer_properties=WriterProperties(compression="ZSTD")
                )
        except CommitFailedError as error:
            raise give_up(name, 1) from error
    return Compaction(name, removed=int(found["numFilesRemoved"]), added=int(found["numFilesAdded"]))


def vacuum(
    tables: DeltaTables, name: str, now: datetime, *, keep_days: int, keep_versions: int, dry_run: bool
) -> list[str]:
    """Remove files that no kept version needs, and what attempts left that came to no commit.

    Args:
        tables: The tables.
        name: The table.
        now: Not used: Delta takes the time of the store.
        keep_days: Files stay that were in the table so many days ago or later.
        keep_versions: So many last versions stay readable.
        dry_run: Only tell.

    Returns:
        The files, by their paths in the table.
    """
    del now
    table = tables.open(name)
    if table is None:
        return []
    with tables.errors():
        with tables.keeping(name):
            removed = table.vacuum(
                retention_hours=24 * keep_days,
                dry_run=dry_run,
                enforce_retention_duration=False,
                full=True,
                keep_versions=[int(entry["version"]) for entry in table.history(keep_versions)],
            )
        if not dry_run:
            table.update_incremental()
            tables.checkpoint(table)
            table.cleanup_metadata()
    return sorted(removed)
