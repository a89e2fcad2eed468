"""Whom a target is about: the condition of its population over the features and attributes of a user at an anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.segments.rules import CompiledRules, read_condition
from engine.suggest import some_of

if TYPE_CHECKING:
    import polars as pl

    from engine.config import Target


def population_problems(targets: Sequence[Target], schema: Mapping[str, pl.DataType]) -> list[str]:
    """One line per thing that is wrong with a population; empty when all of them can be told from the columns.

    Args:
        targets: The targets.
        schema: Features and contact attributes, with their types.
    """
    return [
        f"  targets.{target.name}.population: {problem}\n      in: {target.population}"
        for target in targets
        if target.population is not None
        for problem in read_condition(target.population, schema)[2]
    ]


def compile_populations(targets: Sequence[Target], schema: Mapping[str, pl.DataType]) -> CompiledRules:
    """The populations of those targets that have one, under the names of the targets.

    `holds` of the result gives one Boolean column per such target: whether a user is in its population. A condition
    that is NULL does not hold, as in the rules of segments.

    Args:
        targets: The targets.
        schema: The columns of the frame that `holds` will get, features and contact attributes among them.

    Raises:
        ConfigError: Every problem of every population.
    """
    problems = population_problems(targets, schema)
    if problems:
        raise ConfigError(
            "populations of targets that cannot be told\n" + "\n".join(problems),
            code="target-population",
            hint=f"A population is a condition over one user's features and attributes: {some_of(sorted(schema))}.",
        )
    conditions: list[pl.Expr] = []
    columns: set[str] = set()
    names = []
    for target in targets:
        if target.population is None:
            continue
        condition, used, _ = read_condition(target.population, schema)
        if condition is not None:
            names.append(target.name)
            conditions.append(condition)
            columns |= used
    return CompiledRules(tuple(names), tuple(conditions), tuple(sorted(columns)), "The population of target")
