"""`tamis fit`."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    AsOf,
    Assignments,
    ConfigFile,
    ExecutorName,
    LogFile,
    LogFormat,
    MetricsFile,
    NotifyCommand,
    NotifyOn,
    Out,
    Quiet,
)
from jobs.session import Settings, Watching, load_watched, parse_day, session, show_record


def fit(
    *,
    as_of: AsOf,
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
    tune: Annotated[
        int | None,
        typer.Option("--tune", metavar="N", min=0, help="Try N settings per model first (pip install 'tamis[tune]')."),
    ] = None,
    if_drifted: Annotated[
        bool,
        typer.Option(
            "--if-drifted", help="Only when the last fit is old or the users have become others; else say why not."
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn what stays still between runs: RFM edges, clusters and propensity models, in one bundle."""
    day = parse_day(as_of)
    trials = () if tune is None else (f"model.tune={tune}",)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    watched = load_watched(
        "fit", day, config, Settings((*(assignments or ()), *trials), out, executor, address, watching)
    )
    from engine.pipeline import fit_run

    with session(watched.loaded.config, quiet=quiet, watched=watched) as run:
        record = run.done(fit_run(run.config, day, executor=run.executor, progress=run.progress, if_drifted=if_drifted))
    show_record(record, as_json=as_json, quiet=quiet)
