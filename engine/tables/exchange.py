"""Two folders change places in one instant.

Linux has `renameat2(2)` with RENAME_EXCHANGE and macOS `renamex_np(2)` with RENAME_SWAP. File systems without either
(some network and FUSE mounts) get three renames: for the time between the first two a reader finds no folder at all.
It never finds a mixture, and `engine.tables.publish.recover` completes the exchange when a run dies in between.
"""

from __future__ import annotations

from pathlib import Path

from engine.tables import disk, effects


def exchange(first: Path, second: Path) -> None:
    """What was at `first` is at `second` and the other way round, durably; both must exist on one file system.

    Raises:
        ConfigError: A parent folder cannot be written to.
        OSError: One of the two is missing, or they are on different file systems.
    """
    with disk.storage_errors(second.parent):
        if not effects.swap(first, second):
            _rename_in_turn(first, second)
    for folder in sorted({first.parent, second.parent}):
        disk.sync_folder(folder)


def _rename_in_turn(first: Path, second: Path) -> None:
    # The folder in between stands beside the staged one: beside the published one, a reader could scan it.
    # Each rename is durable before the next: a file system that keeps them out of order would lose one of the folders.
    aside = first.with_name(f"{first.name}.aside")
    for source, target in ((second, aside), (first, second), (aside, first)):
        disk.rename(source, target)
        for folder in sorted({source.parent, target.parent}):
            disk.sync_folder(folder)
