"""Whether the files of the store are those that were written: Polars reads a flipped bit as good data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.execution.journal import unjournalled
from engine.execution.protocol import Executor
from engine.rollups.index import Index
from engine.tables.durable import sha256_of
from engine.tables.manifest import FileRecord

_TASK_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class VerifyTask:
    """Files of the store to compare with what the index says of them."""

    store: str
    files: tuple[FileRecord, ...]


def damaged_files(task: VerifyTask) -> tuple[str, ...]:
    """The files that are missing or have other bytes than were written."""
    return tuple(file.path for file in task.files if not is_whole(Path(task.store, file.path), file))


def whole_part(index: Index, store: Path, executor: Executor) -> tuple[Index, set[tuple[str, str]]]:
    """The part of an index whose files are what they were, and the units that are not in it.

    Without the ids of users no unit can be read: a unit does not tell ids that another one told before. Without the
    links of ids it is not known whose events a unit holds.
    """
    tasks = [VerifyTask(str(store), files) for files in portions(list(index.files()))]
    broken = {path for paths in unjournalled(executor).map(damaged_files, tasks) for path in paths}
    if not broken:
        return index, set()
    shared = (*index.users, *([] if index.links is None else [index.links]))
    lost = any(file.path in broken for file in shared)
    damaged = {entry.name for entry in index.entries if lost or any(file.path in broken for file in entry.files())}
    is_kept = index.checkpoint is not None and not any(file.path in broken for file in index.checkpoint.files)
    whole = replace(
        index,
        entries=tuple(entry for entry in index.entries if entry.name not in damaged),
        users=() if lost else index.users,
        links=None if lost else index.links,
        checkpoint=index.checkpoint if is_kept and not lost else None,
    )
    return whole, damaged


def portions(files: Sequence[FileRecord]) -> Iterator[tuple[FileRecord, ...]]:
    """The files in tasks of about a quarter of a second."""
    portion: list[FileRecord] = []
    for file in files:
        portion.append(file)
        if sum(known.bytes for known in portion) > _TASK_BYTES:
            yield tuple(portion)
            portion = []
    if portion:
        yield tuple(portion)


def is_whole(path: Path, file: FileRecord) -> bool:
    """Whether a file is there with the bytes that were written."""
    try:
        return path.stat().st_size == file.bytes and sha256_of(path) == file.sha256
    except OSError:
        return False
