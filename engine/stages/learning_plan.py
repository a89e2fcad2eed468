"""Which tasks a fit consists of, and which columns each of them learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.features.build import MONETARY_MINOR
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.propensity.labels import all_anchors, anchors
from engine.propensity.matrix import unusable_columns
from engine.stages.accounts import AccountFiles
from engine.stages.learning import (
    ClustersTask,
    LearnTask,
    MatrixRecord,
    MatrixTask,
    ScalesTask,
    TargetTask,
    label_column,
)
from engine.stages.preparation import Prepared
from engine.stages.schemas import score_schema
from engine.suggest import did_you_mean, some_of


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


def model_features(config: Config, spec: FeatureSpec) -> tuple[str, ...]:
    """The columns that models learn from, in order: every feature that is a number, and the attributes allowed."""
    return (*(feature.name for feature in catalogue(spec) if feature.dtype.is_numeric()), *_model_columns(config))


def categories(config: Config, contacts: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    """Those of `model_features` that a model takes as categories: the attributes that are text."""
    return tuple(name for name in _model_columns(config) if contacts.get(name) == pl.String)


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
            already, and attributes whose type no model can learn from.
    """
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
    scores = score_schema(spec, (target.name for target in config.targets), clustered=config.clusters.enabled)
    labels = [label_column(target) for target in config.targets]
    problems += [
        f"  targets: the column {name!r} is a feature already; rename the target"
        for name in (*scores, *labels)
        if name in features
    ]
    taken = {*features, *scores, *labels, MONETARY_MINOR}
    problems += [
        f"  contacts: the attribute {name!r} has the name of a feature, a score or another column of the engine"
        for name in contacts
        if name in taken
    ]
    unusable = unusable_columns(contacts, _model_columns(config), categories(config, contacts))
    problems += [f"  contacts.model_columns: {line}" for line in unusable]
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
    days = all_anchors(config.targets, day_number(as_of), config.model.train_anchors)
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
    attributes = {*_model_columns(config), spec.account}
    return [
        MatrixTask(
            bucket=index,
            keys=keys,
            shelf=prepared.shelf,
            contacts=None if prepared.contacts is None else prepared.contacts.part,
            contact_columns=tuple(name for name in contacts if name in attributes),
            as_of_day=day_number(as_of),
            anchors=anchors_known,
            spec=spec,
            targets=config.targets,
            train_anchors=config.model.train_anchors,
            folder=str(work),
            accounts=accounts,
        )
        for index, keys in enumerate(prepared.buckets)
    ]


def learn_tasks(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    as_of: date,
    contacts: Mapping[str, pl.DataType],
    threads: int,
) -> list[LearnTask]:
    """Everything there is to learn: scales, clusters (unless they are off), one model per target."""
    current = tuple(matrix.current for matrix in matrices)
    tasks: list[LearnTask] = [ScalesTask(current, spec, config.rfm, config.engagement.full_at)]
    if config.clusters.enabled:
        users = sum(matrix.users for matrix in matrices)
        names = cluster_features(config, spec)
        tasks.append(ClustersTask(current, users, names, cluster_order(names), config.clusters, config.seed))
    day = day_number(as_of)
    features = model_features(config, spec)
    categorical = categories(config, contacts)
    for target in config.targets:
        valid, *train = anchors(target, day, config.model.train_anchors)
        train_files = [(file, rows) for matrix in matrices for anchor, file, rows in matrix.rows if anchor in train]
        valid_files = [(file, rows) for matrix in matrices for anchor, file, rows in matrix.rows if anchor == valid]
        tasks.append(
            TargetTask(
                target=target,
                train_files=tuple(file for file, _ in train_files),
                valid_files=tuple(file for file, _ in valid_files),
                train_rows=sum(rows for _, rows in train_files),
                valid_rows=sum(rows for _, rows in valid_files),
                features=features,
                categorical=categorical,
                model=config.model,
                seed=config.seed,
                threads=threads,
            )
        )
    return tasks
