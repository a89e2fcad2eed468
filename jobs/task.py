"""`tamis task`: one failed task of a run, by itself."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.execution.failures import FailedTask, Ran

_SHOWN = 60


def task(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as its error told it.")],
    key: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The task; all failed ones are listed when not given.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run one failed task of a run by itself, on a copy, or list the failed ones.

    It runs here and now, whatever the run ran on; nothing below the output folder changes, and what the task writes is
    gone afterwards. The exit code is that of its error.
    """
    loaded = load(config, Settings(assignments or (), out))
    from engine.errors import TamisError
    from engine.execution.failures import failed_tasks, run_failed

    root = Path(loaded.config.out).absolute()
    if key is None:
        _list(failed_tasks(root, run), run, as_json=as_json)
        return
    try:
        ran = run_failed(root, run, key)
    except TamisError as error:
        # Of a bug the traceback is told anyway.
        if error.code not in {"task-run-unknown", "task-unknown", "task-unreadable"}:
            import traceback

            say("".join(traceback.format_exception(error)).rstrip())
        raise
    _show(ran, run, key, as_json=as_json, quiet=quiet)


def _list(failed: tuple[FailedTask, ...], run: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": run, "failed": [asdict(one) for one in failed]})
    elif failed:
        print_table(("task", "function", "error"), [(one.key, one.function, one.error) for one in failed])
    else:
        write(sys.stdout, clean(f"No task of run {run} failed by its own doing"))


def _show(ran: Ran, run: str, key: str, *, as_json: bool, quiet: bool) -> None:
    files = [{"path": path, "bytes": size} for path, size in ran.files]
    if as_json:
        told = {"seconds": round(ran.seconds, 3), "files": files, "result": _described(ran.result)}
        print_json({"run": run, "task": key, **told})
    elif not quiet:
        write(sys.stdout, clean(f"Task {key} of run {run} ended after {ran.seconds:.1f} s"))
        described = _described(ran.result)
        if isinstance(described, dict):
            print_table(("returned", "value"), list(described.items()))
        else:
            write(sys.stdout, clean(f"returned {described}"))
        if files:
            print_table(("wrote", "bytes"), [(file["path"], file["bytes"]) for file in files])


def _described(value: Any) -> Any:
    """Numbers and short texts as they are, of everything else what it is: tables may hold data of users."""
    fields = getattr(value, "__dataclass_fields__", None)
    return {name: _brief(getattr(value, name)) for name in fields} if fields else _brief(value)


def _brief(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and len(value) <= _SHOWN:
        return value
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"{type(value).__name__} of {' × '.join(map(str, shape))}"
    size = len(value) if hasattr(value, "__len__") else None
    return type(value).__name__ if size is None else f"{type(value).__name__} of {plural(size, 'item')}"
