"""`tamis score`."""

from __future__ import annotations

from jobs.begin import Begin, in_turn, ready
from jobs.options import (
    DEFAULT_CONFIG,
    Accept,
    Address,
    AllowFuture,
    AsJson,
    AsOf,
    Assignments,
    Bundle,
    ConfigFile,
    ExecutorName,
    LogFile,
    LogFormat,
    MetricsFile,
    NotifyCommand,
    NotifyOn,
    Out,
    Quiet,
    WaitForLock,
    WithReport,
)
from jobs.report import report_after
from jobs.session import Settings, Watching, load_watched, parse_day, session, show_record


def score(
    *,
    as_of: AsOf,
    bundle: Bundle = None,
    accept: Accept = None,
    wait_for_lock: WaitForLock = None,
    allow_future: AllowFuture = False,
    report: WithReport = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    log_format: LogFormat = None,
    log_file: LogFile = None,
    metrics_file: MetricsFile = None,
    notify_command: NotifyCommand = None,
    notify_on: NotifyOn = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compute features, score every user, assign segments and publish the tables of one day."""
    day = parse_day(as_of)
    begin = Begin(wait_for_lock, allow_future=allow_future, quiet=quiet)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    settings = Settings(assignments or (), out, executor, address, watching, begin.overrides())
    watched = load_watched("score", day, config, settings)
    wanted = watched.loaded.config
    from engine.pipeline import score_run

    with session(wanted, quiet=quiet, watched=watched, before=lambda: ready(wanted, day, begin)) as run:
        record = in_turn(
            run.config,
            begin,
            run.executor,
            lambda: score_run(
                run.config, day, executor=run.executor, bundle=bundle, accept=accept or (), progress=run.progress
            ),
        )
        record = run.done(record)
    written = report_after(wanted, day, quiet=quiet) if report else None
    show_record(record, as_json=as_json, quiet=quiet, report=written)
