"""The folder a run works in: made or taken up again under the lock, and swept at the end unless the run is to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from engine.errors import TamisError
from engine.execution.journal import TASKS, goes_on, has_begun, take_up
from engine.history import events
from engine.remote.fetch import CACHE_NAME, cache_folder, clear
from engine.tables import disk
from engine.tables.layout import work_folder, work_root
from engine.tables.lock import is_held, writer_lock
from engine.tables.publish import discard, recover

_MADE: Final = "made-out"


@contextmanager
def workspace(out: Path, run_id: str) -> Iterator[Path]:
    """A work folder under `out`, held alone; what earlier runs left is completed or swept first.

    It is empty, or has what finished tasks of the same run wrote (`engine.execution.journal`): a run that is
    interrupted or that fails where nothing was refused leaves it to the next one of its id. When a run is refused in an
    output folder that it made itself, the folder is gone again afterwards.

    Raises:
        ConflictError: Another run is writing to `out`.
    """
    events.run_named(run_id)
    existed = out.exists() and [path.name for path in out.iterdir()] != [CACHE_NAME]
    with writer_lock(out, run_id):
        if any((path / TASKS / _MADE).exists() for path in disk.list_folder(work_root(out))):
            existed = False
        work = work_folder(out, run_id)
        recover(out, keep=work)
        if not (work.exists() and take_up(work)):
            disk.remove_tree(work)
            disk.make_folder(work)
        try:
            yield work
        except BaseException as error:
            if goes_on(error) and has_begun(work) and is_held(out):
                if not existed:
                    with suppress(OSError, TamisError):
                        disk.create_empty(work / TASKS / _MADE)
            elif discard(work) and not existed:
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
