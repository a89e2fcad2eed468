"""`tamis score`."""

from __future__ import annotations

from jobs.options import (
    DEFAULT_CONFIG,
    Accept,
    Address,
    AsJson,
    AsOf,
    Assignments,
    Bundle,
    ConfigFile,
    ExecutorName,
    Out,
    Quiet,
)
from jobs.session import Settings, load, parse_day, session, show_record


def score(
    *,
    as_of: AsOf,
    bundle: Bundle = None,
    accept: Accept = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compute features, score every user, assign segments and publish the tables of one day."""
    day = parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.pipeline import score_run

    with session(loaded.config, quiet=quiet) as run:
        record = score_run(
            run.config, day, executor=run.executor, bundle=bundle, accept=accept or (), progress=run.progress
        )
    show_record(record, as_json=as_json, quiet=quiet)
