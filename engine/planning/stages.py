"""The tasks of a fit and of a score, in the order in which the real code makes them, from how large the log is.

Tasks are cut by the functions that the run uses (`engine.execution.plan`) and by its limits; a test records the tasks
of real runs and compares. What only the data can tell is assumed: how many passes k-means takes, how many segments are
empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from engine.planning.reading import DAILY_BYTES, ID_BYTES, Inputs, reading_calls
from engine.planning.work import Call, Job, Work
from engine.propensity.tune import ROUND

PASSES: Final = 8
"""Passes of k-means over all users after it was settled on a sample; one when all users were the sample."""
_VIEW_TASKS: Final = 64
_CELL_BYTES: Final = 8.0
_PUBLISHED_BYTES: Final = 2.0
_MEMBER_BYTES: Final = 6.0
_FILE_BYTES: Final = 128 << 20
_SAMPLE_ROWS: Final = 50_000
_CHANGED: Final = 0.15
"""Share of the users whose segments change from one date to the next, where it is not known."""


def fit_job(inputs: Inputs, as_of_day: int) -> Job:
    """The tasks of a fit that rolls up what is stale."""
    calls = [
        *reading_calls(inputs, discovers=True),
        *_features(inputs, as_of_day),
        *_clusters(inputs),
        *_learn(inputs, as_of_day),
    ]
    return Job("fit", tuple(calls), _driver("fit", inputs, calls))


def score_job(inputs: Inputs, *, rolled: bool) -> Job:
    """The tasks of a score.

    Args:
        inputs: What they depend on.
        rolled: Whether a fit before it has rolled everything up.
    """
    calls = [*reading_calls(inputs, discovers=False, rolled=rolled), *_score(inputs)]
    return Job("score", tuple(calls), _driver("score", inputs, calls))


# ------------------------------------------------------------------------------------------------------------ learning


def _bucket_reads(inputs: Inputs) -> tuple[float, float, float]:
    """Partials, bytes and files that a task over the users of a bucket reads."""
    partials = inputs.census.partials / inputs.buckets
    per_user = inputs.users * ID_BYTES
    return partials, partials * DAILY_BYTES + per_user, inputs.files_of_bucket


def _features(inputs: Inputs, as_of_day: int) -> Iterator[Call]:
    scope, buckets = inputs.scope, inputs.buckets
    partials, read, files = _bucket_reads(inputs)
    days = [1.0, *(inputs.known_at(day, as_of_day) for day in scope.anchors)]
    cells = inputs.users * sum(days) * scope.model_columns
    if scope.spec.account is not None:
        yield from _accounts(inputs, len(days))
    work = Work(
        "MatrixTask",
        buckets,
        {"files": files, "partials": partials, "cells": cells, "scans": partials * len(days)},
        rows=partials,
        bytes_read=read,
        bytes_written=cells * _CELL_BYTES,
        files_read=files,
        files_written=len(days),
    )
    yield Call("features", (work,))


def _accounts(inputs: Inputs, days: int) -> Iterator[Call]:
    partials, read, files = _bucket_reads(inputs)
    sizes = {"files": files, "partials": partials, "users": inputs.users * days}
    first = Work(
        "AccountTask", inputs.buckets, sizes, rows=partials, bytes_read=read, files_read=files, files_written=days
    )
    yield Call("features", (first,))
    yield Call("features", (Work("AddTask", days, {"parts": inputs.buckets}, files_read=inputs.buckets),))


def _clusters(inputs: Inputs) -> Iterator[Call]:
    settings, census, scope, buckets = inputs.config.clusters, inputs.census, inputs.scope, inputs.buckets
    if not settings.enabled:
        return
    sample = min(census.users, settings.max_rows)
    tried = settings.k_max - settings.k_min + 1
    k = (settings.k_min + settings.k_max) / 2
    dims = scope.dimensions
    block = inputs.users * dims
    yield _single("cluster", "ChooseTask", {"trials": sample * dims * tried * k, "users": sample}, rows=census.users)
    yield _blocks("BlockTask", buckets, {"cells": block}, inputs.users, block)
    yield _blocks(
        "Visit sums_of",
        buckets,
        {"work": block * k},
        inputs.users,
        block,
        times=1 if sample == census.users else PASSES,
    )
    yield _single("cluster", "FarTask", {"work": sample * dims * k}, rows=sample)
    yield _blocks("Visit first_of_block", buckets, {"work": block * k}, inputs.users, block)
    yield _blocks("Visit second_of_block", buckets, {"work": block * k}, inputs.users, block)
    if settings.resamples:
        yield _single("cluster", "LabelTask", {"work": sample * dims * k}, rows=sample)
        one = Work("ResampleTask", settings.resamples, {"work": sample * dims * k}, rows=sample)
        yield Call("cluster", (one,))
    tasks = -(-buckets // -(-buckets // _VIEW_TASKS))
    share = census.users / tasks
    yield Call("cluster", (Work("ViewTask", tasks, {"work": share * dims}, rows=share, files_read=buckets / tasks),))


def _single(stage: str, kind: str, sizes: dict[str, float], *, rows: float) -> Call:
    return Call(stage, (Work(kind, 1, sizes, rows=rows),))


def _blocks(kind: str, tasks: int, sizes: dict[str, float], rows: float, cells: float, times: int = 1) -> Call:
    writes = kind == "BlockTask"
    work = Work(
        kind,
        tasks,
        sizes,
        rows=rows,
        bytes_read=cells * _CELL_BYTES,
        bytes_written=cells * _CELL_BYTES if writes else 0,
        files_written=writes,
    )
    return Call("cluster", (work,), times=times)


def _learn(inputs: Inputs, as_of_day: int) -> Iterator[Call]:
    config, census, scope, buckets = inputs.config, inputs.census, inputs.scope, inputs.buckets
    works = [Work("ScalesTask", 1, {"users": census.users}, rows=census.users, files_read=buckets)]
    if config.value is not None:
        works.append(Work("ValueTask", 1, {"users": census.users}, rows=census.users, files_read=buckets))
    targets, trials = [], []
    share, most = config.model.test_users, config.model.max_rows
    for learning, trees in zip(scope.learning, scope.trees, strict=True):
        train, valid, test = (
            min(most, part * census.users * sum(inputs.known_at(day, as_of_day) for day in days))
            for part, days in ((1 - share, learning.train), (1 - share, learning.valid), (share or 1, learning.test))
        )
        cells = (train + valid + test) * scope.model_columns
        sizes = {
            "cells": cells,
            "growing": train * scope.model_columns * trees,
            "scoring": (valid + test + min(most, census.users)) * trees,
            "trees": trees,
        }
        files = buckets * (len(scope.anchors) + 1)
        rows = train + valid + test
        targets.append(Work("TargetTask", 1, sizes, rows=rows, bytes_read=cells * _CELL_BYTES, files_read=files))
        trials.append(Work("TrialTask", 1, sizes, rows=rows, bytes_read=cells * _CELL_BYTES, files_read=files))
    if config.model.tune and trials:
        rounds, left = divmod(config.model.tune, ROUND)
        if rounds:
            yield Call("learn", tuple(one for one in trials for _ in range(ROUND)), times=rounds)
        if left:
            yield Call("learn", tuple(one for one in trials for _ in range(left)))
    yield Call("learn", (*works, *targets))
    if targets or config.clusters.enabled:
        users = min(most, census.users)
        columns = scope.model_columns if targets else scope.dimensions
        sizes = {"cells": users * columns, "scoring": users * sum(scope.trees)}
        yield Call("learn", (Work("DriftTask", 1, sizes, rows=users, files_read=buckets),))


# ------------------------------------------------------------------------------------------------------------- scoring


def _score(inputs: Inputs) -> Iterator[Call]:
    census, scope, buckets, users = inputs.census, inputs.scope, inputs.buckets, inputs.users
    partials, read, files = _bucket_reads(inputs)
    if inputs.forward is not None:
        partials, files = inputs.forward[0] / buckets, inputs.forward[1] + 1
        read = partials * DAILY_BYTES + users * (ID_BYTES + scope.columns * _CELL_BYTES)
    if scope.spec.account is not None:
        yield from _accounts(inputs, 1)
    columns = scope.columns + scope.score_columns
    members = users * scope.memberships
    table = users * columns * _PUBLISHED_BYTES
    sizes = {
        "files": files,
        "partials": partials,
        "cells": users * columns,
        "scoring": users * sum(scope.trees),
        "segments": scope.segments,
    }
    yield Call(
        "score",
        (
            Work(
                "ScoreTask",
                buckets,
                sizes,
                rows=partials,
                bytes_read=read,
                bytes_written=table,
                files_read=files,
                files_written=4,
            ),
        ),
    )
    moved = members if inputs.is_first else members * _CHANGED
    before = 0.0 if inputs.is_first else members
    yield Call(
        "ledger",
        (
            Work(
                "LedgerTask",
                buckets,
                {"members": members, "before": before},
                rows=members + before,
                bytes_read=(members + before) * _MEMBER_BYTES + (0 if inputs.is_first else table),
                bytes_written=members * _MEMBER_BYTES + moved * _MEMBER_BYTES,
                files_read=3 if inputs.is_first else 6,
                files_written=2,
            ),
        ),
    )
    if inputs.later:
        again = Work(
            "LedgerTask",
            buckets,
            {"members": members, "before": members},
            rows=2 * members,
            bytes_read=2 * members * _MEMBER_BYTES + table,
            bytes_written=members * _MEMBER_BYTES * (1 + _CHANGED),
            files_read=6,
            files_written=2,
        )
        yield Call("ledger", (again,), times=inputs.later)
    compacted = (
        _compact(buckets, census.users * scope.memberships * (1 if inputs.is_first else _CHANGED), 1),
        _compact(buckets, census.users, scope.segments),
    )
    for call in compacted:
        rows = min(_SAMPLE_ROWS, census.users)
        yield Call(call.stage, (Work("SampleTask", 1, {"rows": rows}, rows=rows),), small=True)
        yield call
    bytes_of = users * (columns * _PUBLISHED_BYTES + scope.memberships * _MEMBER_BYTES)
    whole = (2 * users + members) / 3
    checks = [Work("CheckTask", 3 * buckets, {"rows": whole}, rows=whole, bytes_read=bytes_of / 3)]
    for call in compacted:
        one = call.work[0]
        checks.append(Work("CheckTask", one.tasks, {"rows": one.rows}, rows=one.rows, bytes_read=one.bytes_written))
    checks.append(Work("CheckTask", 1, {"rows": scope.segments}, rows=scope.segments))
    yield Call("publish", tuple(checks), small=True)


def _compact(buckets: int, rows: float, partitions: int) -> Call:
    """Files of about 128 MiB, at least one per partition and none smaller than the rows of a bucket."""
    files = max(partitions, min(buckets * partitions, math.ceil(rows * _MEMBER_BYTES / _FILE_BYTES)))
    each = rows / files
    work = Work(
        "CompactTask",
        files,
        {"rows": each, "pieces": buckets * partitions / files},
        rows=each,
        bytes_read=each * _MEMBER_BYTES * 2,
        bytes_written=each * _MEMBER_BYTES,
        files_read=max(1.0, buckets * partitions / files),
        files_written=1,
    )
    return Call("ledger" if partitions == 1 else "publish", (work,), small=True)


def _driver(name: str, inputs: Inputs, calls: Sequence[Call]) -> Work:
    """What is done between the tasks: names and footers, records of tasks, the switch of tables."""
    tasks = sum(call.tasks for call in calls)
    files = inputs.census.files
    written = sum(call.times * work.tasks * work.files_written for call in calls for work in call.work)
    return Work(f"driver {name}", 1, {"files": files, "tasks": tasks, "written": written if name == "score" else 0})
