"""Take a published date away, so that no reader ever finds a part of it.

The manifest goes first: while there is one, all of its files are there. Then each table's folder is moved to the work
folder in one instant, so that a reader that lists the folders sees all of a table or nothing. Only then are files
deleted. A removal that is cut short leaves whole tables that no manifest names; the next one removes them.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from engine.tables import disk
from engine.tables.layout import TABLES, as_of_folder, manifest_path, table_folder
from engine.tables.lock import check_held

_GONE: Final = "_gone"


def remove_date(out: Path, as_of: date, work: Path) -> None:
    """Take the manifest and all tables of a date away; call it under `writer_lock`.

    Args:
        out: The output root.
        as_of: The date; one without a manifest is removed too.
        work: The work folder of whoever removes it; what is taken away is deleted there.

    Raises:
        ConfigError: The output folder cannot be written to.
        ResourceError: The disk is failing.
    """
    check_held(out)
    path = manifest_path(out, as_of)
    if path.exists():
        disk.remove_file(path)
        disk.sync_folder(path.parent)
    # The table that people read goes first: the others are about it.
    for name in reversed(TABLES):
        move_away(table_folder(out, name, as_of), work / _GONE / name / as_of_folder(as_of))
    disk.remove_tree(work / _GONE)


def move_away(folder: Path, to: Path) -> None:
    """Move a folder out of sight, durably; one that is not there is fine."""
    if not folder.exists():
        return
    disk.make_folder(to.parent)
    disk.rename(folder, to)
    disk.sync_folder(folder.parent)
