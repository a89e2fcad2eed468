"""`tamis fit`."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.options import DEFAULT_CONFIG, Address, AsJson, AsOf, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day, session, show_record


def fit(
    *,
    as_of: AsOf,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
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
    loaded = load(config, Settings((*(assignments or ()), *trials), out, executor, address))
    from engine.pipeline import fit_run

    with session(loaded.config, quiet=quiet) as run:
        record = fit_run(run.config, day, executor=run.executor, progress=run.progress, if_drifted=if_drifted)
    show_record(record, as_json=as_json, quiet=quiet)
