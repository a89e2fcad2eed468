"""The history as a table: one row per attempt, for a warehouse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from engine.history.record import Attempt

_MOMENT: Final = pl.Datetime("us", "UTC")
SCHEMA: Final = pl.Schema(
    {
        "attempt": pl.String(),
        "command": pl.String(),
        "result": pl.String(),
        "as_of": pl.Date(),
        "started": _MOMENT,
        "ended": _MOMENT,
        "seconds": pl.Float64(),
        "run_ids": pl.List(pl.String()),
        "exit_code": pl.Int32(),
        "error_code": pl.String(),
        "error_message": pl.String(),
        "config": pl.String(),
        "config_hash": pl.String(),
        "input_files": pl.Int64(),
        "input_rows": pl.Int64(),
        "input_bytes": pl.Int64(),
        "input_fingerprint": pl.String(),
        "rows": pl.List(pl.Struct({"outcome": pl.String(), "rows": pl.Int64()})),
        "users": pl.Int64(),
        "segments": pl.List(pl.Struct({"segment": pl.String(), "users": pl.Int64()})),
        "tables": pl.List(pl.Struct({"table": pl.String(), "rows": pl.Int64(), "bytes": pl.Int64()})),
        "stages": pl.List(pl.Struct({"stage": pl.String(), "seconds": pl.Float64()})),
        "tasks": pl.Int64(),
        "tasks_retried": pl.Int64(),
        "peak_memory_bytes": pl.Int64(),
        "guards": pl.List(pl.Struct({"guard": pl.String(), "held": pl.Boolean(), "finding": pl.String()})),
        "warnings": pl.List(pl.Struct({"code": pl.String(), "message": pl.String()})),
        "warning_count": pl.Int64(),
        "bundle": pl.String(),
        "executor": pl.String(),
        "host": pl.String(),
        "tamis_version": pl.String(),
        "python_version": pl.String(),
        "polars_version": pl.String(),
    }
)


def history_table(attempts: Iterable[Attempt]) -> pl.DataFrame:
    """One row per attempt with the columns of `SCHEMA`, sorted by `attempt`, which is the key."""
    rows = [_row(attempt) for attempt in sorted(attempts, key=lambda one: one.attempt)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _row(attempt: Attempt) -> tuple[object, ...]:
    found, error, counts, versions = attempt.input, attempt.error, attempt.counts, attempt.versions
    return (
        attempt.attempt,
        attempt.command,
        attempt.result,
        attempt.as_of,
        attempt.started,
        attempt.ended,
        attempt.seconds,
        list(attempt.run_ids),
        attempt.exit_code,
        None if error is None else error.code,
        None if error is None else error.message,
        attempt.config,
        attempt.config_hash,
        *((None,) * 4 if found is None else (found.files, found.rows, found.bytes, found.fingerprint)),
        [{"outcome": name, "rows": count} for name, count in counts.get("rows", {}).items()],
        counts.get("users"),
        [{"segment": name, "users": size["users"]} for name, size in counts.get("segments", {}).items()],
        [{"table": name, "rows": of["rows"], "bytes": of["bytes"]} for name, of in attempt.tables.items()],
        [{"stage": stage, "seconds": seconds} for stage, seconds in attempt.timings.items()],
        attempt.tasks.total,
        attempt.tasks.retried,
        attempt.peak_memory_bytes,
        [{"guard": one.code, "held": one.held, "finding": one.message} for one in attempt.guards],
        [{"code": one.code, "message": one.message} for one in attempt.warnings],
        attempt.warning_count,
        attempt.bundle,
        attempt.executor,
        attempt.host,
        versions.get("tamis"),
        versions.get("python"),
        versions.get("polars"),
    )
