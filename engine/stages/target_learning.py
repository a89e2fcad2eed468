"""The tasks that learn from labelled rows: one model per target, and the reference that later runs are compared with.

In: the Parquet files that `engine.stages.learning.build_matrices` wrote. Out: a trained model, or histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.config import Model, Target
from engine.consent.inputs import LACKS, Inputs
from engine.errors import DataError
from engine.features.spec import FeatureSpec
from engine.incumbent import incumbent_model
from engine.propensity.classes import score_cuts
from engine.propensity.drift import Reference, fit_reference
from engine.propensity.folds import in_sample, in_test, in_valid
from engine.propensity.labels import Apart
from engine.propensity.population import is_about_some
from engine.propensity.row_checks import check_frames
from engine.propensity.spec import Trial
from engine.propensity.train import Frames, TrainedModel, train
from engine.propensity.tune import evaluate
from engine.stages.propensities import probabilities
from engine.stages.reduced import Bare, variant_scores

_KEY = pl.col("user_key")


@dataclass(frozen=True)
class TargetTask:
    """Train the model of one target.

    Attributes:
        train_files, valid_files, test_files: Rows at the anchors of each kind, of all users.
        current_files: All users at `as_of`; their scores cut the percentiles.
        users: Number of the users at `as_of`.
        apart: With "users", training and validation rows are of the same anchors and different users.
        alarms: What was found about the target before the training.
        incumbent: Folder of the bundle in use; None when there is none.
        spec: The features.
        features, categorical: What is learnt from, and which of it are categories.
        model: Settings of the training.
        tuned: The trials that `model` won.
        full_only: Whether only those of `current_files` count who lack no purpose of an input, which is told there.
        without: The inputs that the rows have not: it is the model of the users who lack a purpose of one.
    """

    target: Target
    train_files: tuple[str, ...]
    valid_files: tuple[str, ...]
    test_files: tuple[str, ...]
    current_files: tuple[str, ...]
    users: int
    apart: Apart
    alarms: tuple[str, ...]
    incumbent: str | None
    spec: FeatureSpec
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    model: Model
    seed: int
    threads: int
    tuned: tuple[Trial, ...] = ()
    full_only: bool = False
    without: Inputs | None = None


@dataclass(frozen=True)
class TrialTask:
    """Try other settings for the model of a target."""

    of: TargetTask
    settings: Model


@dataclass(frozen=True)
class ReducedScores:
    """What scores the users who lack a purpose of an input.

    Attributes:
        inputs: The inputs.
        spec: The features.
        models: The reduced models.
        files: The users at `as_of` without any of the inputs.
    """

    inputs: Inputs
    spec: FeatureSpec
    models: tuple[TrainedModel, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class ReducedModel:
    """The model of the users who lack a purpose of an input."""

    model: TrainedModel


@dataclass(frozen=True)
class NoReduced:
    """Such a model of the target that could not be trained, and why: these users have no score then."""

    target: str
    reason: str


@dataclass(frozen=True)
class DriftTask:
    """Remember how features and scores are distributed over the users at `as_of`, at most `max_rows` of `users`.

    Attributes:
        files: The users at `as_of`.
        numeric, categorical: The features to remember.
        models: The models whose scores are remembered, as they go into the bundle.
        reduced: Where inputs ask for purposes, what scores the users who lack one.
    """

    files: tuple[str, ...]
    users: int
    max_rows: int
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    bins: int
    models: tuple[TrainedModel, ...]
    threads: int
    reduced: ReducedScores | None = None


def label_column(target: Target) -> str:
    """The column of a target's labels in the rows to learn from; null outside its population."""
    return f"label_{target.name}"


def population_column(target: Target) -> str:
    """The column that tells, for the users at `as_of`, who is in the population of a target that has one."""
    return f"population_{target.name}"


def scan_rows(files: Sequence[str]) -> pl.LazyFrame:
    """The rows of files that need not have the same columns; whoever reads selects those it needs."""
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False, extra_columns="ignore")


def learn_target(task: TargetTask) -> TrainedModel:
    """The model of one target, with the percentiles of its scores over the users at `as_of`.

    Users of the test fold are in no training or validation row; those of the other folds are in no test row.

    Raises:
        DataError: Too little to learn from; the message has the numbers.
    """
    incumbent = _incumbent(task)
    more = () if incumbent is None else incumbent.spec.features
    test, all_test = _part(task, "test", more)
    frames, sampled = _learning_frames(task, test)
    trained = train(
        frames,
        task.features,
        task.categorical,
        task.target,
        task.model,
        task.seed,
        task.threads,
        incumbent=incumbent,
        apart=task.apart,
        sampled=(*sampled, *_cut("test", test, all_test)),
        tuned=task.tuned,
    )
    rows = _users_now(task.current_files, task.users, task.model.max_rows, (trained,), full=task.full_only)
    now = rows.collect()
    cuts = score_cuts(_score(now, trained, task.threads).drop_nulls().to_numpy())
    alarms = (*task.alarms, *trained.spec.alarms)
    return replace(trained, spec=replace(trained.spec, cuts=cuts, alarms=alarms))


def learn_full(task: TargetTask) -> TrainedModel:
    """As `learn_target`, of a model of the users who lack no purpose of an input; an error says how many they are.

    Raises:
        DataError: As `learn_target`.
    """
    try:
        return learn_target(task)
    except DataError as error:
        raise DataError(
            f"{error.message}\n  users who agreed to every purpose of consent.inputs: {task.users} at as_of",
            code=error.code,
            hint=f"{error.hint} Where hardly anybody agreed, leave the target or the inputs out.",
        ) from error


