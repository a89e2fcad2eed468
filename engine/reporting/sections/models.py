"""How good the propensity models are: quality out of time, lift, gain, and whether probabilities hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import MOST_MODELS, missing, number, people, share, specs

if TYPE_CHECKING:
    from engine.propensity.metrics import Metrics
    from engine.propensity.spec import ModelSpec
    from engine.reporting.facts import Facts

_MEASURES: Final = ("auc", "average_precision", "log_loss", "brier", "ece", "lift")
_NORMAL_975: Final = 1.959963984540054
_FOUND: Final = 0.8
_LEAK = re.compile(r"feature '(.+)' alone tells the label: AUC ([\d.]+)")
_SHIFT: Final = "the base rate has shifted"


def section(facts: Facts) -> Section:
    """The models of the bundle that scored, the verdict of each in a sentence."""
    title, models = say("models.title"), specs(facts)
    if not models:
        return Section("models", "scientist", title, missing=missing(facts, say("models.none")))
    return Section(
        "models",
        "scientist",
        title,
        sentences=tuple(line for spec in models for line in _sentences(spec, facts.min_cell)),
        figures=(
            _quality(models),
            *(figure for spec in models[:MOST_MODELS] for figure in _figures(spec, facts.min_cell)),
        ),
        alarms=tuple(alarm for spec in models for alarm in _alarms(spec, facts.min_cell)),
    )


def _sentences(spec: ModelSpec, min_cell: int) -> Iterator[Message]:
    metrics, target = spec.metrics, Name(spec.target.name)
    auc = dict(spec.intervals).get("auc")
    if metrics.auc is None or auc is None:
        yield say("models.unjudged", target=target, positives=people(metrics.positives, min_cell), rows=metrics.rows)
        return
    key = "models.passed" if spec.verdict.promoted else "models.failed"
    yield say(
        key,
        target=target,
        auc=number(metrics.auc),
        low=number(auc.low),
        high=number(auc.high),
        rows=metrics.rows,
        baseline=number(spec.baseline.auc),
    )
    incumbent = spec.verdict.incumbent
    if incumbent is not None:
        key = "models.as_before" if incumbent.low <= 0 <= incumbent.high else "models.better_than_before"
        key = key if incumbent.high >= 0 else "models.worse_than_before"
        yield say(
            key,
            target=target,
            difference=Quantity(incumbent.value, "number", signed=True),
            low=Quantity(incumbent.low, "number", signed=True),
            high=Quantity(incumbent.high, "number", signed=True),
        )


def _alarms(spec: ModelSpec, min_cell: int) -> Iterator[Message]:
    target = Name(spec.target.name)
    if not spec.verdict.promoted:
        yield say("models.alarm_gate", target=target)
    for alarm in spec.alarms:
        leak = _LEAK.search(alarm)
        if leak is not None:
            yield say("models.alarm_leak", target=target, feature=Name(leak[1]), auc=number(float(leak[2])))
        elif _SHIFT in alarm:
            yield say(
                "models.alarm_shift",
                target=target,
                before=share(spec.base_rate),
                after=share(spec.metrics.base_rate),
                rows=spec.metrics.rows,
                positives=people(spec.metrics.positives, min_cell),
            )
        else:
            yield say("models.alarm", target=target, alarm=alarm)


def _quality(models: Sequence[ModelSpec]) -> Figure:
    rows = [row for spec in models for row in _figure_rows(spec)]
    schema = pl.Schema(
        {
            "target": pl.String,
            "measure": pl.String,
            **dict.fromkeys(("model", "low", "high", "chance", "baseline"), pl.Float64),
        }
    )
    good = sum(spec.verdict.promoted for spec in models)
    return Figure(
        key="models_quality",
        kind="none",
        title=say("models.quality", good=good, all=len(models)),
        definition=say("models.quality_definition"),
        table=pl.DataFrame(rows, schema, orient="row"),
        fields=(
            Field("target", say("models.target")),
            Field("measure", say("models.measure"), vocabulary="measure"),
            *(Field(name, say(f"models.{name}"), "number") for name in ("model", "low", "high", "chance", "baseline")),
        ),
    )


def _figure_rows(spec: ModelSpec) -> Iterator[tuple[str | float | None, ...]]:
    chance = {
        "auc": 0.5,
        "average_precision": spec.metrics.base_rate,
        "log_loss": spec.metrics.base_log_loss,
        "brier": spec.metrics.base_brier,
        "ece": 0.0,
        "lift": 1.0,
    }
    for name in _MEASURES:
        interval = dict(spec.intervals).get(name)
        low, high = (None, None) if interval is None else (interval.low, interval.high)
        yield (
            spec.target.name,
            name,
            _measure(spec.metrics, name),
            low,
            high,
            chance[name],
            _measure(spec.baseline, name),
        )


def _measure(metrics: Metrics, name: str) -> float | None:
    if name == "lift":
        return metrics.lift_by_decile[0] if metrics.lift_by_decile else None
    found: float | None = getattr(metrics, name)
    return found


def _figures(spec: ModelSpec, min_cell: int) -> Iterator[Figure]:
    # A tenth of the test rows is a group of people.
    if spec.metrics.lift_by_decile and spec.metrics.rows >= 10 * min_cell:
        yield _lift(spec)
        yield _gain(spec)
    bins = [part for part in spec.reliability if part.rows >= min_cell]
    if bins:
        yield _calibration(spec, min_cell)


def _lift(spec: ModelSpec) -> Figure:
    metrics = spec.metrics
    table = pl.DataFrame(
        {
            "decile": list(range(1, len(metrics.lift_by_decile) + 1)),
            "lift": metrics.lift_by_decile,
            "rate": [lift * metrics.base_rate for lift in metrics.lift_by_decile],
        },
        {"decile": pl.Int64, "lift": pl.Float64, "rate": pl.Float64},
    )
    return Figure(
        key=f"lift_{spec.target.name}",
        kind="bars",
        title=say(
            "models.lift_title",
            target=Name(spec.target.name),
            gain=share(metrics.gain_by_decile[0]),
            lift=Quantity(metrics.lift_by_decile[0], "factor"),
        ),
        definition=say("models.lift_definition", rows=metrics.rows, **_what(spec)),
        table=table,
        fields=(
            Field("decile", say("models.decile"), "ordinal"),
            Field("lift", say("models.lift"), "factor"),
            Field("rate", say("models.rate"), "share"),
        ),
        x="lift",
        y="decile",
        marked=("1",),
    )


def _gain(spec: ModelSpec) -> Figure:
    model, baseline = spec.metrics.gain_by_decile, spec.baseline.gain_by_decile
    tenths = range(len(model) + 1)
    lines = {
        "model": (0.0, *model),
        "baseline": (0.0, *baseline),
        "chance": [tenth / len(model) for tenth in tenths],
    }
    rows = [(tenth * 10, name, float(line[tenth])) for name, line in lines.items() for tenth in tenths]
    needed = next((tenth for tenth, gain in enumerate(model, 1) if gain >= _FOUND), len(model))
    return Figure(
        key=f"gain_{spec.target.name}",
        kind="lines",
        title=say(
            "models.gain_title",
            target=Name(spec.target.name),
            addressed=needed * 100 // len(model),
            gain=share(model[needed - 1]),
        ),
        definition=say("models.gain_definition", rows=spec.metrics.rows, **_what(spec)),
        table=pl.DataFrame(rows, {"addressed": pl.Int64, "line": pl.String, "gain": pl.Float64}, orient="row"),
        fields=(
            Field("addressed", say("models.addressed"), "ordinal"),
            Field("line", say("models.line"), vocabulary="series"),
            Field("gain", say("models.gain"), "share"),
        ),
        x="addressed",
        y="gain",
        colour="line",
    )


def _calibration(spec: ModelSpec, min_cell: int) -> Figure:
    bins = [part for part in spec.reliability if part.rows >= min_cell]
    rows = [(part.mean_score, part.rate, *_wilson(part.rate, part.rows), part.rows) for part in bins]
    names = ("predicted", "observed", "low", "high")
    total = sum(part.rows for part in spec.reliability)
    predicted = sum(part.rows * part.mean_score for part in spec.reliability) / total
    return Figure(
        key=f"calibration_{spec.target.name}",
        kind="calibration",
        title=say(
            "models.calibration_title",
            target=Name(spec.target.name),
            predicted=share(predicted),
            observed=share(spec.metrics.base_rate),
        ),
        definition=say("models.calibration_definition", rows=spec.metrics.rows, **_what(spec)),
        table=pl.DataFrame(rows, {**dict.fromkeys(names, pl.Float64), "users": pl.Int64}, orient="row"),
        fields=(
            *(Field(name, say(f"models.{name}"), "share") for name in names[:2]),
            Field("low", say("models.low"), "share"),
            Field("high", say("models.high"), "share"),
            Field("users", say("models.test_rows"), "count"),
        ),
        x="predicted",
        y="observed",
        low="low",
        high="high",
        users="users",
    )


def _what(spec: ModelSpec) -> dict[str, Message | int]:
    """What is predicted, and in how many days."""
    target = spec.target
    key = "models.absent" if target.absent else "models.event"
    where = "" if target.where is None else f" ({target.where})"
    return {"what": say(key, event=Name(target.event + where)), "days": target.horizon_days}


def _wilson(rate: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, "Probable inference", 1927)."""
    square = _NORMAL_975**2 / rows
    middle = (rate + square / 2) / (1 + square)
    half = _NORMAL_975 * sqrt(rate * (1 - rate) / rows + square / (4 * rows)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
