"""A folder of files that is there as a whole or not at all, for tables that are no part of an output root."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import ConfigError, TamisError
from engine.tables import disk


def check_empty(folder: Path) -> None:
    """Stop when a folder holds something.

    Raises:
        ConfigError: It does, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is not an empty folder",
            code="folder-not-empty",
            hint="Name a folder that is empty or not there; nothing is overwritten.",
        )


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its name when what happens inside succeeds, and is removed when not.

    Raises:
        ConfigError: The folder cannot be made.
        ResourceError: The disk is full or failing.
    """
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    disk.make_folder(temporary)
    try:
        yield temporary
        disk.sync_folder(temporary)
        if folder.exists():
            disk.remove_folder(folder)
        disk.rename(temporary, folder)
        disk.sync_folder(folder.parent)
    except BaseException:
        with suppress(TamisError, OSError):
            disk.remove_tree(temporary)
        raise
