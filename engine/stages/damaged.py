"""Files that turn out to be damaged while the log is read: all of them are named, not only the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from engine.config import Config
from engine.errors import DataError, ResourceError
from engine.events.untrusted import unreadable
from engine.rollups.rolling import Found
from engine.stages.input import open_units

_OF_A_FILE: Final = {"input-unreadable", "task-died", "task-memory", "task-timeout"}
"""What a damaged file can look like from outside of the task that reads it."""


@contextmanager
def naming_damaged(config: Config, units: Sequence[Found]) -> Iterator[None]:
    """When what happens inside fails as it does for a damaged file, find every file of the units that is damaged.

    Each is decoded in a child process, so that one that ends a worker is found too.

    Raises:
        DataError: All of these files; what was raised inside, when every file can be read.
    """
    try:
        yield
    except (DataError, ResourceError) as error:
        if error.code not in _OF_A_FILE:
            raise
        opened = [item for item in units if item.pieces]
        checks = config.checks.model_copy(update={"bad_files": "quarantine"})
        looked_at = open_units(config.model_copy(update={"checks": checks}), opened)
        bad = [one for item in looked_at for one in item.quarantined]
        if not bad:
            raise
        raise unreadable(bad, sum(len(item.unit.files) for item in opened)) from error
