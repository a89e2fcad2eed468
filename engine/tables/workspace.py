"""The folder a run works in: made under the lock, swept at the end, whatever the end is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import TamisError
from engine.remote.fetch import CACHE_NAME, cache_folder, clear
from engine.tables import disk
from engine.tables.layout import work_folder, work_root
from engine.tables.lock import writer_lock
from engine.tables.publish import discard, recover


@contextmanager
def workspace(out: Path, run_id: str) -> Iterator[Path]:
    """An empty work folder under `out`, held alone; what earlier runs left is completed or swept first.

    When the run fails in an output folder that it made itself, the folder is gone again afterwards.

    Raises:
        ConflictError: Another run is writing to `out`.
    """
    existed = out.exists() and [path.name for path in out.iterdir()] != [CACHE_NAME]
    with writer_lock(out, run_id):
        recover(out)
        work = work_folder(out, run_id)
        disk.make_folder(work)
        try:
            yield work
        except BaseException:
            if discard(work) and not existed:
                clear(cache_folder(out))
                _remove_if_empty(out)
            raise
        discard(work)


def _remove_if_empty(out: Path) -> None:
    # The lock goes while it is held: whoever comes next makes a new one, whoever had opened this one is refused.
    root = work_root(out)
    with suppress(OSError, TamisError):
        if [path.name for path in out.iterdir()] == [root.name]:
            disk.remove_tree(root)
            disk.remove_folder(out)
