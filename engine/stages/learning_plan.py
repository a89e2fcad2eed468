"""Which tasks a fit consists of, and which columns each of them learns from."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config
from engine.consent.inputs import inputs_of
from engine.contacts.enrichment import may_add
from engine.errors import ConfigError
from engine.execution.protocol import TaskSize
from engine.execution.sizes import learning_size
from engine.features.build import MONETARY_MINOR
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.propensity.labels import all_anchors
from engine.propensity.matrix import unusable_columns
from engine.propensity.population import is_about_some, population_problems
from engine.propensity.row_checks import monotone_problems
from engine.propensity.train import TrainedModel
from engine.rules.read import identifiers
from engine.stages.accounts import AccountFiles
from engine.stages.cluster_fit import ClusterInput
from engine.stages.learning import LearnTask, MatrixRecord, MatrixTask, ScalesTask, ValueTask
from engine.stages.preparation import Prepared
from engine.stages.propensities import propensity_schema
from engine.stages.schemas import configured_schema
from engine.stages.target_learning import DriftTask, ReducedScores, TargetTask, label_column, population_column
from engine.stages.target_tasks import target_tasks
from engine.suggest import did_you_mean, some_of
from engine.value.model import check_purchases

_FEW_COLUMNS: Final = 4
"""Columns that a task holds which learns edges, scales or customer value."""


def cluster_features(config: Config, spec: FeatureSpec) -> tuple[str, ...]:
    """The features that clusters are made of: as configured, else recency, tenure, activity, orders and spend."""
    if config.clusters.features:
        return config.clusters.features
    longest = spec.windows[-1]
    chosen = ["days_since_last_event", "tenure_days", f"active_days_{longest}d"]
    if spec.purchase is not None:
        slug = spec.slug(spec.purchase)
        chosen += [f"{slug}_count_{longest}d", f"{slug}_amount_{longest}d"]
    chosen += [f"{spec.slug(name)}_count_{longest}d" for name in (spec.open, spec.click) if name is not None]
    known = {feature.name for feature in catalogue(spec)}
    return tuple(name for name in dict.fromkeys(chosen) if name in known)


def cluster_order(names: Sequence[str]) -> str:
    """The feature by which cluster ids fall: what was spent, else what was bought or done, else the first."""
    for mark in ("_amount_", "rfm_monetary", "_count_", "active_days_"):
        for name in names:
            if mark in name:
                return name
    return names[0]


def cluster_input(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    contacts: Mapping[str, pl.DataType],
    first_id: int,
) -> ClusterInput:
    """What the clusters are learnt from.

    Args:
        config: The configuration.
        spec: The features.
        matrices: What the buckets gave.
        contacts: Name and type of the contact attributes.
        first_id: The smallest id that no cluster has had.
    """
    names = cluster_features(config, spec)
    return ClusterInput(
        files=tuple(matrix.current for matrix in matrices),
        users=sum(matrix.users for matrix in matrices),
        features=names,
        order_by=cluster_order(names),
        categories=categories(config, contacts),
        first_id=first_id,
    )


def model_features(config: Config, spec: FeatureSpec) -> tuple[str, ...]:
    """The columns that models learn from, in order: every feature that is a number, and the attributes allowed."""
    return (*(feature.name for feature in catalogue(spec) if feature.dtype.is_numeric()), *_model_columns(config))


def categories(config: Config, contacts: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    """Those of `model_features` that a model takes as categories: the attributes that are text."""
    return tuple(name for name in _model_columns(config) if contacts.get(name) == pl.String)


def model_schema(config: Config, spec: FeatureSpec, contacts: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Name and type of the columns that models learn from."""
    dtypes = {**{feature.name: feature.dtype for feature in catalogue(spec)}, **contacts}
    return {name: dtypes[name] for name in model_features(config, spec)}


def _model_columns(config: Config) -> tuple[str, ...]:
    return () if config.contacts is None else config.contacts.model_columns


