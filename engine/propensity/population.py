"""Whom a target is about: the condition of its population over the features and attributes of a user at an anchor.

A target that asks for purposes is about those of them alone who agreed to all of its purposes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Target
from engine.errors import ConfigError
from engine.rules.conditions import Conditions, compile_conditions
from engine.rules.scope import Scope
from engine.suggest import some_of


@dataclass(frozen=True, eq=False)
class Populations:
    """The populations of targets.

    Attributes:
        conditions: Those that are said by a condition, under the names of the targets.
        asking: Names of the targets that ask for purposes.
        names: The targets that are not about everybody, in their order.
    """

    conditions: Conditions
    asking: frozenset[str]
    names: tuple[str, ...]

    def holds(self, users: pl.DataFrame) -> pl.DataFrame:
        """One Boolean column without nulls per target of `names`: whether it is about the user.

        Args:
            users: One row per user, with `agreed_column` of each target that asks for purposes.
        """
        if not self.names:
            return pl.DataFrame()
        said = self.conditions.holds(users)
        columns = []
        for name in self.names:
            parts = [said[name]] if name in self.conditions.rules else []
            parts += [users[agreed_column(name)]] if name in self.asking else []
            columns.append((parts[0] & parts[-1]).alias(name))
        return pl.DataFrame(columns)


def is_about_some(target: Target) -> bool:
    """Whether a target is not about everybody."""
    return target.population is not None or bool(target.purposes)


def agreed_column(target: str) -> str:
    """The column that tells whether a user agreed to all purposes that a target asks for."""
    return f"__agreed_{target}"


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


def compile_populations(targets: Sequence[Target], schema: Mapping[str, pl.DataType]) -> Populations:
    """The populations of those targets that are not about everybody.

    Functions of events and segments are not known here: a population is told from the features at each anchor.

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
    return Populations(
        compile_conditions(texts, Scope(schema))[0],
        frozenset(target.name for target in targets if target.purposes),
        tuple(target.name for target in targets if is_about_some(target)),
    )
