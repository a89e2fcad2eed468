"""The folder a run works in: made under the lock, swept at the end, whatever the end is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.tables import disk
from engine.tables.layout import work_folder, work_root
from engine.tables.lock import writer_lock
from engine.tables.publish import recover


@contextmanager
def workspace(out: Path, run_id: str) -> Iterator[Path]:
    """An empty work folder under `out`, held alone; what earlier runs left is completed or swept first.

    When the run fails in an output folder that it made itself, the folder is gone again afterwards.

    Raises:
        ConflictError: Another run is writing to `out`.
    """
    existed = out.exists()
    try:
        with writer_lock(out, run_id):
            recover(out)
            work = work_folder(out, run_id)
            disk.make_folder(work)
            try:
                yield work
            finally:
                disk.remove_tree(work)
    except BaseException:
        if not existed:
            _remove_if_empty(out)
        raise


def _remove_if_empty(out: Path) -> None:
    with suppress(OSError):
        lock = work_root(out) / "lock"
        if [path.name for path in out.iterdir()] == [work_root(out).name] and list(work_root(out).iterdir()) == [lock]:
            lock.unlink()
            work_root(out).rmdir()
            out.rmdir()
