"""How long the run took, stage by stage, and how much memory and how many tasks it needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.rows import whole_numbers
from engine.reporting.sections.run_records import done, peak_of, record_of, seconds_of, stages

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

MOST_RUNS: Final = 30
_MEGA: Final = 1e6
_COMMANDS: Final = frozenset({"run", "score"})


def section(facts: Facts) -> Section:
    """Seconds by stage of the run that published the date, and seconds and memory of the runs before it."""
    title, record = say("timings.title"), record_of(facts)
    runs = _runs(facts)
    if record is None:
        return Section("timings", "engineer", title, figures=tuple(_over_runs(runs)), missing=say("timings.none"))
    return Section(
        "timings",
        "engineer",
        title,
        sentences=tuple(_sentences(record)),
        figures=(*_stages(record), *_over_runs(runs)),
        alarms=tuple(_alarms(record)),
    )


def _sentences(record: Mapping[str, Any]) -> Iterator[Message]:
    seconds, peak = seconds_of(record), peak_of(record)
    rows = whole_numbers(record.get("input")).get("rows")
    if seconds is not None:
        key = "timings.took" if rows and seconds else "timings.took_only"
        yield say(
            key,
            seconds=Quantity(seconds, "seconds"),
            rows=Quantity(rows),
            rate=Quantity(round(rows / seconds) if rows and seconds else None),
        )
    if peak is not None:
        yield say("timings.peak", memory=Quantity(peak, "bytes"))
    tasks = whole_numbers(record.get("tasks"))
    if "total" in tasks:
        yield say("timings.tasks", total=tasks["total"], done=tasks.get("done", 0), retried=tasks.get("retried", 0))


def _alarms(record: Mapping[str, Any]) -> Iterator[Message]:
    tasks = whole_numbers(record.get("tasks"))
    if tasks.get("retried", 0):
        yield say("timings.alarm_retried", retried=tasks["retried"], total=tasks.get("total", 0))
    if tasks.get("spilled", 0):
        yield say("timings.alarm_spilled", spilled=Quantity(tasks["spilled"], "bytes"))


def _stages(record: Mapping[str, Any]) -> Iterator[Figure]:
    found = stages(record)
    total = sum(found.values())
    if not found:
        return
    longest = max(found, key=lambda name: (found[name], name))
    yield Figure(
        key="timings_stages",
        kind="bars",
        title=say(
            "timings.stages_title",
            stage=Name(longest, "step"),
            seconds=Quantity(found[longest], "seconds"),
            share=Quantity(found[longest] / total if total else None, "share"),
        ),
        definition=say("timings.stages_definition"),
        table=pl.DataFrame(
            [(name, seconds, seconds / total if total else None) for name, seconds in found.items()],
            {"stage": pl.String, "seconds": pl.Float64, "share": pl.Float64},
            orient="row",
        ),
        fields=(
            Field("stage", say("timings.stage"), vocabulary="step"),
            Field("seconds", say("timings.seconds"), "seconds"),
            Field("share", say("timings.share"), "share"),
        ),
        x="seconds",
        y="stage",
        marked=(longest,),
    )


def _runs(facts: Facts) -> pl.DataFrame:
    """Runs that went through and published, one row each, by their start; the last `MOST_RUNS`."""
    rows = []
    for record in done(facts):
        seconds, started = seconds_of(record), record.get("started")
        if seconds is None or not isinstance(started, str) or record.get("command") not in _COMMANDS:
            continue
        found, peak = whole_numbers(record.get("input")).get("rows"), peak_of(record)
        rows.append(
            (
                started[:16].replace("T", " "),
                str(record.get("as_of")),
                seconds,
                None if peak is None else peak / _MEGA,
                found,
            )
        )
    schema = {
        "started": pl.String,
        "as_of": pl.String,
        "seconds": pl.Float64,
        "memory": pl.Float64,
        "rows": pl.Int64,
    }
    return pl.DataFrame(sorted(rows, key=lambda row: row[0])[-MOST_RUNS:], schema, orient="row")


def _over_runs(runs: pl.DataFrame) -> Iterator[Figure]:
    if runs.height < 2:
        return
    slowest = runs.sort("seconds", "started", descending=[True, False])
    fields = (
        Field("started", say("timings.started")),
        Field("seconds", say("timings.seconds"), "seconds"),
        Field("memory", say("timings.memory"), "count"),
        Field("rows", say("timings.rows"), "count"),
        Field("as_of", say("timings.as_of")),
    )
    yield Figure(
        key="timings_runs",
        kind="lines",
        title=say(
            "timings.runs_title",
            runs=runs.height,
            last=Quantity(runs["seconds"][-1], "seconds"),
            most=Quantity(slowest["seconds"][0], "seconds"),
        ),
        definition=say("timings.runs_definition"),
        table=runs,
        fields=fields,
        x="started",
        y="seconds",
    )
    known = runs.drop_nulls("memory")
    if known.height > 1:
        yield Figure(
            key="timings_memory",
            kind="lines",
            title=say(
                "timings.memory_title",
                last=Quantity(known["memory"][-1] * _MEGA, "bytes"),
                most=Quantity(max(known["memory"].to_list()) * _MEGA, "bytes"),
            ),
            definition=say("timings.memory_definition"),
            table=known,
            fields=fields,
            x="started",
            y="memory",
        )
