"""What a point rule counts: events, a value of the user, or whether a condition holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import PointRule
from engine.events.schema import FILTERABLE
from engine.features.measure import EventRef, Measure
from engine.rules.events import catalogue_column
from engine.rules.parse import parse
from engine.rules.read import Problem, drawn, read_rule, read_value
from engine.rules.scope import Scope
from engine.suggest import did_you_mean, some_of


@dataclass(frozen=True, eq=False)
class Quantity:
    """What the points of a rule are made of.

    Attributes:
        rule: The rule.
        expr: Number of the row, null where there is none; for a condition 1 where it holds, else 0.
        shown: Whether the ledger tells it; a condition has none.
        columns: Features, scores and attributes that it reads.
        measures: Event functions that it reads.
    """

    rule: PointRule
    expr: pl.Expr
    shown: bool = True
    columns: frozenset[str] = frozenset()
    measures: tuple[Measure, ...] = ()


def quantity_of(rule: PointRule, scope: Scope, key: str) -> tuple[Quantity | None, list[str]]:
    """The quantity of a rule, or the lines that tell what is wrong with it.

    Args:
        rule: The rule.
        scope: Names that it may use.
        key: Where it stands in the configuration, such as `points.loyalty.purchases`.
    """
    if rule.event is not None:
        return _events(rule, scope, key)
    if rule.value is not None:
        number = read_value(rule.value, scope)
        if number.value is None or number.problems:
            return None, _told(f"{key}.value", rule.value, number.problems)
        return Quantity(rule, number.value.expr, columns=number.columns, measures=tuple(number.measures)), []
    text = rule.where or ""
    reading = read_rule(text, scope)
    if reading.rule is None or reading.problems:
        return None, _told(f"{key}.where", text, reading.problems)
    return (
        Quantity(rule, reading.rule.expr(), shown=False, columns=reading.rule.columns, measures=reading.rule.measures),
        [],
    )


def _told(key: str, text: str, problems: Sequence[Problem]) -> list[str]:
    return [f"  {key}:\n" + "\n".join(f"    {line}" for line in drawn(text, found).splitlines()) for found in problems]


def _events(rule: PointRule, scope: Scope, key: str) -> tuple[Quantity | None, list[str]]:
    spec = scope.spec
    if spec is None:
        return None, [f"  {key}: events cannot be counted here"]
    known = {unicodedata.normalize("NFC", name): name for name in spec.type_names}
    event = unicodedata.normalize("NFC", rule.event or "")
    if event not in known:
        close = did_you_mean(event, known) or f"; there are {some_of(map(repr, known))}"
        return None, [f"  {key}.event: no event type {event!r}{close}"]
    where, problems = _condition(rule.where, event, scope, f"{key}.where")
    if problems:
        return None, problems
    measure = Measure(
        "event_count" if rule.half_life_days is None else "event_decayed",
        (EventRef(known[event], where),),
        days=rule.window_days,
        half_life=rule.half_life_days or 0,
    )
    column = catalogue_column(measure, spec)
    if column is not None and column in scope.columns:
        return Quantity(rule, pl.col(column), columns=frozenset({column})), []
    return Quantity(rule, pl.col(measure.name), measures=(measure,)), []


def _condition(where: str | None, event: str, scope: Scope, key: str) -> tuple[str | None, list[str]]:
    """The condition in the canonical form of event functions: one meaning in rules and in cards."""
    if where is None:
        return None, []
    # Alone first: what closes a bracket of its own would end the function that it is put into.
    alone = parse(where, {name: name for name in FILTERABLE})
    if alone.tree is None:
        return None, _told(key, where, alone.problems)
    quoted = event.replace("'", "''")
    text = f"event_count('{quoted}', ({where}))"
    counted = read_value(text, scope)
    if counted.problems or len(counted.measures) != 1:
        return None, _told(key, text, counted.problems) or [
            f"  {key}: expected a condition over the event, got {where}"
        ]
    return counted.measures[0].events[0].where, []
