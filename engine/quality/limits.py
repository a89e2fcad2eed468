"""Limits of the configuration: what each can be about, and which measurements break them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

from engine.config import Config
from engine.config_quality import Limit, Metric
from engine.config_sources import Columns, Source, Value
from engine.errors import ConfigError, DataError
from engine.events.schema import REJECT_RULES
from engine.quality.table import STATUSES, Measured
from engine.suggest import did_you_mean

METRICS: Final = get_args(Metric)
_CONTACTS: Final = "contacts"
_SHOWN: Final = 50

Thing = tuple[str, str, str | None]
"""A metric, the source, `contacts` or the enrichment that has it, and the column or rule."""


def check_limits(config: Config, attributes: Collection[str]) -> None:
    """Check that every limit is about something that is measured.

    Args:
        config: The configuration.
        attributes: Attributes of the contacts.

    Raises:
        ConfigError: All limits that no measurement can meet or break.
    """
    things = list(measurable(config, attributes))
    problems = [
        f"  quality.limits[{place}]: {problem}"
        for place, limit in enumerate(config.quality.limits)
        if (problem := _unmatched(limit, things))
    ]
    if problems:
        raise ConfigError(
            "limits on what is not measured\n" + "\n".join(problems),
            code="quality-limit",
            hint="`tamis quality` shows what is measured; docs/quality.md says of what each metric is.",
        )


def measurable(config: Config, attributes: Collection[str]) -> Iterator[Thing]:
    """Everything that can be measured with a configuration.

    Args:
        config: The configuration.
        attributes: Attributes of the contacts.
    """
    for source in config.sources:
        yield from _of_source(source)
    if config.contacts is None:
        return
    cleaning = config.contacts.cleaning
    yield ("rows", _CONTACTS, None)
    yield from (("completeness", _CONTACTS, name) for name in attributes)
    yield from (("rule_share", _CONTACTS, rule.name) for rule in config.contacts.rules)
    for kind, column in (("email", cleaning.email), ("phone", cleaning.phone)):
        if column is not None:
            yield ("invalid_share", _CONTACTS, kind)
    for enrichment in config.contacts.enrich:
        yield ("rows", enrichment.name, None)
        yield ("completeness", enrichment.name, None)


def _of_source(source: Source) -> Iterator[Thing]:
    name, columns = source.name, source.columns
    for metric in ("rows", "invalid_share", "freshness_days"):
        yield (metric, name, None)
    mapped = [field for field in Columns.model_fields if getattr(columns, field) is not None]
    for field in mapped:
        if not isinstance(getattr(columns, field), Value):
            yield ("completeness", name, field)
    if "event_id" in mapped:
        yield ("duplicate_share", name, None)
    if "received_time" in mapped:
        yield ("late_share", name, None)
    yield from (("outlier_share", name, field) for field in ("amount", "quantity") if field in mapped)
    yield from (("reject_share", name, rule.name) for rule in REJECT_RULES)
    yield from (("reject_share", name, rule.name) for rule in source.rules if rule.action == "quarantine")
    yield from (("rule_share", name, rule.name) for rule in source.rules)


def _unmatched(limit: Limit, things: Sequence[Thing]) -> str:
    """Why a limit is about nothing; empty when it is about something."""
    of_metric = [thing for thing in things if thing[0] == limit.metric]
    owners = list(dict.fromkeys(owner for _, owner, _ in of_metric))
    if not of_metric:
        return f"nothing has the metric {limit.metric!r}"
    if limit.of is not None and limit.of not in owners:
        known = f"; these have it: {', '.join(owners)}"
        return f"of: {limit.of!r} has no {limit.metric}{did_you_mean(limit.of, owners) or known}"
    columns = [column for _, owner, column in of_metric if limit.of in (None, owner) and column is not None]
    if limit.column is not None and limit.column not in columns:
        there = ", ".join(dict.fromkeys(columns)) or "none"
        known = did_you_mean(limit.column, columns) or f"; these are: {there}"
        return f"column: no {limit.metric} of {limit.column!r} is measured{known}"
    return ""


@dataclass(frozen=True)
class Judged:
    """Measurements with their status, and what is said of those that break a limit."""

    measured: tuple[Measured, ...]
    warnings: tuple[str, ...]


def judge(measured: Iterable[Measured], limits: Sequence[Limit]) -> Judged:
    """Compare measurements with the limits.

    Raises:
        DataError: All limits that are broken and are to stop the run.
    """
    judged, told = [], {"warn": [], "stop": []}  # type: tuple[list[Measured], dict[str, list[str]]]
    for one in measured:
        status = "none"
        for limit in limits:
            if not _is_about(limit, one):
                continue
            problems = list(_broken(limit, one))
            told[limit.action] += problems
            status = max(status, limit.action if problems else "ok", key=STATUSES.index)
        judged.append(one if status == "none" else replace(one, status=status))
    if told["stop"]:
        lines = [f"  {line}" for line in told["stop"][:_SHOWN]]
        more = [f"  and {len(told['stop']) - _SHOWN} more"] if len(told["stop"]) > _SHOWN else []
        raise DataError(
            "\n".join(["the data is not as [quality] asks; nothing was published", *lines, *more]),
            code="quality-stop",
            hint="Mend the data, or set the limit's action to 'warn' to publish all the same.",
        )
    return Judged(tuple(judged), tuple(f"quality: {line}" for line in told["warn"]))


def _is_about(limit: Limit, one: Measured) -> bool:
    is_whole = one.day is None and one.value is not None
    names = limit.of in (None, one.name) and limit.column in (None, one.column)
    return is_whole and one.metric == limit.metric and names


def _broken(limit: Limit, one: Measured) -> Iterator[str]:
    value = one.value
    if value is None:
        return
    what = f"{one.metric} of {one.name}" + ("" if one.column is None else f" {one.column}")
    if limit.at_least is not None and value < limit.at_least:
        yield f"{what} is {_plain(value)}, expected at least {_plain(limit.at_least)}"
    if limit.at_most is not None and value > limit.at_most:
        yield f"{what} is {_plain(value)}, expected at most {_plain(limit.at_most)}"
    if limit.change is not None and one.previous is not None:
        # Against nothing, anything is a change without bound.
        change = abs(one.change) if one.change is not None else float("inf")
        if change > limit.change:
            was = _plain(one.previous)
            yield f"{what} is {_plain(value)} and was {was}, expected a change of at most {limit.change:.4g} of it"


def _plain(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