def check_columns(config: Config, spec: FeatureSpec, contacts: Mapping[str, pl.DataType]) -> None:
    """Stop when names of the configuration or of attributes do not fit the features, before the log is learnt from.

    Args:
        config: The configuration.
        spec: The features.
        contacts: Name and type of the contact attributes.

    Raises:
        ConfigError: All features that do not exist, attributes and targets that would give a column that there is
            already, attributes whose type no model can learn from, and populations that cannot be told; or customer
            value without a purchase type.
    """
    if config.value is not None:
        check_purchases(spec.purchase)
    features = {feature.name: feature.dtype for feature in catalogue(spec)}
    problems = [
        f"  clusters.features: no feature {name!r}{did_you_mean(name, features)}"
        for name in config.clusters.features
        if name not in features
    ]
    problems += [
        f"  clusters.features: {name!r} is no number but {features[name]}"
        for name in config.clusters.features
        if name in features and not features[name].is_numeric()
    ]
    scores = configured_schema(config, spec)
    labels = [label_column(target) for target in config.targets]
    labels += [population_column(target) for target in config.targets if is_about_some(target)]
    problems += [
        f"  targets: the column {name!r} is a feature already; rename the target"
        for name in (*scores, *labels)
        if name in features
    ]
    told = inputs_of(config.consent) is not None
    columns = Counter(column for target in config.targets for column in propensity_schema(target.name, told=told))
    problems += [
        f"  targets: two of them give the column {name!r}; rename one" for name, times in columns.items() if times > 1
    ]
    taken = {*features, *scores, *labels, MONETARY_MINOR}
    problems += [
        f"  contacts: the attribute {name!r} has the name of a feature, a score or another column of the engine"
        for name in contacts
        if name in taken
    ]
    unusable = unusable_columns(contacts, _model_columns(config), categories(config, contacts))
    problems += [f"  contacts.model_columns: {line}" for line in unusable]
    problems += population_problems(config.targets, {**features, **contacts})
    categorical = categories(config, contacts)
    problems += [
        f"  {line}" for line in monotone_problems(config.model.monotone, model_features(config, spec), categorical)
    ]
    if problems:
        raise ConfigError(
            "columns that do not fit together\n" + "\n".join(problems),
            code="feature-names",
            hint=f"Features: {some_of(features)}.",
        )


def anchor_days(config: Config, prepared: Prepared, as_of: date) -> tuple[int, ...]:
    """The days that models learn from (since 1970-01-01), ascending.

    Anchors before the first event are left out: nobody is known then.
    """
    first = prepared.ingested.first_day
    days = all_anchors(config.targets, day_number(as_of), config.model)
    return tuple(anchor for anchor in days if first is not None and anchor > first)


def matrix_tasks(
    config: Config,
    spec: FeatureSpec,
    prepared: Prepared,
    as_of: date,
    contacts: Mapping[str, pl.DataType],
    work: Path,
    accounts: AccountFiles = (),
) -> list[MatrixTask]:
    """One task per bucket that makes the rows to learn from."""
    anchors_known = anchor_days(config, prepared, as_of)
    attributes = {*_model_columns(config), *_population_columns(config, contacts), spec.account}
    return [
        MatrixTask(
            bucket=index,
            keys=keys,
            shelf=shelf,
            contacts=None if prepared.contacts is None else prepared.contacts.part,
            contact_columns=tuple(name for name in contacts if name in attributes),
            as_of_day=day_number(as_of),
            anchors=anchors_known,
            spec=spec,
            targets=config.targets,
            model=config.model,
            folder=str(work),
            accounts=accounts,
            permits=prepared.asked.permits,
        )
        for index, (keys, shelf) in enumerate(prepared.portions(prepared.shelf))
    ]


