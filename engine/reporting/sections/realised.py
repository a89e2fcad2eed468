"""Whether the models are still right: what became of the scores that were published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from math import sqrt
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.reporting.message import Message, Name, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import MOST_MODELS, missing, number, share, specs

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

MOST_DATES: Final = 12
"""Validated dates of a figure: the last so many."""

_FACTOR: Final = 2.0
"""Predicted and realised rates this far apart do not hold any more."""
_STANDARD_ERRORS: Final = 3.0


def section(facts: Facts) -> Section:
    """Realised quality by target and validated date; without any, the command that makes it."""
    title = say("realised.title")
    known = [spec.target.name for spec in specs(facts) if spec.target.name in facts.validation]
    order = [*known, *sorted(facts.validation.keys() - set(known))]
    rows = {target: _rows(facts.validation[target], facts.min_cell) for target in order}
    validated = {target: found for target, found in rows.items() if found}
    if not validated:
        return Section("realised", "scientist", title, missing=_how_to(facts))
    last = {target: found[-1] for target, found in validated.items()}
    later = _not_yet(facts, validated)
    return Section(
        "realised",
        "scientist",
        title,
        sentences=(*(_told(target, row) for target, row in last.items()), *later),
        figures=tuple(
            figure
            for target, found in list(validated.items())[:MOST_MODELS]
            for figure in _figures(target, found[-MOST_DATES:])
        ),
        alarms=tuple(alarm for target, row in last.items() for alarm in _alarms(target, row)),
    )


def _rows(frame: pl.DataFrame, min_cell: int) -> list[dict[str, Any]]:
    if not {"as_of", "rows", "base_rate", "predicted_rate", "auc"} <= set(frame.columns):
        return []
    rows = frame.sort("as_of").to_dicts()
    return [row for row in rows if row["base_rate"] is not None and row["rows"] >= min_cell]


def _how_to(facts: Facts) -> Message:
    models = specs(facts)
    if not models:
        return missing(facts, say("models.none"))
    horizon = min(spec.target.horizon_days for spec in models)
    ripe = [day for day in facts.dates if day + timedelta(days=horizon) <= facts.dates[-1]]
    if ripe:
        return say("realised.how", day=ripe[-1].isoformat())
    return say("realised.when", day=facts.as_of.isoformat(), ripe=facts.as_of + timedelta(days=horizon))


def _not_yet(facts: Facts, validated: Mapping[str, list[dict[str, Any]]]) -> Iterator[Message]:
    """Targets of the bundle that no date was validated of."""
    for spec in specs(facts):
        if spec.target.name not in validated:
            yield say("realised.not_yet", target=Name(spec.target.name))


def _told(target: str, row: Mapping[str, Any]) -> Message:
    trained = row.get("auc_at_training")
    shared = {
        "target": Name(target),
        "day": row["as_of"],
        "auc": number(row["auc"]),
        "low": number(row.get("auc_low")),
        "high": number(row.get("auc_high")),
        "predicted": share(row["predicted_rate"]),
        "realised": share(row["base_rate"]),
        "rows": int(row["rows"]),
    }
    if row["auc"] is None:
        return say("realised.one_class", **{name: shared[name] for name in ("target", "day", "realised", "rows")})
    if trained is None:
        return say("realised.told", **shared)
    key = "realised.worse" if _is_worse(row) else "realised.right"
    return say(key, **shared, trained=number(trained))


def _is_worse(row: Mapping[str, Any]) -> bool:
    """Whether the interval of the realised AUC lies below that of the training."""
    high, trained = row.get("auc_high"), row.get("auc_at_training")
    return high is not None and trained is not None and high < trained


def _alarms(target: str, row: Mapping[str, Any]) -> Iterator[Message]:
    if _is_worse(row):
        yield say(
            "realised.alarm_worse",
            target=Name(target),
            day=row["as_of"],
            auc=number(row["auc"]),
            trained=number(row["auc_at_training"]),
        )
    predicted, realised = row["predicted_rate"], row["base_rate"]
    if predicted is not None and is_apart(predicted, realised, row["rows"]):
        yield say(
            "realised.alarm_rate",
            target=Name(target),
            day=row["as_of"],
            predicted=share(predicted),
            realised=share(realised),
        )


def is_apart(predicted: float, realised: float, rows: int) -> bool:
    """Whether probabilities do not hold any more: by a factor, and by more than chance explains."""
    low, high = sorted((predicted, realised))
    error = sqrt(max(predicted * (1 - predicted), 0.0) / rows)
    return high > low and high >= _FACTOR * low and high - low >= _STANDARD_ERRORS * error


def _figures(target: str, rows: list[dict[str, Any]]) -> Iterator[Figure]:
    measured = [row for row in rows if row["auc"] is not None]
    if measured:
        yield _auc(target, measured)
    predicted = [row for row in rows if row["predicted_rate"] is not None]
    if predicted:
        yield _rates(target, predicted)


def _auc(target: str, rows: list[dict[str, Any]]) -> Figure:
    columns = ("auc", "auc_low", "auc_high", "auc_at_training", "lift")
    table = pl.DataFrame(
        [(row["as_of"], *(row.get(name) for name in columns), row["rows"]) for row in rows],
        {"as_of": pl.Date, **dict.fromkeys(columns, pl.Float64), "users": pl.Int64},
        orient="row",
    )
    good = sum(not _is_worse(row) for row in rows)
    return Figure(
        key=f"realised_auc_{target}",
        kind="dots",
        title=say("realised.auc_title", target=Name(target), good=good, all=len(rows)),
        definition=say("realised.auc_definition"),
        table=table,
        fields=(
            Field("as_of", say("realised.day")),
            Field("auc", say("realised.auc"), "number"),
            Field("auc_low", say("models.low"), "number"),
            Field("auc_high", say("models.high"), "number"),
            Field("auc_at_training", say("realised.auc_at_training"), "number"),
            Field("lift", say("realised.lift"), "factor"),
            Field("users", say("realised.users"), "count"),
        ),
        x="auc",
        y="as_of",
        low="auc_low",
        high="auc_high",
        users="users",
        marked=tuple(str(row["as_of"]) for row in rows if _is_worse(row)),
    )


def _rates(target: str, rows: list[dict[str, Any]]) -> Figure:
    names = {"predicted": "predicted_rate", "realised": "base_rate"}
    table = pl.DataFrame(
        [(row["as_of"], name, row[column], row["rows"]) for row in rows for name, column in names.items()],
        {"as_of": pl.Date, "line": pl.String, "rate": pl.Float64, "users": pl.Int64},
        orient="row",
    )
    last = rows[-1]
    return Figure(
        key=f"realised_rates_{target}",
        kind="grouped_bars",
        title=say(
            "realised.rates_title",
            target=Name(target),
            day=last["as_of"],
            predicted=share(last["predicted_rate"]),
            realised=share(last["base_rate"]),
        ),
        definition=say("realised.rates_definition"),
        table=table,
        fields=(
            Field("as_of", say("realised.day")),
            Field("line", say("models.line"), vocabulary="series"),
            Field("rate", say("realised.rate"), "share"),
            Field("users", say("realised.users"), "count"),
        ),
        x="rate",
        y="as_of",
        colour="line",
        users="users",
    )
