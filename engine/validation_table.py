"""The table `validation`: what became of published scores, one row per date in a folder per target.

    <out>/validation/target=<name>/as_of=YYYY-MM-DD.parquet

Every validated date adds a row to the tables of its targets; validating a date again replaces its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.config import Target
from engine.propensity.spec import ModelSpec
from engine.record import TableSummary
from engine.stages.maturing import Realised, TargetCounts
from engine.tables.durable import durable_parquet_at
from engine.tables.layout import as_of_folder, partition_folder
from engine.tables.publish import sweep_temporary
from engine.validation_groups import SCHEMA as GROUPS_SCHEMA
from engine.validation_groups import TABLE as GROUPS_TABLE
from engine.validation_groups import Group, groups_file

TABLE: Final = "validation"
MEASURES: Final = ("auc", "average_precision", "log_loss", "brier", "ece", "lift")
"""What is given with an interval; `lift` is that of the top decile."""


@dataclass(frozen=True)
class Matured:
    """One target of one date: what was predicted, what happened, and how well the one told the other.

    Attributes:
        as_of: Day of the scores.
        bundle: Id of the bundle that scored.
        target: What was predicted.
        published: Users with a row in `scores`.
        counts: What became of those that the log knows.
        realised: The figures, of all rows or of a sample of them.
        trained: The model's description; None when the bundle is gone.
        groups: For each column that was asked for, the groups that its values make.
    """

    as_of: date
    bundle: str | None
    target: Target
    published: int
    counts: TargetCounts
    realised: Realised
    trained: ModelSpec | None
    groups: tuple[tuple[str, tuple[Group, ...]], ...] = ()

    @property
    def predicted_rate(self) -> float | None:
        """Mean published probability."""
        return self.counts.predicted_rate

    @property
    def realised_rate(self) -> float | None:
        """Share of users for whom it came true."""
        return self.counts.realised_rate

    def row(self) -> dict[str, Any]:
        """The figures as one row of the table; see `SCHEMA`."""
        metrics, intervals = self.realised.metrics, dict(self.realised.intervals)
        measured = _figures(metrics.to_dict() if metrics else None)
        trained = _figures(self.trained.metrics.to_dict() if self.trained else None)
        rate = intervals.get("base_rate")
        row: dict[str, Any] = {
            "as_of": self.as_of,
            "bundle": self.bundle,
            "event": self.target.event,
            "condition": self.target.where,
            "absent": self.target.absent,
            "horizon_days": self.target.horizon_days,
            "published": self.published,
            "unscored": self.counts.unscored,
            "unknown": self.published - self.counts.unscored - self.counts.rows - self.counts.withheld,
            "withheld": self.counts.withheld,
            "rows": self.counts.rows,
            "positives": self.counts.positives,
            "base_rate": self.realised_rate,
            "base_rate_low": rate.low if rate else None,
            "base_rate_high": rate.high if rate else None,
            "predicted_rate": self.predicted_rate,
            "measured_rows": metrics.rows if metrics else 0,
        }
        for name in MEASURES:
            interval = intervals.get(name)
            row[name] = measured[name]
            row[f"{name}_low"] = interval.low if interval else None
            row[f"{name}_high"] = interval.high if interval else None
        row["lift_by_decile"] = list(metrics.lift_by_decile) if metrics else None
        row |= {f"{name}_at_training": trained[name] for name in MEASURES}
        row["base_rate_at_training"] = self.trained.metrics.base_rate if self.trained else None
        return row


SCHEMA: Final = pl.Schema(
    {
        "as_of": pl.Date(),
        "bundle": pl.String(),
        "event": pl.String(),
        "condition": pl.String(),
        "absent": pl.Boolean(),
        "horizon_days": pl.Int64(),
        **dict.fromkeys(("published", "unscored", "unknown", "withheld", "rows", "positives"), pl.Int64()),
        **dict.fromkeys(("base_rate", "base_rate_low", "base_rate_high", "predicted_rate"), pl.Float64()),
        "measured_rows": pl.Int64(),
        **dict.fromkeys((f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")), pl.Float64()),
        "lift_by_decile": pl.List(pl.Float64()),
        **dict.fromkeys((f"{name}_at_training" for name in (*MEASURES, "base_rate")), pl.Float64()),
    }
)
"""Columns of the table, one row per date: `unknown` users were published and are no longer in the log, of
`withheld` nothing may be compared any more."""


def _figures(metrics: Mapping[str, Any] | None) -> dict[str, float | None]:
    if metrics is None:
        return dict.fromkeys(MEASURES)
    lifts = metrics["lift_by_decile"]
    return {**{name: metrics[name] for name in MEASURES if name != "lift"}, "lift": lifts[0] if lifts else None}


def validation_file(out: Path, target: str, as_of: date) -> Path:
    """The file of one target and date."""
    return partition_folder(out / TABLE, "target", target) / f"{as_of_folder(as_of)}.parquet"


def write_rows(matured: Sequence[Matured], out: Path) -> dict[str, TableSummary]:
    """Each target's row, in place of the one of the same date, and as many files as there are groups asked for."""
    size = 0
    sweep_temporary(out / TABLE)
    for entry in matured:
        row = pl.DataFrame([entry.row()], SCHEMA)
        size += durable_parquet_at(row, validation_file(out, entry.target.name, entry.as_of)).bytes
    tables = {TABLE: TableSummary(str(out / TABLE), len(matured), len(matured), size)}
    if not any(entry.groups for entry in matured):
        return tables
    sweep_temporary(out / GROUPS_TABLE)
    files = []
    for entry in matured:
        for column, groups in entry.groups:
            rows = [{"as_of": entry.as_of, "bundle": entry.bundle, **group.row()} for group in groups]
            file = groups_file(out, entry.target.name, column, entry.as_of)
            files.append(durable_parquet_at(pl.DataFrame(rows, GROUPS_SCHEMA), file))
    sizes = sum(file.rows for file in files), len(files), sum(file.bytes for file in files)
    return {**tables, GROUPS_TABLE: TableSummary(str(out / GROUPS_TABLE), *sizes)}


def plain_target(entry: Matured) -> dict[str, Any]:
    """The figures of a target as JSON values, and under `by` those of its groups when some were asked for."""
    groups = {column: [group.row() for group in groups] for column, groups in entry.groups}
    row = {name: value.isoformat() if isinstance(value, date) else value for name, value in entry.row().items()}
    return {**row, **({"by": groups} if groups else {})}