def learn_tasks(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    as_of: date,
    contacts: Mapping[str, pl.DataType],
    threads: int,
    incumbent: Path | None = None,
) -> list[LearnTask]:
    """Everything that is learnt side by side: scales, customer value if wanted, one model per target.

    Args:
        config: The configuration.
        spec: The features.
        matrices: What the buckets gave.
        as_of: Day of the fit.
        contacts: Name and type of the contact attributes.
        threads: Threads LightGBM may use.
        incumbent: Folder of the bundle in use, whose models the new ones are compared with.

    Raises:
        DataError: A target has fewer than two anchors.
    """
    current = tuple(matrix.current for matrix in matrices)
    tasks: list[LearnTask] = [ScalesTask(current, spec, config.rfm, config.engagement.full_at)]
    if config.value is not None:
        tasks.append(ValueTask(current, config.value, spec.currency_digits))
    features, categorical = model_features(config, spec), categories(config, contacts)
    return [*tasks, *target_tasks(config, spec, matrices, as_of, features, categorical, threads, incumbent)]


def learning_sizes(tasks: Sequence[LearnTask], matrices: Sequence[MatrixRecord]) -> list[TaskSize]:
    """What each of `tasks` is going to need; those that learn no model hold a few columns of all users."""
    rows = {
        file: count
        for matrix in matrices
        for _, file, count in (*matrix.rows, *(() if matrix.reduced is None else matrix.reduced.rows))
    }
    users = sum(matrix.users for matrix in matrices)
    return [
        learning_size(sum(rows[file] for file in (*task.train_files, *task.valid_files)), len(task.features))
        if isinstance(task, TargetTask)
        else learning_size(users, _FEW_COLUMNS)
        for task in tasks
    ]


def drift_task(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    contacts: Mapping[str, pl.DataType],
    models: Sequence[TrainedModel],
    threads: int,
    reduced: Sequence[TrainedModel] = (),
) -> DriftTask:
    """What later runs are compared with: features of models and clusters, and scores of the models of the bundle.

    Args:
        config: The configuration.
        spec: The features.
        matrices: What the buckets gave.
        contacts: Name and type of the contact attributes.
        models: The models of the bundle.
        threads: Threads LightGBM may use.
        reduced: The reduced models of the bundle.
    """
    inputs = inputs_of(config.consent)
    bare = [matrix.reduced.current for matrix in matrices if matrix.reduced is not None]
    if config.targets:
        categorical = categories(config, contacts)
        # Those of the clusters are among them.
        numeric = tuple(name for name in model_features(config, spec) if name not in categorical)
    else:
        categorical, numeric = (), cluster_features(config, spec)
    return DriftTask(
        files=tuple(matrix.current for matrix in matrices),
        users=sum(matrix.users for matrix in matrices),
        max_rows=config.model.max_rows,
        numeric=numeric,
        categorical=categorical,
        bins=config.drift.bins,
        models=tuple(models),
        threads=threads,
        reduced=None if inputs is None else ReducedScores(inputs, spec, tuple(reduced), tuple(bare)),
    )


def attribute_warnings(config: Config, contacts: Collection[str]) -> list[str]:
    """A warning of the attributes that are known as of today only: they may know what came after a training date.

    Of contacts with a history only those that other tables add to them are.

    Args:
        config: The configuration.
        contacts: Names of the contact attributes.
    """
    if not config.targets or config.contacts is None:
        return []
    uses = {
        "contacts.model_columns": _model_columns(config),
        "populations": _population_columns(config, contacts),
        "accounts.column": () if config.accounts is None else (config.accounts.column,),
    }
    if config.contacts.valid_from is not None:
        enriched = config.contacts.enrich
        uses = {key: tuple(name for name in names if may_add(enriched, name)) for key, names in uses.items()}
    listed = [f"{', '.join(names)} ({key})" for key, names in uses.items() if names]
    if not listed:
        return []
    what = "models learn from attributes as they are today, not as they were at the training dates"
    return [f"{what}: {'; '.join(listed)}; one that changes with what is predicted leaks it"]


def _population_columns(config: Config, contacts: Collection[str]) -> tuple[str, ...]:
    """The attributes that populations name, in the order of the contacts."""
    conditions = [target.population for target in config.targets if target.population is not None]
    named = {name for where in conditions for name in identifiers(where)}
    return tuple(name for name in contacts if unicodedata.normalize("NFC", name) in named)
