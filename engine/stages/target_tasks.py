"""The tasks that train models: which rows each target learns from, and which columns.

Where inputs ask for purposes, a target has two: the full model learns from the users who lack none of them, the reduced
one from all users, on rows in which none of the inputs exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import Config, Target
from engine.consent.inputs import Inputs, inputs_of, unknown_columns
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.propensity.alarms import identifier_alarm
from engine.propensity.labels import anchors, split_anchors
from engine.stages.target_learning import TargetTask

if TYPE_CHECKING:
    from engine.stages.learning import MatrixRecord, TargetUsers


def target_tasks(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    as_of: date,
    features: tuple[str, ...],
    categorical: tuple[str, ...],
    threads: int,
    incumbent: Path | None,
) -> list[TargetTask]:
    """One model per target; where inputs ask for purposes, a reduced one behind it.

    Args:
        config: The configuration.
        spec: The features.
        matrices: What the buckets gave.
        as_of: Day of the fit.
        features, categorical: The columns that models learn from, and which of them are categories.
        threads: Threads LightGBM may use.
        incumbent: Folder of the bundle in use, whose models the new ones are compared with.

    Raises:
        DataError: A target has fewer than two anchors.
    """
    inputs = inputs_of(config.consent)
    current = tuple(matrix.current for matrix in matrices)
    users = sum(matrix.users for matrix in matrices)
    files = _by_anchor(matrix.rows for matrix in matrices)
    reduced = [matrix.reduced for matrix in matrices if matrix.reduced is not None]
    bare_files = _by_anchor(part.rows for part in reduced)
    tasks = []
    for index, target in enumerate(config.targets):
        days = [day for day in anchors(target, day_number(as_of), config.model) if day in files]
        split = split_anchors(days, config.model)
        task = TargetTask(
            target=target,
            train_files=_files_of(split.train, files),
            valid_files=_files_of(split.valid, files),
            test_files=_files_of(split.test, files),
            current_files=current,
            users=users if inputs is None else sum(part.full for part in reduced),
            apart=split.apart,
            alarms=_identifier_alarms(target, [matrix.targets[index] for matrix in matrices]),
            incumbent=None if incumbent is None else str(incumbent),
            spec=spec,
            features=features,
            categorical=categorical,
            model=config.model,
            seed=config.seed,
            threads=threads,
            full_only=inputs is not None,
        )
        tasks.append(task)
        # Of a target whose event asks for all of the purposes, nobody who lacks one has a score.
        if inputs is not None and inputs.of_kind(target.event, spec) != inputs.all:
            tasks.append(
                replace(
                    task,
                    train_files=_files_of(split.train, bare_files),
                    valid_files=_files_of(split.valid, bare_files),
                    test_files=_files_of(split.test, bare_files),
                    current_files=tuple(part.current for part in reduced),
                    users=sum(part.users for part in reduced),
                    features=reduced_features(features, spec, inputs),
                    full_only=False,
                    without=inputs,
                )
            )
    return tasks


def reduced_features(features: Sequence[str], spec: FeatureSpec, inputs: Inputs) -> tuple[str, ...]:
    """The columns that reduced models learn from: those that are made of more than the inputs."""
    unknown = unknown_columns(spec, inputs)
    return tuple(name for name in features if name not in unknown)


def _by_anchor(parts: Iterable[Sequence[tuple[int, str, int]]]) -> Mapping[int, list[str]]:
    files: defaultdict[int, list[str]] = defaultdict(list)
    for rows in parts:
        for anchor, file, _ in rows:
            files[anchor].append(file)
    return files


def _files_of(days: Iterable[int], files: Mapping[int, list[str]]) -> tuple[str, ...]:
    return tuple(file for day in days for file in files[day])


def _identifier_alarms(target: Target, users: Sequence[TargetUsers]) -> tuple[str, ...]:
    alarm = identifier_alarm(
        target.name,
        sum(part.with_event for part in users),
        sum(part.with_both for part in users),
        sum(part.with_others for part in users),
    )
    return () if alarm is None else (alarm,)
