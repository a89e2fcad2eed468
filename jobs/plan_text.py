"""A plan as a person reads it: a table by stage, then what runs and why, what dominates, and what breaks first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobs.console import clean, plural, print_table, write

if TYPE_CHECKING:
    from engine.planning.audience import Audience
    from engine.planning.limits import Limit
    from engine.planning.plan import Plan

_SHOWN = 12
_NEAR = 0.1
_GIB = 1 << 30
_WORDS = {
    "read": "reading and rolling up",
    "features": "the features at all training dates",
    "cluster": "clustering",
    "learn": "training",
    "score": "scoring",
    "ledger": "the ledger of memberships",
    "publish": "writing and checking tables",
}
_BOUND = {
    "tasks": "each of the tasks that can run at a time has a worker already",
    "driver": "the driver hands out one task after the other (a higher execution.rows_per_task makes them fewer)",
}
_AGAIN = {
    "again": "`tamis run` publishes the same bytes once more; with --if-done skip it does nothing",
    "skip": "`tamis run` skips it (schedule.if_done); with --if-done again it takes as long as is said here",
}
_COUNTED = {
    "store": "counted in the rollups",
    "rows": "counted",
    "sample": "estimated from a sample of rows",
    "assumed": "assumed: no row could be looked at",
    "given": "as given",
}


def print_plan(plan: Plan) -> None:
    """Print everything but the audience."""
    _print_log(plan)
    _print_stages(plan)
    _tell("")
    _print_reasons(plan)
    _print_time(plan)
    _print_limits(plan)
    _print_calibration(plan)


def _tell(text: str) -> None:
    write(sys.stdout, clean(text))


def _print_log(plan: Plan) -> None:
    census = plan.census
    about = "" if census.exact else "about "
    _tell(
        f"{plural(census.files, 'file')}, {size_text(census.bytes)}: {about}{census.rows:,} rows in "
        f"{plural(census.units, 'unit')}, {census.users:,} users ({_COUNTED[census.counted]}); "
        f"{plural(plan.inputs.buckets, 'bucket')} of users"
    )
    _tell("")


def _print_stages(plan: Plan) -> None:
    found = plan.estimate
    rows: list[list[object]] = [
        [
            f"{stage.job}: {stage.name}",
            stage.tasks,
            stage.rows,
            size_text(stage.bytes_read),
            size_text(stage.bytes_written),
            size_text(stage.memory),
            duration(stage.seconds),
        ]
        for stage in found.stages
    ]
    rows.append(["start and driver", "–", "–", "–", "–", "–", duration(found.start + found.driver)])
    total: list[object] = [
        "total",
        sum(stage.tasks for stage in found.stages),
        sum(stage.rows for stage in found.stages),
        size_text(sum(stage.bytes_read for stage in found.stages)),
        size_text(sum(stage.bytes_written for stage in found.stages)),
        size_text(found.memory),
        duration(found.seconds),
    ]
    print_table(["stage", "tasks", "rows", "read", "written", "memory of a task", "time"], [*rows, total])


def _print_reasons(plan: Plan) -> None:
    for reason in plan.reasons:
        if reason.why == "nothing to do":
            _tell(f"{reason.item}: nothing to do, {reason.what}")
            if reason.item == "score":
                _tell(f"score: {_AGAIN[plan.inputs.config.schedule.if_done]}")
        else:
            rows = f" ({reason.rows:,} rows)" if reason.rows else ""
            _tell(f"{reason.item}: {reason.why}, {reason.what}{rows}")
    if plan.inputs.forward is not None:
        read, files = plan.inputs.forward
        _tell(f"score: totals of an earlier run are brought forward with {read:,} rows of {plural(files, 'file')}")
    if plan.inputs.config.targets and not plan.inputs.scope.seen_trees and _fits(plan):
        trees = max(plan.inputs.scope.trees)
        if plan.inputs.config.model.early_stopping_rounds:
            _tell(f"learn: each model is planned with {trees:,} trees; it may stop earlier, and take less")


def _fits(plan: Plan) -> bool:
    return any(stage.job == "fit" for stage in plan.estimate.stages)


def _print_time(plan: Plan) -> None:
    found = plan.estimate
    if not found.stages:
        return
    largest = max(found.stages, key=lambda stage: stage.seconds)
    share = largest.seconds / found.seconds
    workers = plan.workers
    where = (
        f"on this machine ({workers.cpus} threads)"
        if workers.local
        else f"on {plural(workers.nodes, 'node')} with {workers.cpus} processors, {workers.memory / _GIB:,.0f} GiB"
    )
    _tell(f"It takes about {duration(found.seconds)} {where}, {share:.0%} of it {_WORDS[largest.name]}.")
    if plan.twice is None:
        return
    _tell(f"On {plural(2 * workers.nodes, 'node')} it takes about {duration(plan.twice)}.")
    for stage in found.stages:
        if stage.bound != "workers" and stage.seconds > _NEAR * found.seconds:
            _tell(f"More nodes do not make {stage.job}: {stage.name} faster: {_BOUND[stage.bound]}.")


def _print_limits(plan: Plan) -> None:
    broken = [limit for limit in plan.limits if limit.share > 1]
    if not (broken or plan.simulated):
        return
    if broken:
        _tell("What breaks, the worst first:")
        for limit in broken:
            _tell(f"  {_limit(limit)}")
            _tell(f"    {limit.remedy}")
    else:
        nearest = plan.limits[0]
        _tell(f"Nothing breaks. What would break first, at {1 / max(nearest.share, 1e-9):,.1f} times as much:")
        for limit in plan.limits[:3]:
            if limit is nearest or limit.share > _NEAR:
                _tell(f"  {_limit(limit)}")
                _tell(f"    {limit.remedy}")


def _limit(limit: Limit) -> str:
    if limit.unit == "bytes":
        return f"{limit.what}: {size_text(limit.value)} of {size_text(limit.limit)}"
    if limit.unit == "seconds":
        return f"{limit.what}: {duration(limit.value)} of {duration(limit.limit)}"
    return f"{limit.what}: {limit.value:,.0f} of {limit.limit:,.0f} {limit.unit}"


def _print_calibration(plan: Plan) -> None:
    costs = plan.costs
    if costs.source == "shipped":
        _tell(
            "Times are those of another machine: none was measured here. "
            "`tamis plan --calibrate` measures this one, in less than a minute."
        )
        return
    other = plan.workers.local and costs.threads != plan.workers.cpus
    note = f", with {costs.threads} threads where {plan.workers.cpus} are planned" if other else ""
    _tell(f"Times were measured on {costs.source}{note} (`tamis plan --calibrate` does it again).")


def print_audience(audience: Audience) -> None:
    """Print whom the run will move."""
    _tell("")
    since = "no date was published before" if audience.compared is None else f"beside {audience.compared} as published"
    _tell(
        f"Segments as of {audience.as_of}, {since}: {audience.users:,} users scored "
        f"({audience.share:.1%} of all) with the bundle {audience.bundle}"
    )
    rows: list[list[object]] = []
    for one in audience.segments[:_SHOWN]:
        change = "–" if one.before is None else f"{one.after - one.before:+,}"
        before = "–" if one.before is None else f"{one.before:,}"
        rows.append([one.segment, one.group or "tag", before, one.after, f"{one.low:,} to {one.high:,}", change])
    print_table(["segment", "group", "before", "then", "95 %", "change"], rows)
    if len(audience.segments) > _SHOWN:
        _tell(f"and {len(audience.segments) - _SHOWN} more (--json has all)")
    if audience.compared is not None and audience.users:
        share = audience.moved / audience.users
        _tell(f"{share:.1%} of the users move to another segment of the primary group.")


def size_text(count: float) -> str:
    """`12 B`, `1.2 kB`, `3.4 TB`."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:,.0f} B" if units[0] == "B" else f"{size:,.1f} {units[0]}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `5 h 12 min`, `3 days 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("days", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= 2 * size or (unit != "days" and whole >= size):
            rest = whole % size // part
            return f"{whole // size:,} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
