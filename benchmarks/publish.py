"""`make bench-publish`: what it costs to publish a table, against writing the same rows with one call of Polars.

Users with 40 columns lie in Parquet files, one per bucket. The project reads bucket after bucket, keeps their rows by
segment, writes files of about 128 MiB sorted by user with page checksums, reads their keys back, checks the SHA-256 of
each, and publishes them. Polars scans the same files and sinks them into one file, neither sorted nor partitioned nor
synced. Each runs in a process of its own, in turns; peak memory is taken at a quarter of the users too. The size comes
from BENCH_USERS, the number of turns from BENCH_TURNS.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.end_to_end import DATA
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result
from engine.events.keys import user_key
from engine.execution.local import LocalExecutor
from engine.rollups.ranges import key_ranges
from engine.tables.check_before import check_before
from engine.tables.compact import Unpublished, compact, keep_partitions
from engine.tables.layout import partition_folder
from engine.tables.manifest import Manifest, TableRecord
from engine.tables.publish import publish
from engine.tables.published_types import as_published
from engine.tables.rows import Piece
from engine.tables.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AS_OF = date(2026, 1, 1)
SEGMENTS = tuple(f"segment {number:02d}" for number in range(1, 13))
CLASSES = ("very low", "low", "medium", "high", "very high")
# Users of a bucket with the usual `rows_per_task` and 50 events each.
BUCKET = 80_000


@dataclass(frozen=True)
class Size:
    """Users whose rows are published."""

    users: int = 10_000_000

    @property
    def buckets(self) -> int:
        """The power of two that cuts them into buckets of about `BUCKET` users."""
        return 1 << max(0, round(math.log2(max(1, self.users / BUCKET))))


def size_from(env: Mapping[str, str]) -> Size:
    """The size that the environment asks for; `1e6` is a number too."""
    return Size(int(float(env["BENCH_USERS"]))) if "BENCH_USERS" in env else Size()


def ensure_buckets(folder: Path, size: Size) -> None:
    """Write the users, a file per range of keys, unless they are in `folder` already."""
    if (folder / "complete").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    ids = pl.DataFrame({"user_id": np.arange(size.users, dtype=np.int64) * 7 + 1_000_003})
    keyed = ids.with_columns(user_key=user_key(pl.col("user_id")))
    for number, keys in enumerate(key_ranges(size.buckets)):
        users = keyed.filter(keys.contains()).select("user_id").sort("user_id")
        bucket(users["user_id"], number).write_parquet(folder / f"bucket-{number:05d}.parquet")
    (folder / "complete").touch()


def bucket(users: pl.Series, number: int) -> pl.DataFrame:
    """Rows as the table `segments` has them: an id, a segment, and 39 columns of counts, amounts, scores and names."""
    draw = np.random.default_rng([3, number])
    rows = users.len()

    def names(among: tuple[str, ...]) -> pl.Series:
        return pl.Series(among).gather(draw.integers(0, len(among), rows))

    columns = [users, names(SEGMENTS).alias("segment")]
    columns += [pl.Series(f"count_{i:02d}", draw.poisson(i + 1, rows).astype(np.int64)) for i in range(12)]
    columns += [pl.Series(f"amount_{i}", np.round(draw.gamma(1.0, 80.0, rows), 2)) for i in range(6)]
    columns += [pl.Series(f"probability_{i}", np.round(draw.random(rows), 6)) for i in range(8)]
    columns += [pl.Series(f"decile_{i}", draw.integers(1, 11, rows).astype(np.int8)) for i in range(6)]
    columns += [names(CLASSES).alias(f"class_{i}") for i in range(5)]
    columns += [pl.Series("last_day", draw.integers(20_000, 20_400, rows).astype(np.int32)).cast(pl.Date)]
    columns += [pl.Series("opted_in", draw.random(rows) < 0.7)]
    return pl.DataFrame(columns)


@dataclass(frozen=True)
class KeepTask:
    """A file of users, to be kept by segment in a work folder."""

    file: str
    number: int
    work: str


def keep_bucket(task: KeepTask) -> tuple[Piece, ...]:
    """What a scoring task does with its rows when all else is done."""
    rows = as_published(pl.read_parquet(task.file))
    return keep_partitions("segments", task.number, rows, "segment", segment_folder, Path(task.work))


def publish_buckets(folder: Path, out: Path) -> dict[str, Any]:
    """Publish the users as the project does; seconds per step, rows, files and bytes."""
    executor = LocalExecutor()
    files = sorted(folder.glob("bucket-*.parquet"))
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        seconds[name] = time.perf_counter() - start - sum(seconds.values())

    with workspace(out, "score-2026-01-01-benchmark") as work:
        tasks = [KeepTask(str(file), number, str(work)) for number, file in enumerate(files)]
        pieces = tuple(chain.from_iterable(executor.map(keep_bucket, tasks, small=True)))
        lap("keep")
        tables = compact([Unpublished("segments", pieces, "benchmark")], AS_OF, staging=work, executor=executor)
        lap("write")
        check_before(tables, work, buckets=len(files), rekeyed=0, executor=executor)
        lap("check")
        publish(work, out, Manifest(work.name, AS_OF, None, {}, {}, tables))
        lap("publish")
    return {"seconds": sum(seconds.values()), "steps": seconds, **about(tables[0])}


def segment_folder(name: str) -> str:
    """The folder of a segment."""
    return partition_folder(Path(), "segment", name).name


def about(record: TableRecord) -> dict[str, int]:
    """Rows, files and bytes of a table, and its smallest and largest file."""
    sizes = [file.bytes for file in record.records]
    return {
        "rows": record.rows,
        "files": record.files,
        "bytes": record.bytes,
        "smallest": min(sizes),
        "largest": max(sizes),
    }


def sink(folder: Path, out: Path) -> dict[str, Any]:
    """Write the users with one call; seconds, rows and bytes."""
    out.mkdir(parents=True)
    start = time.perf_counter()
    path = out / "all.parquet"
    pl.scan_parquet(sorted(folder.glob("bucket-*.parquet")), glob=False).sink_parquet(path)
    seconds = time.perf_counter() - start
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    return {"seconds": seconds, "rows": rows, "files": 1, "bytes": path.stat().st_size}


def bench(
    size: Size, *, turns: int, folder: Path, results: Path, load: Callable[[], Mapping[str, float]] | None = None
) -> str:
    """Measure both and write `<results>/publish.json`; the tables as text.

    Args:
        size: What is published.
        turns: Runs of each; ratios are those of the medians.
        folder: Where the rows are kept and used again.
        results: Where the result is written.
        load: Measures what loading a published table into a database costs; its ratios stand beside the others.

    Raises:
        RuntimeError: The two did not write the same number of rows.
    """
    small = Size(max(1, size.users // 4))
    for each in (size, small):
        ensure_buckets(rows_folder(folder, each), each)
    measurements: list[Measurement] = []
    found: dict[str, list[dict[str, Any]]] = {"publish": [], "sink": [], "publish a quarter": []}
    peaks: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(turns):
        for name, runs in found.items():
            users = small if name == "publish a quarter" else size
            out = folder / f"publish-{name.partition(' ')[0]}"
            shutil.rmtree(out, ignore_errors=True)
            way = "sink" if name == "sink" else "publish"
            command = [sys.executable, "-m", "benchmarks.publish", way, str(rows_folder(folder, users)), str(out)]
            done = run_measured(name, command)
            shutil.rmtree(out, ignore_errors=True)
            measurements.append(done.measurement)
            peaks[name].append(done.measurement.peak_mb)
            runs.append(json.loads(done.stdout))
    written = {run["rows"] for name in ("publish", "sink") for run in found[name]}
    if written != {size.users}:
        message = f"{size.users} rows were given, and {sorted(written)} were written"
        raise RuntimeError(message)
    ratios = ratios_of(found, peaks) | dict(load() if load is not None else {})
    write_result(
        "publish",
        size=asdict(size) | {"buckets": size.buckets, "columns": 40},
        measurements=measurements,
        ratios=ratios,
        folder=results,
        more={"runs": found},
    )
    return table(measurements, ratios)


def ratios_of(found: Mapping[str, list[dict[str, Any]]], peaks: Mapping[str, list[float]]) -> dict[str, float]:
    """Time and bytes against the sink, peak memory, and peak memory against that of a quarter of the users.

    Processor time (user and system) tells more than time by the clock when others use the machine.
    """

    def seconds(name: str) -> float:
        return float(median(run["seconds"] for run in found[name]))

    def processor(name: str) -> float:
        return float(median(run["cpu_seconds"] for run in found[name]))

    def anonymous(name: str) -> float:
        return float(median(run["anonymous_mb"] for run in found[name]))

    peak = median(peaks["publish"])
    return {
        "publish_vs_sink": seconds("publish") / seconds("sink"),
        "publish_vs_sink_cpu": processor("publish") / processor("sink"),
        "bytes_vs_sink": found["publish"][0]["bytes"] / found["sink"][0]["bytes"],
        "peak_mb": peak,
        "peak_vs_quarter": peak / median(peaks["publish a quarter"]),
        "anonymous_mb": anonymous("publish"),
        "anonymous_vs_quarter": anonymous("publish") / max(1, anonymous("publish a quarter")),
    }


def load_ratio(rows: int, turns: int) -> dict[str, float]:
    """Loading a table of `rows` users into PostgreSQL, against a bare COPY: see `benchmarks.load`."""
    from benchmarks.load import load_vs_copy

    return {"load_vs_copy": load_vs_copy(rows, turns)["load_vs_copy"]}


def watch_anonymous(seen: list[int]) -> None:
    """Keep the most memory (MiB) of this process that is no page of a file in `seen[0]`; 0 where there is no /proc.

    Work files are mapped: the system counts their pages and takes them back when it needs the room.
    """
    status = Path("/proc/self/status")
    while status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        seen[0] = max(seen[0], int(line.split()[1]) // 1024)
        time.sleep(0.02)


def rows_folder(folder: Path, size: Size) -> Path:
    """Where the buckets of a size lie."""
    return folder / f"publish-rows-{size.users}"


def main() -> None:
    """Run the benchmark at the size that the environment asks for, or one contender, and print the result."""
    if sys.argv[1:]:
        way, folder, out = sys.argv[1:]
        contender = {"publish": publish_buckets, "sink": sink}[way]
        seen = [0]
        threading.Thread(target=watch_anonymous, args=(seen,), daemon=True).start()
        result = contender(Path(folder), Path(out))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps(result | {"cpu_seconds": used.ru_utime + used.ru_stime, "anonymous_mb": seen[0]}))
        return
    env = os.environ
    turns = max(1, int(env.get("BENCH_TURNS", "3")))
    loaded = int(float(env.get("BENCH_LOAD_ROWS", "1e6")))
    text = bench(
        size_from(env),
        turns=turns,
        load=(lambda: load_ratio(loaded, turns)) if loaded else None,
        folder=Path(env.get("BENCH_DIR", DATA)),
        results=RESULTS,
    )
    print(text)


if __name__ == "__main__":
    main()
