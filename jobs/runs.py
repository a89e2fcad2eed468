"""`tamis runs`: the runs there were, and all that is known of one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from engine.history.record import Attempt

runs_app = typer.Typer()


@runs_app.command("list")
def list_runs(
    *,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="YYYY-MM-DD", help="Only the runs as of this day.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only those that failed, were held back, interrupted, or died.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The last N.")] = 20,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the last runs: when, as of which day, how each ended, and how long it took."""
    day = None if as_of is None else parse_day(as_of)
    root = _root(config, out, assignments)
    from engine.history.record import attempt_to_json
    from engine.history.store import read_attempts

    attempts = read_attempts(root, as_of=day, bad=failed, limit=limit)
    if as_json:
        print_json({"out": str(root), "runs": [attempt_to_json(attempt) for attempt in attempts]})
        return
    if not attempts:
        say(f"no such run is recorded under {root}", quiet=quiet)
        return
    headers = ("when (UTC)", "as of", "command", "result", "seconds", "users", "warnings", "run")
    print_table(headers, [_row(attempt) for attempt in attempts])


@runs_app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its name in the list, the id of a run, or `latest`.")],
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Print all that is known of one run: settings, input, counts, timings, guards, tables and result."""
    root = _root(config, out, assignments)
    from engine.history.record import attempt_to_json
    from engine.history.store import find_attempt

    attempt = find_attempt(root, run)
    if as_json:
        print_json(attempt_to_json(attempt))
        return
    for label, text in _told(attempt):
        write(sys.stdout, clean(f"{label.ljust(14)}  {text}"))
    _print_parts(attempt)


@runs_app.command()
def table(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The Parquet file; one that is there is replaced.")],
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the history as a Parquet file, one row per run, for a warehouse."""
    root = _root(config, out, assignments)
    from engine.history.store import read_attempts
    from engine.history.table import history_table
    from engine.tables.durable import durable_parquet_at

    written = durable_parquet_at(history_table(read_attempts(root)), to.absolute())
    if as_json:
        print_json({"to": str(to), "rows": written.rows, "bytes": written.bytes, "sha256": written.sha256})
    elif not quiet:
        write(sys.stdout, clean(f"{plural(written.rows, 'run')} in {to}"))


def _root(config: Path, out: str | None, assignments: list[str] | None) -> Path:
    return Path(load(config, Settings(assignments or (), out)).config.out).absolute()


def _row(attempt: Attempt) -> tuple[object, ...]:
    error = attempt.error
    result = attempt.result if error is None or error.code == attempt.result else f"{attempt.result} ({error.code})"
    return (
        f"{attempt.started:%Y-%m-%d %H:%M:%S}",
        str(attempt.as_of or "–"),
        attempt.command,
        result,
        "–" if attempt.seconds is None else f"{attempt.seconds:.1f}",
        attempt.counts.get("users", "–"),
        attempt.warning_count,
        attempt.attempt,
    )


def _told(attempt: Attempt) -> Iterator[tuple[str, object]]:
    """Label and text of each single fact; those that are not known are left out."""
    error, found, tasks = attempt.error, attempt.input, attempt.tasks
    facts: dict[str, object] = {
        "run": attempt.attempt,
        "command": attempt.command + (f" as of {attempt.as_of}" if attempt.as_of else ""),
        "result": attempt.result + ("" if attempt.exit_code is None else f", exit code {attempt.exit_code}"),
        "error": None if error is None else f"{error.code}: {error.message}",
        "hint": None if error is None else error.hint,
        "failed in": attempt.stage,
        "started": f"{attempt.started:%Y-%m-%d %H:%M:%S} UTC",
        "ended": None if attempt.ended is None else f"{attempt.ended:%Y-%m-%d %H:%M:%S} UTC, {attempt.seconds:,.1f} s",
        "ids": ", ".join(attempt.run_ids),
        "configuration": f"{attempt.config} ({attempt.config_hash[:12]})",
        "replaced": ", ".join(f"{key}={value}" for key, value in attempt.overrides.items()),
        "input": None if found is None else _input(found.files, found.rows, found.bytes, found.fingerprint),
        "bundle": attempt.bundle,
        "executor": f"{attempt.executor} on {attempt.host}, process {attempt.pid}",
        "tasks": f"{tasks.done:,} of {tasks.total:,}, {tasks.retried:,} run again" if tasks.total else None,
        "peak memory": None if attempt.peak_memory_bytes is None else _size(attempt.peak_memory_bytes),
        "versions": ", ".join(f"{name} {version}" for name, version in attempt.versions.items()),
    }
    yield from ((label, text) for label, text in facts.items() if text)


def _counted(attempt: Attempt) -> dict[str, Any]:
    """The counts without the sizes of segments, which have a table of their own, and without settings."""
    counts = {name: of for name, of in attempt.counts.items() if name != "segments"}
    if isinstance(ledger := counts.get("ledger"), dict):
        counts["ledger"] = {name: of for name, of in ledger.items() if name != "features"}
    return counts


def _print_parts(attempt: Attempt) -> None:
    parts: tuple[tuple[tuple[str, ...], list[tuple[object, ...]]], ...] = (
        (("count", ""), list(_flat(_counted(attempt)))),
        (("segment", "users"), [(name, of["users"]) for name, of in attempt.counts.get("segments", {}).items()]),
        (("stage", "seconds"), [(stage, f"{seconds:.1f}") for stage, seconds in attempt.timings.items()]),
        (
            ("guard", "held", "finding"),
            [(one.code, "yes" if one.held else "no", one.message) for one in attempt.guards],
        ),
        (
            ("table", "rows", "files", "size"),
            [(name, of["rows"], of["files"], _size(of["bytes"])) for name, of in attempt.tables.items()],
        ),
    )
    for headers, rows in parts:
        if rows:
            write(sys.stdout, "")
            print_table(headers, rows)
    if attempt.warnings:
        write(sys.stdout, f"\n{plural(attempt.warning_count, 'warning')}")
        for one in attempt.warnings:
            write(sys.stdout, clean(f"  {one.code}: {one.message}"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[object, ...]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "–" if value is None else value


def _input(files: int, rows: int, size: int, fingerprint: str) -> str:
    return f"{plural(files, 'file')}, {plural(rows, 'row')}, {_size(size)} ({fingerprint[:12]})"


def _size(count: int) -> str:
    from jobs.summary import size_text

    return size_text(count)
