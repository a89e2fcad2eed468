"""What a run would do, before it does it: from a configuration, or from numbers, to stages, limits and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from engine.features.windows import day_number
from engine.planning.census import Census, take_census
from engine.planning.costs import Costs
from engine.planning.estimate import Estimate, estimate
from engine.planning.inputs import Due, due_jobs
from engine.planning.limits import Limit, limits
from engine.planning.reading import Inputs
from engine.planning.reasons import Reason, reasons
from engine.planning.schedule import Workers
from engine.planning.scope import scope_of
from engine.planning.simulate import REQUESTS, Simulated, simulated_census, workers_of
from engine.planning.stages import fit_job, score_job
from engine.planning.work import Job


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        as_of: Day of the run.
        census: How large it is.
        inputs: What its tasks depend on.
        estimate: How long it takes.
        limits: What breaks first, the nearest first.
        reasons: Why each item is done; none of a simulation.
        workers: Where it runs.
        costs: What tasks cost.
        twice: Seconds on twice as many nodes; None where there is no cluster.
        simulated: Whether the data is not there.
    """

    as_of: date
    census: Census
    inputs: Inputs
    estimate: Estimate
    limits: tuple[Limit, ...]
    reasons: tuple[Reason, ...]
    workers: Workers
    costs: Costs
    twice: float | None = None
    simulated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready values; seconds, bytes and numbers of rows."""
        census, found = self.census, self.estimate
        return {
            "as_of": self.as_of.isoformat(),
            "simulated": self.simulated,
            "calibration": {
                "source": self.costs.source,
                "threads": self.costs.threads,
                "versions": dict(self.costs.versions),
            },
            "workers": asdict(self.workers),
            "log": {
                "files": census.files,
                "bytes": census.bytes,
                "rows": census.rows,
                "units": census.units,
                "new_units": len(census.stale),
                "new_rows": census.stale_rows,
                "users": census.users,
                "users_from": census.counted,
                "rows_exact": census.exact,
            },
            "buckets": self.inputs.buckets,
            "stages": [
                {**asdict(stage), "kinds": {kind: round(seconds, 3) for kind, seconds in stage.kinds.items()}}
                for stage in found.stages
            ],
            "seconds": round(found.seconds, 3),
            "seconds_on_twice_the_nodes": None if self.twice is None else round(self.twice, 3),
            "start_seconds": round(found.start, 3),
            "driver_seconds": round(found.driver, 3),
            "memory": found.memory,
            "limits": [{**asdict(limit), "share": limit.share} for limit in self.limits],
            "reasons": [asdict(reason) for reason in self.reasons],
        }


def plan_run(config: Config, as_of: date, costs: Costs, workers: Workers) -> Plan:
    """What `tamis run` would do as of a day; nothing is written.

    Raises:
        ConfigError: The configuration names what does not exist, or `as_of` is long after the log.
        DataError: Files that cannot be read, or no event before `as_of`.
        ResourceError: A node has not the processors that a task asks for.
    """
    check_workers(workers)
    census = take_census(config, as_of)
    due: Due = due_jobs(config, census, as_of)
    found = estimate(due.jobs, costs, workers)
    return Plan(
        as_of=as_of,
        census=census,
        inputs=due.inputs,
        estimate=found,
        limits=limits(due.inputs, due.jobs, found, costs, workers, None if workers.local else REQUESTS),
        reasons=reasons(config, census, due, as_of),
        workers=workers,
        costs=costs,
        twice=_twice(due.jobs, costs, workers),
    )


def plan_simulation(config: Config, as_of: date, costs: Costs, simulated: Simulated) -> Plan:
    """What a run would be on a log that is not there.

    It fits and scores everything; with `new_days`, it scores the day after with what is new, as on most days.

    Raises:
        ConfigError: The configuration names what does not exist, or a node cannot run a task.
    """
    workers = workers_of(simulated, config)
    check_workers(workers)
    census = simulated_census(config, simulated, as_of)
    inputs = Inputs(config, census, scope_of(config, census, as_of, None), is_first=not simulated.whole("new_days"))
    is_daily = bool(simulated.whole("new_days"))
    fit = () if is_daily else (fit_job(inputs, day_number(as_of)),)
    jobs = (*fit, score_job(inputs, rolled=not is_daily))
    found = estimate(jobs, costs, workers)
    asked = not workers.local or "requests" in simulated.given
    near = limits(inputs, jobs, found, costs, workers, simulated.values["requests"] if asked else None)
    twice = _twice(jobs, costs, workers)
    return Plan(as_of, census, inputs, found, near, (), workers, costs, twice, simulated=True)


def _twice(jobs: Sequence[Job], costs: Costs, workers: Workers) -> float | None:
    return None if workers.local else estimate(jobs, costs, replace(workers, nodes=2 * workers.nodes)).seconds


def check_workers(workers: Workers) -> None:
    """Stop when no node can run a task.

    Raises:
        ConfigError: A task asks for more processors than a node has.
    """
    if workers.threads > workers.cpus:
        raise ConfigError(
            f"a task asks for {workers.threads} processors (execution.cpus_per_task), a node has {workers.cpus}",
            code="plan-nodes",
            hint="Lower execution.cpus_per_task, or plan for nodes with more processors.",
        )
