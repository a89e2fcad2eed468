"""The table `validation_segments`: what became of the published scores of groups of users, one row per group.

    <out>/validation_segments/target=<name>/by=<column>/as_of=YYYY-MM-DD.parquet

Every date that is validated by a column adds a file to the tables of its targets; doing it again replaces the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.stages.group_columns import Value
from engine.stages.maturing import MIN_GROUP_ROWS, Groups, Realised, TargetCounts
from engine.tables.layout import as_of_folder, partition_folder

TABLE: Final = "validation_segments"
_MEASURES: Final = ("auc", "lift")

SCHEMA: Final = pl.Schema(
    {
        "as_of": pl.Date(),
        "bundle": pl.String(),
        "value": pl.String(),
        **dict.fromkeys(("rows", "positives"), pl.Int64()),
        **dict.fromkeys(("base_rate", "base_rate_low", "base_rate_high", "predicted_rate"), pl.Float64()),
        "measured_rows": pl.Int64(),
        **dict.fromkeys((f"{name}{end}" for name in _MEASURES for end in ("", "_low", "_high")), pl.Float64()),
    }
)
"""Columns of the table, one row per value of the column that users were told apart by; null is a value."""


@dataclass(frozen=True)
class Group:
    """The published users with one value of a column.

    Attributes:
        value: The value, as text.
        counts: Those who have a score, and for how many of them it came true.
        realised: The figures, of all rows or of a sample of them; None for a group that is too small to be measured,
            or has one class only.
    """

    value: Value
    counts: TargetCounts
    realised: Realised | None

    def row(self) -> dict[str, Any]:
        """The figures: rates of groups of `MIN_GROUP_ROWS` rows and more, the rest of those that were measured."""
        metrics = None if self.realised is None else self.realised.metrics
        intervals = {} if self.realised is None else dict(self.realised.intervals)
        told = self.counts.rows >= MIN_GROUP_ROWS
        figures = {
            "base_rate": self.counts.realised_rate if told else None,
            "auc": metrics.auc if metrics else None,
            "lift": metrics.lift_by_decile[0] if metrics else None,
        }
        row: dict[str, Any] = {
            "value": self.value,
            "rows": self.counts.rows,
            "positives": self.counts.positives,
            "predicted_rate": self.counts.predicted_rate if told else None,
            "measured_rows": metrics.rows if metrics else 0,
        }
        for name, figure in figures.items():
            interval = intervals.get(name)
            row |= {
                name: figure,
                f"{name}_low": interval.low if interval else None,
                f"{name}_high": interval.high if interval else None,
            }
        return {name: row[name] for name in SCHEMA if name in row}


def groups_of(counts: Sequence[Groups], measured: Mapping[Value, Realised], dtype: str) -> tuple[Group, ...]:
    """The groups of all buckets in the order of their values, whole numbers as numbers; null comes last.

    Args:
        counts: The groups of each bucket.
        measured: The figures of those that were measured.
        dtype: Polars type of the column.
    """
    total: Groups = {}
    for groups in counts:
        for value, one in groups.items():
            total[value] = total[value] + one if value in total else one

    def place(value: Value) -> tuple[bool, int, str]:
        text = value or ""
        return value is None, int(text) if value is not None and "Int" in dtype else 0, text

    return tuple(Group(value, total[value], measured.get(value)) for value in sorted(total, key=place))


def groups_file(out: Path, target: str, column: str, as_of: date) -> Path:
    """The file of one target, column and date."""
    folder = partition_folder(partition_folder(out / TABLE, "target", target), "by", column)
    return folder / f"{as_of_folder(as_of)}.parquet"
