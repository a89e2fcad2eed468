"""Rows to learn from: the features of an anchor day with the labels of the targets that use it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.features.windows import EPOCH
from engine.propensity.labels import anchors, labels_of
from engine.propensity.population import compile_populations
from engine.rollups.parts import write_part
from engine.stages.target_learning import label_column, population_column
from engine.stages.users import HAS_CONTACT

if TYPE_CHECKING:
    from engine.config import Target
    from engine.stages.learning import MatrixTask


def with_populations(users: pl.DataFrame, task: MatrixTask) -> pl.DataFrame:
    """Users with a column per target that has a population: whether they are in it."""
    inside = compile_populations(task.targets, users.schema).holds(users)
    about = [inside[target.name].alias(population_column(target)) for target in task.targets if target.name in inside]
    return users.with_columns(about)


@dataclass(frozen=True, eq=False)
class Labels:
    """What the labels of a bucket are made of.

    Attributes:
        task: The bucket.
        daily: Partials, as far as they may be used.
        codes: Of each target, the number of its events in the column `type`.
        lacks: `LACKS` of each user; None where every event counts.
    """

    task: MatrixTask
    daily: pl.DataFrame
    codes: tuple[int, ...]
    lacks: pl.Series | None

    def write(self, frame: pl.DataFrame, day: int, name: str) -> tuple[int, str, int]:
        """Write the features of an anchor day with the labels of the targets that use it; the day, file and rows."""
        task = self.task
        inside = compile_populations(task.targets, frame.schema).holds(frame)
        labels = []
        for code, target in zip(self.codes, task.targets, strict=True):
            if day in anchors(target, task.as_of_day, task.model):
                label = labels_of(frame["user"], self.daily, target, code, day)
                if target.name in inside:
                    label = label.set(~inside[target.name], None)
                label = self._known(label, frame["user"], target)
                labels.append(label.alias(label_column(target)))
        frame = frame.drop(HAS_CONTACT).with_columns(*labels, anchor=pl.lit(EPOCH + timedelta(days=day)))
        file = str(Path(task.folder) / f"{name}-{day}-{task.bucket:05d}.parquet")
        write_part(frame, file)
        return day, file, frame.height

    def _known(self, label: pl.Series, users: pl.Series, target: Target) -> pl.Series:
        """Labels, null where the event of the target does not count for the user."""
        permits = self.task.permits
        inputs = None if permits is None else permits.inputs
        if self.lacks is None or inputs is None:
            return label
        needs = inputs.of_kind(target.event, self.task.spec)
        return label.set((self.lacks.gather(users) & needs) != 0, None)
