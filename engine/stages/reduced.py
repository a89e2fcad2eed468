"""Users who did not agree to all inputs: the rows that may be used of them, and the models that score them.

In: the rows of a bucket and what its users agreed to. Out: the rows of each user as far as they may be used, the same
without any of the inputs, and scores in which every user has that of the one model that may be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.consent.inputs import LACKS, Inputs, usable_rows
from engine.consent.permits import OPPOSED, Permits, allowed, join_permits
from engine.propensity.classes import rank_columns
from engine.propensity.population import compile_populations
from engine.propensity.train import TrainedModel
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code
from engine.rollups.ranges import KeyRange
from engine.stages.propensities import probabilities, propensity_columns

if TYPE_CHECKING:
    from engine.bundle import Bundle

FULL: Final = "full"
REDUCED: Final = "reduced"
"""Which model scored a user: the column `propensity_<target>_model`."""


@dataclass(frozen=True, eq=False)
class Usable:
    """The rows of a bucket as far as they may be used.

    Attributes:
        inputs: The inputs.
        bucket: Of each user the rows that may be used.
        lacks: `LACKS` of each user of the bucket, in their order; 0 for users of whom nothing is used at all, so that
            they are counted as withheld and not as without events.
        partial: Of the users who lack some of the inputs' purposes and not all of them, the rows without any of the
            inputs; None without such users. Of all others the usable rows are what the model reads that scores them.
    """

    inputs: Inputs
    bucket: Bucket
    lacks: pl.Series
    partial: Bucket | None


def usable(bucket: Bucket, kinds: Sequence[Code], permits: Permits | None, keys: KeyRange) -> Usable | None:
    """What may be used of the rows of a bucket; None where no input asks for a purpose.

    Args:
        bucket: Users and rows.
        kinds: What each number in the column `type` of the rows stands for.
        permits: What users agreed to.
        keys: The bucket's range.
    """
    if permits is None or permits.inputs is None:
        return None
    inputs = permits.inputs
    used = ~pl.col(OPPOSED) & allowed(permits.process, permits.known)
    lacks = join_permits(bucket.users, permits.part, keys).select(
        pl.when(used).then(_lacking(inputs, permits.known)).otherwise(pl.lit(0, pl.UInt32)).alias(LACKS)
    )[LACKS]
    some = ((lacks > 0) & (lacks < inputs.all)).arg_true()
    partial = None
    if len(some):
        chosen = pl.col("user").is_in(some.implode())
        events = None if bucket.events is None else bucket.events.filter(chosen)
        partial = bare_rows(replace(bucket, daily=bucket.daily.filter(chosen), events=events), kinds, inputs)
    return Usable(inputs, usable_rows(bucket, kinds, inputs, lacks), lacks, partial)


def bare_rows(bucket: Bucket, kinds: Sequence[Code], inputs: Inputs) -> Bucket:
    """The rows of a bucket without any of the inputs, as if nobody had agreed to them."""
    return usable_rows(bucket, kinds, inputs, pl.repeat(inputs.all, bucket.users.height, dtype=pl.UInt32, eager=True))


def _lacking(inputs: Inputs, known: Sequence[str]) -> pl.Expr:
    bits = pl.lit(0, pl.UInt32)
    for place, purpose in enumerate(inputs.purposes):
        lacks = pl.when(allowed((purpose,), known)).then(pl.lit(0, pl.UInt32)).otherwise(pl.lit(1 << place, pl.UInt32))
        bits = bits | lacks
    return bits


@dataclass(frozen=True, eq=False)
class Bare:
    """Users as reduced models read them.

    Attributes:
        users: One row per user, aligned with the users as they are published.
        there: Which of them have an event that is left (Boolean); the rows of the others mean nothing.
    """

    users: pl.DataFrame
    there: pl.Series


def bare_of(users: pl.DataFrame, inputs: Inputs, partial: pl.DataFrame | None) -> Bare:
    """The users of a bucket as reduced models read them.

    Args:
        users: One row per user with `LACKS` and the features that are published; of users who lack the purposes of all
            inputs, they are those that reduced models read.
        inputs: The inputs.
        partial: `user` and such features of the users who lack some of the purposes only; None without such users.
    """
    if partial is None:
        return Bare(users, pl.repeat(value=True, n=users.height, dtype=pl.Boolean, eager=True))
    joined = users.select("user").join(
        partial.with_columns(__there=pl.lit(value=True)), on="user", how="left", maintain_order="left", validate="1:1"
    )
    there = joined["__there"].fill_null(value=False)
    names = [name for name in partial.columns if name in users.columns and name != "user"]
    swapped = users.with_columns(joined[name].zip_with(there, users[name]) for name in names)
    return Bare(swapped, there | (users[LACKS] == 0) | (users[LACKS] == inputs.all))


def propensities(
    users: pl.DataFrame, bundle: Bundle, threads: int, partial: pl.DataFrame | None = None
) -> list[pl.Series]:
    """The columns of `propensity_schema` for every model of a bundle: by the one model that may be used of each user.

    Args:
        users: As for `propensity_columns`; where inputs ask for purposes, with `LACKS`, and nobody lacks one without.
        bundle: What was learnt.
        threads: Threads a model may use.
        partial: As for `bare_of`, with what else the models read.
    """
    if bundle.inputs is None:
        return propensity_columns(users, bundle.models, threads)
    if LACKS not in users.columns:
        users = users.with_columns(pl.lit(0, pl.UInt32).alias(LACKS))
    populations = compile_populations([model.spec.target for model in bundle.models], users.schema)
    inside = populations.holds(users) if populations.names else pl.DataFrame()
    reduced = {model.spec.target.name: model for model in bundle.reduced}
    bare = bare_of(users, bundle.inputs, partial)
    columns = []
    for model in bundle.models:
        target = model.spec.target
        among = inside[target.name] if target.name in populations.names else None
        needs = bundle.inputs.of_kind(target.event, bundle.spec)
        columns += model_columns(users, bare, (model, reduced.get(target.name)), among, needs, threads)
    return columns


def model_columns(
    users: pl.DataFrame,
    bare: Bare,
    models: tuple[TrainedModel, TrainedModel | None],
    inside: pl.Series | None,
    needs: int,
    threads: int,
) -> list[pl.Series]:
    """The columns of one target with `propensity_<target>_model`, in the order of `propensity_schema`.

    Args:
        users: One row per user with `LACKS` and what the model reads.
        bare: The same users without any of the inputs.
        models: The full model and the reduced one; without the latter, who lacks a purpose has no score.
        inside: Who is in the population of the target; everyone when None.
        needs: Purposes of the target's own event (bits of `Inputs`): who lacks one of them has no score.
        threads: Threads a model may use.
    """
    name = models[0].spec.target.name
    full, reduced = variant_scores(users, bare, models, inside, needs, threads)
    if reduced is None or models[1] is None:
        columns = [full, *rank_columns(name, full, models[0].spec)]
        reduced = full.clear(len(full))
    else:
        ranks = zip(rank_columns(name, full, models[0].spec), rank_columns(name, reduced, models[1].spec), strict=True)
        columns = [_either(full, reduced), *(_either(one, other) for one, other in ranks)]
    which = (
        pl.when(full.is_not_null())
        .then(pl.lit(FULL))
        .when(reduced.is_not_null())
        .then(pl.lit(REDUCED))
        .otherwise(None)
        .cast(pl.String)
        .alias(f"propensity_{name}_model")
    )
    return [*columns, pl.select(which).to_series()]


def variant_scores(
    users: pl.DataFrame,
    bare: Bare,
    models: tuple[TrainedModel, TrainedModel | None],
    inside: pl.Series | None,
    needs: int,
    threads: int,
) -> tuple[pl.Series, pl.Series | None]:
    """The scores by the full model and those by the reduced one, each null where the other or none applies.

    Args:
        users, bare, models, inside, needs, threads: As of `model_columns`.
    """
    lacks = users[LACKS]
    everyone = pl.repeat(value=True, n=users.height, dtype=pl.Boolean, eager=True) if inside is None else inside
    full = probabilities(users, models[0], everyone & (lacks == 0), threads)
    if models[1] is None:
        return full, None
    may = everyone & (lacks > 0) & ((lacks & needs) == 0) & bare.there
    return full, probabilities(bare.users, models[1], may, threads)


def _either(one: pl.Series, other: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(one, other).alias(one.name)).to_series()


def scored_by(
    users: pl.DataFrame,
    bundle: Bundle,
    target: str,
    columns: Mapping[str, pl.Series],
    partial: pl.DataFrame | None = None,
) -> list[tuple[TrainedModel, pl.DataFrame]]:
    """The models of a target, each with the users whom it scored, as it reads them.

    Args:
        users: As for `propensities`.
        bundle: What was learnt.
        target: Name of the target.
        columns: By name, what `propensities` gave of these users.
        partial: As for `propensities`.
    """
    [full] = [model for model in bundle.models if model.spec.target.name == target]
    if bundle.inputs is None:
        return [(full, users.filter(columns[f"propensity_{target}"].is_not_null()))]
    which = columns[f"propensity_{target}_model"]
    found = [(full, users.filter(which.eq_missing(pl.Series([FULL]))))]
    for model in bundle.reduced:
        if model.spec.target.name == target:
            bare = bare_of(users, bundle.inputs, partial).users
            found.append((model, bare.filter(which.eq_missing(pl.Series([REDUCED])))))
    return found
