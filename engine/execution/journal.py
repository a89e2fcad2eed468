"""What the tasks of a run gave, kept in its work folder: the same run, started again, does not run them again.

    <work>/_tasks/done-00000.log       a line per finished task: checksum, key, the files it wrote, its record
    <work>/_tasks/failed/<key>.json    the input of a task that failed where no data was refused

A task's key is a hash of its function and of everything in it; tasks that are equal are told apart by their order. Who
drives the run writes the line when the result arrives, in one write and without a sync: it outlives the process, and a
machine that was started again does not believe it. A line counts when its checksum fits and the files it names are
there with their sizes. Whatever else lies in the work folder goes before the run goes on.

Checks of what was written must not come from here: they run through `unjournalled`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic

from engine.errors import ResourceError, TamisError, TransientError
from engine.execution.failures import keep_failed
from engine.execution.origin import Origin, is_believed, is_shared, this_origin
from engine.execution.protocol import Executor, R, T, TaskSize
from engine.execution.records import UnknownValueError, decode, digest, encode, name_of
from engine.progress import Tally
from engine.tables import disk, effects

TASKS: Final = "_tasks"
"""Folder of the journal in a work folder."""
_LOST: Final = {"task-died", "task-timeout", "task-memory"}
_KEY_DIGITS: Final = 32
_SUM_DIGITS: Final = 16
_GONE: Final = "gone"

Sizes = list[tuple[str, int]]


@contextmanager
def journalled(executor: Executor, work: Path) -> Iterator[Executor]:
    """An executor that runs a task as `executor` does, unless the journal of the work folder has what it gave.

    Args:
        executor: Where the tasks run.
        work: Work folder of the run, as `engine.tables.workspace.workspace` gives it.
    """
    journal = _Journal(work, *_read(work))
    try:
        yield _Journalled(executor, journal)
    finally:
        journal.close()


def unjournalled(executor: Executor) -> Executor:
    """The executor below: for tasks that look at what is there now, such as checks."""
    return executor.executor if isinstance(executor, _Journalled) else executor


def files_of(executor: Executor) -> Collection[Path]:
    """The files of finished tasks, in whatever folder; none when the executor keeps no journal."""
    return {Path(path) for path in executor.journal.files} if isinstance(executor, _Journalled) else set()


def note_gone(executor: Executor, gone: Sequence[Path], became: Sequence[Path]) -> None:
    """Tell the journal, before files of finished tasks are removed, what became of them.

    Args:
        executor: One with a journal, or without: then nothing is told.
        gone: The files that are about to be removed.
        became: Those that hold what was in them. While they are there, the tasks that wrote the others count as done.
    """
    if isinstance(executor, _Journalled):
        executor.journal.note_gone(gone, became)


def goes_on(error: BaseException) -> bool:
    """Whether the same run, started again, may go on with what it has done: nothing was refused.

    It was interrupted, something outside did not answer, or a task failed whose input was kept.
    """
    if "kept_task" in error.__dict__ or isinstance(error, TransientError):
        return True
    return not isinstance(error, Exception) and not _is_panic(error)


def take_up(work: Path) -> bool:
    """Make a work folder ready for its run to go on: what no finished task wrote goes.

    Returns:
        Whether any task is finished; the folder is as it was when none is.
    """
    lines, _ = _read(work)
    if not lines:
        return False
    kept = {path for line in lines.values() for path, _ in line.files}
    for name in disk.list_files(work):
        if not (name.startswith(f"{TASKS}/done-") or str((work / name).absolute()) in kept):
            disk.remove_file(work / name)
    return True


def has_begun(work: Path) -> bool:
    """Whether the work folder has a journal: a task ended there."""
    return (work / TASKS).is_dir()


# ------------------------------------------------------------------------------------------------------- what is kept


@dataclass(frozen=True)
class _Line:
    """Where the record of a finished task stands, and the files that the task wrote with their bytes."""

    files: Sizes
    path: Path
    start: int
    length: int


@dataclass
class _Journal:
    work: Path
    lines: dict[str, _Line]
    logs: int
    files: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    handle: BinaryIO | None = None

    def __post_init__(self) -> None:
        self.files |= {path for line in self.lines.values() for path, _ in line.files}

    def key(self, told: str) -> str:
        """The key of the next task with this digest."""
        self.seen[told] += 1
        return hashlib.sha256(f"{told} {self.seen[told]}".encode()).hexdigest()[:_KEY_DIGITS]

    def record(self, key: str) -> Any:
        """What a finished task gave.

        Raises:
            LookupError: It is not known.
        """
        line = self.lines[key]
        try:
            with line.path.open("rb") as handle:
                handle.seek(line.start)
                return decode(json.loads(handle.read(line.length)))
        except (OSError, ValueError) as error:
            raise LookupError(key) from error

    def write(self, key: str, result: object, files: Sizes, origin: Origin) -> None:
        try:
            body = json.dumps(encode(result), separators=(",", ":"))
        except UnknownValueError:
            return
        self.files |= {path for path, _ in files}
        self._append(key, {"files": files, **asdict(origin)}, body)

    def note_gone(self, gone: Sequence[Path], became: Sequence[Path]) -> None:
        head = {"files": _sizes(became), "gone": [str(path.absolute()) for path in gone], **asdict(this_origin())}
        self._append(_GONE, head, "null")

    def _append(self, key: str, head: Mapping[str, object], body: str) -> None:
        content = f"{key} {json.dumps(head)}\t{body}".encode()
        if self.handle is None:
            disk.make_folder(self.work / TASKS)
            # Where a lock was lost, two processes can be the same run; each has a log of its own.
            paths = (self.work / TASKS / f"done-{number:05d}.log" for number in count(self.logs))
            with disk.storage_errors(self.work):
                self.handle = effects.create(next(path for path in paths if not path.exists()))
        with disk.storage_errors(self.work):
            self.handle.write(_checksum(content) + b" " + content + b"\n")
            self.handle.flush()

    def close(self) -> None:
        if self.handle is not None:
            # Every line was flushed.
            with suppress(OSError):
                self.handle.close()


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:_SUM_DIGITS].encode()


def _sizes(paths: Sequence[Path]) -> Sizes:
    found = []
    for path in dict.fromkeys(path.absolute() for path in paths):
        with suppress(OSError):
            if path.is_file():
                found.append((str(path), path.stat().st_size))
    return found


def _read(work: Path) -> tuple[dict[str, _Line], int]:
    """The lines that count, by key, and the number of logs."""
    logs = [path for path in disk.list_folder(work / TASKS) if path.suffix == ".log"]
    here, shared = this_origin(), bool(logs) and is_shared(work)
    found: dict[str, _Line] = {}
    gone: list[tuple[list[str], Sizes]] = []
    for log in logs:
        with log.open("rb") as handle:
            start = 0
            for line in handle:
                content = line[_SUM_DIGITS + 1 : -1]
                if line[:_SUM_DIGITS] == _checksum(content) and line.endswith(b"\n"):
                    key, _, rest = content.partition(b" ")
                    head, _, body = rest.partition(b"\t")
                    told = json.loads(head)
                    files = [(str(path), int(size)) for path, size in told["files"]]
                    if is_believed(Origin(told["host"], told["boot"]), here, shared=shared):
                        if key.decode() == _GONE:
                            gone.append((told["gone"], files))
                        else:
                            at = start + len(line) - 1 - len(body)
                            found[key.decode()] = _Line(files, log, at, len(body))
                start += len(line)
    away = {path for paths, became in gone if all(_has(*file) for file in became) for path in paths}
    counted = {
        key: line
        for key, line in found.items()
        if all(_has(path, size) or (path in away and not Path(path).exists()) for path, size in line.files)
    }
    return counted, len(logs)


def _has(path: str, size: int) -> bool:
    try:
        return Path(path).stat().st_size == size
    except OSError:
        return False


# -------------------------------------------------------------------------------------------------------- running tasks


@dataclass(frozen=True)
class _Done(Generic[R]):
    """What a task gave, and what is to be known of it: which one it was, what it wrote, and where."""

    result: R
    told: str | None
    files: Sizes
    origin: Origin


class _Recorded(Generic[T, R]):
    """A function of a task that also says which task it was and what was written."""

    def __init__(self, function: Callable[[T], R], told: Mapping[int, str | None] | None = None) -> None:
        self.function = function
        self.told = told
        self.__name__ = function.__name__

    def __reduce__(self) -> tuple[object, ...]:
        # Elsewhere the tasks are other objects.
        return (_Recorded, (self.function,))

    def __call__(self, task: T) -> _Done[R]:
        told = _told(self.function, task, {}) if self.told is None else self.told.get(id(task))
        with disk.noting_names() as named:
            result = self.function(task)
        return _Done(result, told, _sizes(named), this_origin())


def _told(function: Callable[[Any], Any], task: object, memo: dict[int, tuple[object, Any]]) -> str | None:
    """Which task it is; None when that cannot be told."""
    try:
        return f"{name_of(function)} {digest(task, memo)}"
    except UnknownValueError:
        return None


@dataclass(frozen=True)
class _Journalled:
    """See `journalled`."""

    executor: Executor
    journal: _Journal

    @property
    def name(self) -> str:
        return self.executor.name

    @property
    def threads(self) -> int:
        return self.executor.threads

    @property
    def tally(self) -> Tally:
        return self.executor.tally

    def check_paths(self, work: Path, inputs: Sequence[Path]) -> None:
        """See `Executor.check_paths`."""
        self.executor.check_paths(work, inputs)

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,
        sizes: Sequence[TaskSize] | None = None,
    ) -> list[R]:
        """See `Executor.map`."""
        memo: dict[int, tuple[object, Any]] = {}
        told = [_told(function, task, memo) for task in tasks]
        keys = [None if name is None else self.journal.key(name) for name in told]
        known: dict[int, R] = {}
        for index, key in enumerate(keys):
            if key is None or key not in self.journal.lines:
                continue
            with suppress(LookupError):
                known[index] = self.journal.record(key)
            if index in known and on_done is not None:
                on_done(known[index])
        left = [index for index in range(len(tasks)) if index not in known]
        if tasks and not left:
            return [known[index] for index in range(len(tasks))]
        waiting: dict[str | None, list[str | None]] = defaultdict(list)
        for index in reversed(left):
            waiting[told[index]].append(keys[index])

        def arrived(done: _Done[R]) -> None:
            key = waiting[done.told].pop() if waiting.get(done.told) else None
            if key is not None:
                self.journal.write(key, done.result, done.files, done.origin)
            if on_done is not None:
                on_done(done.result)

        more: dict[str, Any] = {} if sizes is None else {"sizes": [sizes[index] for index in left]}
        run = _Recorded(function, {id(task): name for task, name in zip(tasks, told, strict=True)})
        try:
            fresh = self.executor.map(run, [tasks[index] for index in left], on_done=arrived, small=small, **more)
        except BaseException as error:
            place = error.__dict__.get("task_index")
            if isinstance(place, int) and _is_poisoned(error):
                index = error.__dict__["task_index"] = left[place]
                self._keep(function, tasks[index], keys[index], error)
            raise
        known |= dict(zip(left, (done.result for done in fresh), strict=False))
        return [known[index] for index in range(len(tasks)) if index in known]

    def _keep(self, function: Callable[[Any], Any], task: object, key: str | None, error: BaseException) -> None:
        if key is not None:
            keep_failed(self.journal.work / TASKS, key, function, task, error)


def _is_poisoned(error: BaseException) -> bool:
    """Whether a task failed by its own doing: no data was refused, and nothing outside is to blame."""
    if isinstance(error, ResourceError):
        return error.code in _LOST
    if isinstance(error, OSError):
        return disk.storage_error(error, Path()) is None
    return not isinstance(error, TamisError) and (isinstance(error, Exception) or _is_panic(error))


def _is_panic(error: BaseException) -> bool:
    # A panic of Polars is no Exception, and has no name to import it by.
    return type(error).__name__ == "PanicException"
