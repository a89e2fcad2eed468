"""`tamis run`."""

from __future__ import annotations

from jobs.options import (
    DEFAULT_CONFIG,
    Accept,
    Address,
    AsJson,
    AsOf,
    Assignments,
    ConfigFile,
    ExecutorName,
    Out,
    Quiet,
)
from jobs.session import Settings, load, parse_day, session, show_record


def run(
    *,
    as_of: AsOf,
    accept: Accept = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit when there is no valid bundle or the last one is old, then score."""
    day = parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine import pipeline

    with session(loaded.config, quiet=quiet) as opened:
        record = pipeline.run(
            opened.config, day, executor=opened.executor, accept=accept or (), progress=opened.progress
        )
    show_record(record, as_json=as_json, quiet=quiet)
