"""Columns of event functions that a date was published without, computed from the log for all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.consent.permits import Permits
from engine.execution.protocol import Executor
from engine.features.measure import Measure
from engine.features.spec import FeatureSpec
from engine.identity import run_identity
from engine.progress import Progress, track
from engine.rollups.bucket import Shelf
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.stages.features import load_features, wanted_of
from engine.stages.maturity import check_id_types
from engine.stages.opening import check_unchanged, open_run
from engine.stages.permitting import permitted
from engine.stages.preparation import prepare
from engine.tables.workspace import workspace
from engine.why.published import Published


@dataclass(frozen=True)
class MeasuredTask:
    """One bucket of users whose measures are written to a file."""

    bucket: int
    keys: KeyRange
    shelf: Shelf
    spec: FeatureSpec
    measures: tuple[Measure, ...]
    file: str
    permits: Permits | None = None


def measured(
    config: Config,
    published: Published,
    spec: FeatureSpec,
    measures: Sequence[Measure],
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Event functions as of a published date, from the log as it is now; nothing is published.

    Args:
        config: The configuration; says where the log is.
        published: The date.
        spec: Its features; names the event types.
        measures: What is asked.
        executor: Where the tasks run.
        progress: Told of each finished task.

    Returns:
        `user_id` and a column per measure, one row per user of the log, sorted by id.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: The log cannot be used, or has ids of another type than the tables.
        IntegrityError: The input was changed during the run.
        ConflictError: Another run is writing to the same output.
    """
    # The features themselves are published already: only the event types count.
    core = replace(spec, families=(), account=None)
    opened = open_run(config.model_copy(update={"targets": ()}))
    table = published.table("features")
    if table is not None:
        check_id_types(table, opened.given.user_dtype, published.out)
    named = {measure.name: "" for measure in measures}
    run_id = run_identity("preview", published.as_of, {**opened.fingerprints, **named})
    with workspace(published.out, run_id) as work:
        prepared = prepare(
            opened.config,
            opened.given,
            published.as_of,
            work=work,
            executor=executor,
            progress=progress,
            types=tuple(kind.name for kind in core.types if kind.of is None),
            wanted=wanted_of(core, (), tuple(measures)),
        )
        tasks = [
            MeasuredTask(
                index,
                keys,
                portion,
                core,
                tuple(measures),
                str(work / f"measures-{index:05d}.parquet"),
                prepared.asked.permits,
            )
            for index, (keys, portion) in enumerate(prepared.portions(prepared.shelf))
        ]
        files = executor.map(write_measures, tasks, on_done=track(progress, "measures", len(tasks)), small=True)
        check_unchanged(opened)
        parts = [pl.read_parquet(file, glob=False, hive_partitioning=False) for file in files]
    return pl.concat(parts).sort("user_id")


def write_measures(task: MeasuredTask) -> str:
    """Measures of one bucket: `user_id` and a column per measure; the file they were written to."""
    loaded = load_features(task.shelf, task.keys, task.bucket, task.spec, task.measures, task.permits)
    bucket, _ = permitted(loaded, task.permits, task.keys)
    names = [measure.name for measure in task.measures]
    table = bucket.features.select(bucket.users["user_id"].gather(bucket.features["user"]), *names)
    write_part(table, str(Path(task.file)))
    return task.file
