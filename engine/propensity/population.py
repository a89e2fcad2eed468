"""Whom a target is about: the condition of its population over the features and attributes of a user at an anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from engine.rules.conditions import Conditions, compile_conditions
from engine.rules.scope import Scope
from engine.suggest import some_of

if TYPE_CHECKING:
    import polars as pl

    from engine.config import Target


def population_problems(targets: Sequence[Target], schema: Mapping[str, pl.DataType]) -> list[str]:
    """A block of lines per thing that is wrong with a population; empty when all can be told from the columns.

    Args:
        targets: The targets.
        schema: Features and contact attributes, with their types.
    """
    return [
        f"  targets.{target.name}.population: {problem.removeprefix(': ')}"
        for target in targets
        if target.population is not None
        for problem in compile_conditions({"": target.population}, Scope(schema))[1]
    ]


def compile_populations(targets: Sequence[Target], schema: Mapping[str, pl.DataType]) -> Conditions:
    """The populations of those targets that have one, under the names of the targets.

    `holds` of the result gives one Boolean column per such target: whether a user is in its population. Functions of
    events and segments are not known here: a population is told from the features at each anchor.

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
            hint="A population is a condition over one user's features and attributes: "
            f"{some_of(sorted(schema), command='tamis features list')}.",
        )
    texts = {target.name: target.population for target in targets if target.population is not None}
    return compile_conditions(texts, Scope(schema))[0]
