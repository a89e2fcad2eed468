"""`tamis plan`: what a run would do and why, how long it takes and what it needs, before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError
from jobs.console import print_json, say
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from datetime import date

    from engine.config import Config
    from engine.planning.audience import Audience
    from engine.planning.costs import Costs
    from engine.planning.schedule import Workers

_NODES = "The machines"
_GIB = 1 << 30
_SHARE = 0.01

AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day of the run; a calibration or a simulation needs none."),
]
Nodes = Annotated[int | None, typer.Option("--nodes", help="Machines of a cluster.", min=1, rich_help_panel=_NODES)]
Cpus = Annotated[int | None, typer.Option("--cpus", help="Processors of each.", min=1, rich_help_panel=_NODES)]
Memory = Annotated[float | None, typer.Option("--memory", help="GiB of each.", min=0.1, rich_help_panel=_NODES)]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Measure this machine first: less than a minute on an idle one.")
]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", metavar="FILE", help="What was measured; in the user's cache when not given."),
]
Simulate = Annotated[
    str | None,
    typer.Option(
        "--simulate", metavar="KEY=VALUE,…", help="Plan for data that is not there: users=1e9,events=1e11,nodes=200."
    ),
]
AudienceOption = Annotated[
    bool, typer.Option("--audience", help="Score 1 % of the users, and say whom the run will move.")
]


def plan(
    *,
    as_of: AsOfOption = None,
    config: ConfigFile = DEFAULT_CONFIG,
    nodes: Nodes = None,
    cpus: Cpus = None,
    memory: Memory = None,
    calibrate: Calibrate = False,
    calibration: Calibration = None,
    simulate: Simulate = None,
    audience: AudienceOption = False,
    out: Out = None,
    executor: ExecutorName = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what a run would do and why, how long it takes and what it needs, before anything runs."""
    path = calibration or _cached()
    if as_of is None and simulate is None and not calibrate:
        raise ConfigError(
            "nothing to plan: --as-of is missing",
            code="plan-nothing",
            hint="tamis plan --as-of 2026-11-01, or --simulate users=1e9,events=1e11,nodes=200, or --calibrate.",
        )
    if simulate is not None and (audience or nodes or cpus or memory):
        raise ConfigError(
            "--simulate has its own nodes, cpus and memory, and no audience",
            code="plan-simulate",
            hint="Such as --simulate users=1e9,events=1e11,nodes=200,cpus=16,memory=64.",
        )
    if calibrate:
        _measure(path, quiet=quiet)
        if as_of is None and simulate is None:
            if as_json:
                print_json({"calibration": str(path)})
            return
    loaded = load(config, Settings(assignments or (), out, executor))
    costs = _costs(path, given=calibration is not None)
    import datetime as dt

    from engine.planning.plan import plan_run, plan_simulation
    from engine.planning.simulate import parse_simulation
    from jobs.plan_text import print_audience, print_plan

    if simulate is not None:
        day = dt.date(2026, 1, 1) if as_of is None else parse_day(as_of)
        found = plan_simulation(loaded.config, day, costs, parse_simulation(simulate))
    else:
        day = parse_day(str(as_of))
        found = plan_run(loaded.config, day, costs, _workers(loaded.config, nodes, cpus, memory))
    moved = _audience(loaded.config, day, quiet=quiet) if audience else None
    if as_json:
        from dataclasses import asdict

        print_json({**found.to_dict(), **({} if moved is None else {"audience": asdict(moved)})})
        return
    if not quiet:
        print_plan(found)
        if moved is not None:
            print_audience(moved)


def _measure(path: Path, *, quiet: bool) -> None:
    from datetime import UTC, datetime

    from engine.planning.calibrate import calibrate
    from engine.planning.costs import write_costs

    if busy := _load():
        say(f"warning: this machine is busy ({busy}): times will be too long; measure again when it is idle")
    say("measuring this machine with the real stages on generated data …", quiet=quiet)
    costs = calibrate(datetime.now(UTC).date())
    write_costs(costs, path.absolute())
    say(f"measured in {costs.measured_seconds:.0f} s with {costs.threads} threads; kept in {path}", quiet=quiet)


def _load() -> str | None:
    """How busy other programs keep the machine; None when it is half idle or more."""
    from engine.execution.local import usable_cpus

    cpus, (load, *_) = usable_cpus(), os.getloadavg()
    return f"a load of {load:.1f} on {cpus} processors" if load > cpus / 2 else None


def _costs(path: Path, *, given: bool) -> Costs:
    from engine.planning.costs import read_costs
    from engine.planning.shipped_costs import SHIPPED

    return read_costs(path) if given or path.exists() else SHIPPED


def _cached() -> Path:
    """Where a calibration is kept: it is of the machine, not of an output."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "tamis" / "calibration.json"


def _workers(config: Config, nodes: int | None, cpus: int | None, memory: float | None) -> Workers:
    from engine.execution.local import usable_cpus
    from engine.planning.schedule import Workers

    local = (nodes or 1) == 1 and config.execution.executor == "local"
    processors = cpus or usable_cpus()
    threads = processors if local else config.execution.cpus_per_task
    held = memory * _GIB if memory else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Workers(nodes or 1, processors, float(held), threads, local=local)


def _audience(config: Config, day: date, *, quiet: bool) -> Audience:
    from engine.execution.local import LocalExecutor
    from engine.planning.audience import find_audience
    from jobs.progress import progress_bars

    with progress_bars(quiet=quiet) as progress:
        return find_audience(config, day, executor=LocalExecutor(), share=_SHARE, progress=progress)
