"""`tamis check`."""

from __future__ import annotations

from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    Assignments,
    ConfigFile,
    ExecutorName,
    LogFile,
    LogFormat,
    MetricsFile,
    NotifyCommand,
    NotifyOn,
    OptionalAsOf,
    Out,
    Quiet,
)
from jobs.session import Settings, Watching, load_watched, parse_day, session, show_record


def check(
    *,
    as_of: OptionalAsOf = None,
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
    """Read the event logs and count what would be kept, repeated or rejected; nothing is published."""
    day = None if as_of is None else parse_day(as_of)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    watched = load_watched("check", day, config, Settings(assignments or (), out, executor, address, watching))
    from engine.pipeline import check_run

    with session(watched.loaded.config, quiet=quiet, watched=watched) as run:
        record = run.done(check_run(run.config, day, executor=run.executor, progress=run.progress))
    show_record(record, as_json=as_json, quiet=quiet)
