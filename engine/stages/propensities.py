"""The propensities of users: for each model of a bundle the probability, and what it means among the users."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from engine.propensity.classes import rank_columns
from engine.propensity.population import compile_populations
from engine.propensity.predict import load_scorer, predict
from engine.propensity.train import TrainedModel


def propensity_schema(target: str, *, told: bool = False) -> dict[str, pl.DataType]:
    """Name and type of the columns of one target.

    Args:
        target: Its name.
        told: Whether a column tells which model scored a user: where users who lack a purpose have one of their own.
    """
    column = f"propensity_{target}"
    return {
        column: pl.Float64(),
        f"{column}_percentile": pl.Int8(),
        f"{column}_decile": pl.Int8(),
        f"{column}_class": pl.String(),
        **({f"{column}_model": pl.String()} if told else {}),
    }


def propensity_columns(users: pl.DataFrame, models: Sequence[TrainedModel], threads: int) -> list[pl.Series]:
    """The columns of `propensity_schema` for every model, in the order of the models.

    Users outside the population of a target have null in all columns of the target.

    Args:
        users: One row per user with the features and contact attributes that the models and the populations read.
        models: The models of a bundle.
        threads: Threads a model may use.

    Raises:
        IntegrityError: A model is damaged, or the features do not fit it.
        ConfigError: A population cannot be told from the columns of `users`.
    """
    populations = compile_populations([model.spec.target for model in models], users.schema)
    inside = populations.holds(users) if populations.names else pl.DataFrame()
    columns = []
    for model in models:
        name = model.spec.target.name
        scores = probabilities(users, model, inside[name] if name in populations.names else None, threads)
        columns += [scores, *rank_columns(name, scores, model.spec)]
    return columns


def probabilities(users: pl.DataFrame, model: TrainedModel, inside: pl.Series | None, threads: int) -> pl.Series:
    """The calibrated probability of each user, `propensity_<target>` (Float64), null outside the population.

    Args:
        users: One row per user with the features of the model.
        model: The model.
        inside: Who is in the population (Boolean without nulls); everyone when None. Others are not scored at all.
        threads: Threads the model may use.
    """
    scorer = load_scorer(model.text, model.spec)
    name = f"propensity_{model.spec.target.name}"
    if inside is None:
        return pl.Series(name, predict(users, scorer, threads), dtype=pl.Float64)
    scores = predict(users.filter(inside), scorer, threads)
    places = inside.arg_true()
    return pl.repeat(None, users.height, dtype=pl.Float64, eager=True).scatter(places, scores).alias(name)