def learn_reduced(task: TargetTask) -> ReducedModel | NoReduced:
    """As `learn_target`, of a model whose rows have none of the inputs; too little to learn from is no error."""
    try:
        return ReducedModel(learn_target(task))
    except DataError as error:
        return NoReduced(task.target.name, " ".join(error.message.split()))


def try_settings(task: TrialTask) -> float:
    """The log loss (nats) of other settings on the validation rows of a target; the test rows play no part in it.

    Raises:
        DataError: Too little to learn from, as `learn_target`.
    """
    of = task.of
    frames, _ = _learning_frames(of, _part(of, "test")[0])
    check_frames(frames, of.features, of.categorical, of.target, task.settings, of.apart)
    return evaluate(frames, of.features, of.categorical, task.settings, of.seed, of.threads)


def learn_drift(task: DriftTask) -> Reference:
    """The histograms of the features, and of every model's scores as `propensity_<target>`."""
    more = (*task.numeric, *task.categorical, *(() if task.reduced is None else ("user_key", LACKS)))
    now = _users_now(task.files, task.users, task.max_rows, task.models, more).collect()
    if task.reduced is None:
        scored = now.with_columns(_score(now, model, task.threads) for model in task.models)
    else:
        scored = now.with_columns(_scores_of_both(now, task, task.reduced))
    scores = [f"propensity_{model.spec.target.name}" for model in task.models]
    return fit_reference(scored, task.numeric, task.categorical, task.bins, scores)


def _scores_of_both(now: pl.DataFrame, task: DriftTask, reduced: ReducedScores) -> list[pl.Series]:
    """The scores of users as `score` gives them: by the full model or the reduced one."""
    read = dict.fromkeys(name for model in reduced.models for name in model.spec.features)
    bare = scan_rows(reduced.files).filter(pl.col("user_key").is_in(now["user_key"].implode()))
    there = bare.select("user_key", *read, __there=pl.lit(value=True)).collect()
    others = now.select(pl.exclude(list(read))).join(there, on="user_key", how="left", maintain_order="left")
    users = Bare(others, others["__there"].fill_null(value=False))
    by_target = {model.spec.target.name: model for model in reduced.models}
    scores = []
    for model in task.models:
        target = model.spec.target
        inside = now.get_column(population_column(target)) if is_about_some(target) else None
        pair = (model, by_target.get(target.name))
        needs = reduced.inputs.of_kind(target.event, reduced.spec)
        full, other = variant_scores(now, users, pair, inside, needs, task.threads)
        scores.append(full if other is None else full.zip_with(full.is_not_null(), other))
    return scores


def _learning_frames(task: TargetTask, test: pl.DataFrame) -> tuple[Frames, tuple[tuple[str, int, int], ...]]:
    """Training and validation rows beside the given test rows, and which of the two are a sample."""
    training, all_training = _part(task, "training")
    validation, all_validation = _part(task, "validation")
    sampled = (*_cut("training", training, all_training), *_cut("validation", validation, all_validation))
    return Frames(training, validation, test), sampled


def _cut(part: str, used: pl.DataFrame, rows: int) -> tuple[tuple[str, int, int], ...]:
    return ((part, rows, used.height),) if rows > used.height else ()


def _part(task: TargetTask, part: str, more: Sequence[str] = ()) -> tuple[pl.DataFrame, int]:
    """The rows of one kind, sampled by user if they are too many, and how many there are.

    Args:
        task: The target.
        part: `training`, `validation` or `test`.
        more: Further columns, which the files have.
    """
    share, limit = task.model.test_users, task.model.max_rows
    label = label_column(task.target)
    learned = ~in_test(_KEY, share)
    match part:
        case "test":
            # Without a test fold every user is in all rows, and the dates alone keep them apart.
            files, fold = task.test_files, in_test(_KEY, share) if share else pl.lit(value=True)
        case "validation":
            files, fold = task.valid_files, learned & in_valid(_KEY, share) if task.apart == "users" else learned
        case _:
            files, fold = task.train_files, learned & ~in_valid(_KEY, share) if task.apart == "users" else learned
    rows = scan_rows(files).filter(pl.col(label).is_not_null() & fold)
    count = int(rows.select(pl.len()).collect().item())
    if count > limit:
        rows = rows.filter(in_sample(_KEY, count, limit))
    columns = dict.fromkeys((*task.features, *more))
    return rows.select("user_id", "anchor", *columns, pl.col(label).alias("label")).collect(), count


def _incumbent(task: TargetTask) -> TrainedModel | None:
    if task.incumbent is None:
        return None
    available = scan_rows(task.test_files).collect_schema()
    return incumbent_model(Path(task.incumbent), task.target, available, task.spec, without=task.without)


def _users_now(
    files: Sequence[str],
    users: int,
    max_rows: int,
    models: Sequence[TrainedModel],
    more: Sequence[str] = (),
    *,
    full: bool = False,
) -> pl.LazyFrame:
    """About `max_rows` of the users at `as_of`, with what the models read, their populations and more columns."""
    rows = scan_rows(files)
    if full:
        rows = rows.filter(pl.col(LACKS) == 0)
    if users > max_rows:
        rows = rows.filter(in_sample(_KEY, users, max_rows))
    features = [name for model in models for name in model.spec.features]
    populations = [population_column(model.spec.target) for model in models if is_about_some(model.spec.target)]
    return rows.select(list(dict.fromkeys((*features, *more, *populations))))


def _score(now: pl.DataFrame, model: TrainedModel, threads: int) -> pl.Series:
    target = model.spec.target
    inside = now.get_column(population_column(target)) if is_about_some(target) else None
    return probabilities(now, model, inside, threads)
