"""Tasks that failed by their own doing: their input is kept, and one of them can be run again by itself.

It runs on a copy of the output root, in a folder of the system that is gone afterwards: files of the root are links
there, so that nothing is copied, and what the task writes takes the place of a link.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from engine.errors import ConfigError, IntegrityError, TamisError
from engine.execution.records import Json, UnknownValueError, decode, encode, name_of, named
from engine.tables import disk
from engine.tables.layout import work_root

_DIGITS: Final = 12
_FOLDER: Final = "_tasks/failed"
_ELSEWHERE: Final = "_elsewhere"
_OWN: Final = {"_work", "_rollups", "_remote"}
"""Folders of an output root that tasks write to: of these the copy has its own."""


@dataclass(frozen=True)
class FailedTask:
    """A task whose input was kept.

    Attributes:
        run: Id of the run.
        key: Its name among those of the run.
        function: Module and name of its function.
        error: The type of its error, or the code.
    """

    run: str
    key: str
    function: str
    error: str


@dataclass(frozen=True)
class Ran:
    """What became of a task that was run by itself.

    Attributes:
        seconds: Wall time.
        files: What it wrote: paths relative to the copy of the output root, and bytes.
        result: What it returned.
    """

    seconds: float
    files: tuple[tuple[str, int], ...]
    result: object


def keep_failed(tasks: Path, key: str, function: Any, task: object, error: BaseException) -> None:
    """Keep the input of a task, and have its error say how to run it by itself.

    Args:
        tasks: The folder of the journal, in the work folder of the run.
        key: The key of the task.
        function: Its function.
        task: Its input.
        error: Why it failed; afterwards it has the attribute `kept_task`.
    """
    run, name, out = tasks.parent.name, key[:_DIGITS], tasks.parents[2]
    try:
        # No text of the error: it may hold values of users.
        told = error.code if isinstance(error, TamisError) else type(error).__name__
        places = sorted({str(out), str(out.absolute())}, key=len, reverse=True)
        kept = {"function": name_of(function), "error": told, "out": places, "task": encode(task)}
        disk.make_folder(tasks / "failed")
        with disk.replacing(tasks / "failed" / f"{name}.json") as handle:
            handle.write(json.dumps(kept).encode())
    except (UnknownValueError, TamisError, OSError):
        # The error of the task is the one to tell.
        return
    error.__dict__["kept_task"] = name
    sentence = f"`tamis task {run} {name}` runs this task alone, with the same -c and --out."
    if isinstance(error, TamisError):
        error.hint = f"{error.hint} {sentence}".strip()
    else:
        error.add_note(sentence)


def failed_tasks(out: Path, run: str) -> tuple[FailedTask, ...]:
    """The failed tasks of a run, by key.

    Raises:
        ConfigError: No run of that id has left its work folder.
    """
    runs = [path.name for path in disk.list_folder(work_root(out)) if path.is_dir()]
    if run not in runs:
        left = f"what runs left: {', '.join(runs)}" if runs else "no run left anything"
        raise ConfigError(
            f"there is nothing of a run {run!r} in {work_root(out)}; {left}",
            code="task-run-unknown",
            hint="The input of a failed task is kept until the next run with this output folder, or `tamis gc`.",
        )
    files = [path for path in disk.list_folder(work_root(out) / run / _FOLDER) if path.suffix == ".json"]
    return tuple(_failed(run, path.stem, _read(path)) for path in files)


def run_failed(out: Path, run: str, key: str) -> Ran:
    """Run a failed task by itself, in this process; nothing below `out` changes.

    Raises:
        ConfigError: There is no such task.
        IntegrityError: Its input cannot be read.
        Exception: What the task raises.
    """
    known = failed_tasks(out, run)
    if key not in {one.key for one in known}:
        listed = "\n".join(f"  {one.key}  {one.function}" for one in known) or "  none"
        raise ConfigError(
            f"run {run} has no failed task {key!r}; it has:\n{listed}",
            code="task-unknown",
            hint=f"`tamis task {run}` lists them.",
        )
    kept = _read(work_root(out) / run / _FOLDER / f"{key}.json")
    with _copied(out, run) as copy:
        try:
            function, task = named(kept["function"]), decode(_moved(kept["task"], kept["out"], copy))
        except (ValueError, AttributeError, ImportError) as error:
            raise _unreadable(run, key) from error
        started = time.monotonic()
        with disk.noting_names() as written:
            result = function(task)
        seconds = time.monotonic() - started
        files = tuple(
            (path.relative_to(copy).as_posix(), path.stat().st_size)
            for path in sorted(set(written))
            if path.is_file() and path.is_relative_to(copy)
        )
        return Ran(seconds, files, result)


def _failed(run: str, key: str, kept: dict[str, Any]) -> FailedTask:
    return FailedTask(run, key, str(kept["function"]), str(kept["error"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
        if isinstance(kept, dict) and kept.keys() >= {"function", "error", "out", "task"}:
            return kept
    except (OSError, ValueError):
        pass
    raise _unreadable(path.parents[2].name, path.stem)


def _unreadable(run: str, key: str) -> IntegrityError:
    return IntegrityError(
        f"the kept input of task {key} of run {run} cannot be read by this version of tamis",
        code="task-unreadable",
        hint="Run the command that failed again: it keeps the input anew.",
    )


# ------------------------------------------------------------------------------------------------------------- the copy


@contextmanager
def _copied(out: Path, run: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix="tamis-task-") as folder:
        copy = Path(folder).resolve()
        for path in disk.list_folder(out.absolute()):
            if path.name not in _OWN:
                (copy / path.name).symlink_to(path)
        for name in ("_rollups", f"_work/{run}"):
            _link_tree(out.absolute() / name, copy / name)
        yield copy


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in disk.list_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(source / name)


def _moved(plain: Json, places: Sequence[str], copy: Path) -> Json:
    """The form of a task with every path below the output root below the copy."""
    if isinstance(plain, list):
        return [_moved(item, places, copy) for item in plain]
    if isinstance(plain, dict):
        return {name: _moved(item, places, copy) for name, item in plain.items()}
    if not isinstance(plain, str):
        return plain
    for place in places:
        if plain == place or plain.startswith(f"{place}/"):
            return f"{copy}{plain.removeprefix(place)}"
    # What is not there can only be meant to be written.
    if plain.startswith("/") and len(plain) < 4096 and not Path(plain).exists() and Path(plain).parent.is_dir():
        return str(copy / _ELSEWHERE / Path(plain).name)
    return plain
