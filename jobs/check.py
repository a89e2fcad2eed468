"""`tamis check`."""

from __future__ import annotations

from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    Assignments,
    ConfigFile,
    ExecutorName,
    OptionalAsOf,
    Out,
    Quiet,
)
from jobs.session import Settings, load, parse_day, session, show_record


def check(
    *,
    as_of: OptionalAsOf = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read the event logs and count what would be kept, repeated or rejected; nothing is published."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.pipeline import check_run

    with session(loaded.config, quiet=quiet) as run:
        record = check_run(run.config, day, executor=run.executor, progress=run.progress)
    show_record(record, as_json=as_json, quiet=quiet)
