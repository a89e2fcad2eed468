"""`tamis run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ExitCode
from jobs.begin import Begin, in_turn, ready, record_of
from jobs.console import print_json, write
from jobs.options import (
    DEFAULT_CONFIG,
    Accept,
    Address,
    AllowFuture,
    AsJson,
    AsOf,
    Assignments,
    ConfigFile,
    ExecutorName,
    IfDone,
    LogFile,
    LogFormat,
    MetricsFile,
    NoopExitCode,
    NotifyCommand,
    NotifyOn,
    Out,
    Quiet,
    WaitForLock,
    WithReport,
)
from jobs.report import report_after
from jobs.session import Session, Settings, Watching, load_watched, parse_day, session, show_record

if TYPE_CHECKING:
    from datetime import date

    from engine.tables.manifest import Manifest


def run(
    *,
    as_of: AsOf,
    accept: Accept = None,
    if_done: IfDone = None,
    wait_for_lock: WaitForLock = None,
    allow_future: AllowFuture = False,
    report: WithReport = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    noop_exit_code: NoopExitCode = 0,
    log_format: LogFormat = None,
    log_file: LogFile = None,
    metrics_file: MetricsFile = None,
    notify_command: NotifyCommand = None,
    notify_on: NotifyOn = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Fit when there is no valid bundle or the last one is old, then score."""
    day = parse_day(as_of)
    begin = Begin(wait_for_lock, if_done or ("skip" if noop_exit_code else None), allow_future, quiet)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    settings = Settings(assignments or (), out, executor, address, watching, begin.overrides())
    watched = load_watched("run", day, config, settings)
    wanted = watched.loaded.config
    from engine import pipeline
    from engine.record import RunRecord

    with session(wanted, quiet=quiet, watched=watched, before=lambda: ready(wanted, day, begin)) as opened:

        def attempt() -> Manifest | RunRecord:
            # Looked at after every wait: the run that was waited for may have been one of the same day.
            return _done(opened, day) or pipeline.run(
                opened.config, day, executor=opened.executor, accept=accept or (), progress=opened.progress
            )

        found = in_turn(opened.config, begin, opened.executor, attempt)
        if not isinstance(found, RunRecord):
            opened.skipped(noop_exit_code)
            _show_done(found, Path(wanted.out), as_json=as_json, quiet=quiet)
            return noop_exit_code
        record = opened.done(found)
    written = report_after(wanted, day, quiet=quiet) if report else None
    show_record(record, as_json=as_json, quiet=quiet, report=written)
    return ExitCode.DONE


def _done(opened: Session, day: date) -> Manifest | None:
    """What is published for the day when it is not to be published again; None when it is to be run."""
    if opened.config.schedule.if_done == "again":
        return None
    from engine.schedule.settle import finish

    return finish(opened.config, day, opened.executor, opened.progress)


def _show_done(manifest: Manifest, out: Path, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({**record_of(manifest, out).to_dict(), "done_before": True})
    elif not quiet:
        write(sys.stdout, f"{manifest.as_of} is done already: {manifest.run_id} published it; nothing was run")
