"""`make bench-segments`: 100 rules over a million users with 60 features, against one DuckDB query with the same.

Users lie in Parquet files of the size of a bucket. The project evaluates file by file: each user's primary segment,
every membership, and for how many users each clause holds. DuckDB runs one query over all files: the same rules in
CASE expressions, counted per primary segment. Both tell the size of each segment, and must agree. Each runs in a
process of its own, in turns; the size comes from BENCH_USERS, the number of turns from BENCH_TURNS.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.end_to_end import DATA
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.evaluate import evaluate
from engine.segments.plan import SegmentPlan, plan_segments

if TYPE_CHECKING:
    from collections.abc import Mapping

AS_OF = date(2026, 1, 1)
FALLBACK = "all others"
# Users of a bucket with the usual `rows_per_task` and 50 events each.
BUCKET = 80_000
WINDOWS = (7, 30, 90)
COUNTED = ("open", "click", "page_view", "cart_add", "purchase", "login", "comment")
REGIONS = ("Île-de-France", "Bretagne", "Occitanie", "Normandie", "Grand Est", "Corse")
PLANS = ("free", "basic", "premium")
SOURCES = ("web", "app", "shop", "partner", "event")
SECTORS = ("retail", "industry", "health", "public")
TITLES = ("Director of sales", "Head of marketing", "Buyer", "Assistant", "Chief executive")
PRIMARY_RULES = 20


@dataclass(frozen=True)
class Size:
    """Users, their features, and rules."""

    users: int = 1_000_000
    features: int = 60
    rules: int = 100


def size_from(env: Mapping[str, str]) -> Size:
    """The size that BENCH_USERS asks for; `1e6` is a number too."""
    return Size(users=int(float(env["BENCH_USERS"]))) if "BENCH_USERS" in env else Size()


def make_users(first: int, users: int) -> pl.DataFrame:
    """`user_id` and 60 features, scores and attributes; gaps where users have none."""
    draw = np.random.default_rng([2, first])
    activity = draw.lognormal(0, 1, users)
    columns: dict[str, pl.Series] = {"user_id": pl.Series(range(first, first + users), dtype=pl.Int64)}
    for (rank, event), days in product(enumerate(COUNTED), WINDOWS):
        columns[f"{event}_count_{days}d"] = pl.Series(draw.poisson(activity * days / (20 * (1 + rank))))
    for days in WINDOWS:
        bought = columns[f"purchase_count_{days}d"].to_numpy()
        columns[f"purchase_amount_{days}d"] = pl.Series(np.round(bought * draw.lognormal(3.5, 0.7, users), 2))
        columns[f"order_value_mean_{days}d"] = columns[f"purchase_amount_{days}d"] / pl.Series(bought).replace(0, None)
        for rate in ("open_rate", "click_rate"):
            columns[f"{rate}_{days}d"] = gaps(draw, np.round(draw.beta(2, 3, users), 4), 0.2)
        columns[f"night_share_{days}d"] = gaps(draw, np.round(draw.random(users), 4), 0.1)
    for event in (*COUNTED, "event"):
        columns[f"days_since_{event}"] = gaps(draw, draw.geometric(1 / 40, users), 0 if event == "event" else 0.2)
    for name, high in (("engagement_score", 100), ("maturity_score", 100), ("points_value", 60)):
        columns[name] = pl.Series(np.round(draw.beta(2, 3, users) * high, 2))
    for name in ("propensity_purchase", "propensity_churn", "clv_365d", "tenure_days"):
        scale = {"clv_365d": 800, "tenure_days": 1500}.get(name, 1)
        columns[name] = pl.Series(np.round(draw.beta(1.5, 4, users) * scale, 4))
    columns["age"] = gaps(draw, draw.integers(16, 90, users), 0.3)
    for name, among, missing in (
        ("region", REGIONS, 0.1),
        ("plan", PLANS, 0),
        ("source", SOURCES, 0),
        ("sector", SECTORS, 0.4),
        ("job_title", TITLES, 0.4),
    ):
        columns[name] = gaps(draw, np.array(among, dtype=object)[draw.integers(0, len(among), users)], missing)
    columns["opted_in"] = pl.Series(draw.random(users) < 0.8)
    columns["headcount"] = gaps(draw, draw.integers(1, 5000, users), 0.4)
    columns["turnover"] = gaps(draw, draw.integers(1, 900, users), 0.4)
    return pl.DataFrame(columns)


def gaps(draw: np.random.Generator, values: np.ndarray, share: float) -> pl.Series:
    """Values, some of which are null."""
    series = pl.Series(values.tolist() if values.dtype == object else values)
    return pl.select(pl.when(pl.Series(draw.random(len(values)) >= share)).then(series)).to_series()


def rules() -> list[str]:
    """A hundred conditions as campaigns have them, on the same parts again and again; SQL of both contenders.

    A NOT stands before what is never null alone: there three truth values and two agree.
    """
    active = [f"days_since_event < {days}" for days in (7, 30, 90)]
    engaged = [f"engagement_score > {score}" for score in (70, 50, 30)]
    opened = [f"open_rate_30d > {rate}" for rate in (0.5, 0.3)]
    basket = "cart_add_count_7d > 0 AND purchase_count_7d = 0"
    worth = [f"purchase_amount_90d / NULLIF(purchase_count_90d, 0) > {amount}" for amount in (50, 100)]
    near = "region IN ('Île-de-France', 'Normandie', 'Grand Est')"
    young, mature = "age BETWEEN 18 AND 34", "age BETWEEN 35 AND 64"
    decides = "job_title LIKE 'Director%' OR job_title LIKE '%executive'"
    frequent = "(open_count_30d + click_count_30d + page_view_count_30d) / 3 >= 2"
    found = [f"{a} AND {b}" for a, b in product(active, engaged)]
    found += [f"(region = 'Île-de-France' AND {e}) OR ({a} AND {o})" for a, e, o in product(active, engaged, opened)]
    found += [f"{near} AND {a} AND {o}" for a, o in product(active, opened)]
    found += [f"{basket} AND {w} AND {a}" for w, a in product(worth, active)]
    found += [f"{age} AND {w} AND plan = '{plan}'" for age, w, plan in product((young, mature), worth, PLANS)]
    found += [f"({decides}) AND sector = '{sector}' AND {o}" for sector, o in product(SECTORS, opened)]
    found += [f"source = '{source}' AND NOT ({active[1]}) AND {frequent}" for source in SOURCES]
    found += [f"plan <> 'premium' AND {frequent} AND {e}" for e in engaged]
    found += [f"({frequent} OR {w}) AND propensity_purchase >= {p}" for w, p in product(worth, (0.2, 0.4, 0.6))]
    found += [f"days_since_{event} IS NULL AND {active[1]}" for event in COUNTED]
    found += [f"COALESCE(days_since_{event}, 999) BETWEEN 30 AND 90 AND opted_in" for event in COUNTED]
    found += [f"headcount > turnover * {times} AND {near}" for times in (1, 2, 5)]
    found += [f"clv_365d > {value} AND propensity_churn > 0.5 AND {near}" for value in (100, 200, 300)]
    found += [f"points_value > {points} OR maturity_score > {2 * points + 20}" for points in (10, 20, 30)]
    found += [f"{event}_count_90d >= 3 * {event}_count_30d + 1 AND {opened[1]}" for event in COUNTED]
    return found[:100]


def definitions() -> tuple[Definition, ...]:
    """The rules as segments: some of the primary group, all others tags, and one for whom no rule takes."""
    ruled = [
        Definition(f"segment {number:03d}", "rule", "primary" if number % 5 == 0 else None, where)
        for number, where in enumerate(rules())
    ]
    return (*ruled, Definition(FALLBACK, "fallback", "primary"))


def ensure_users(folder: Path, size: Size) -> None:
    """Write the users, a file per bucket, unless they are in `folder` already."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, size.users, BUCKET)):
        file = folder / f"users-{number:05d}.parquet"
        if not file.exists():
            make_users(first, min(BUCKET, size.users - first)).write_parquet(file)


def by_tamis(files: list[str]) -> dict[str, Any]:
    """Sizes of the segments by the project: plan once, evaluate each file, and the seconds of both."""
    started = time.perf_counter()
    plan = plan_segments(definitions(), Scope(columns=dict(pl.read_parquet_schema(files[0]))))
    planned = time.perf_counter() - started
    sizes = dict.fromkeys((definition.name for definition in plan.definitions), 0)
    members = 0
    for file in files:
        found, rows = evaluated(plan, file)
        members += rows
        for name, size in found.items():
            sizes[name] += size
    seconds = time.perf_counter() - started
    if members != sum(sizes.values()):
        raise RuntimeError(f"{members} memberships, but {sum(sizes.values())} by segment")
    return {"sizes": sizes, "seconds": seconds, "plan_seconds": planned, "clauses": len(plan.clauses)}


def evaluated(plan: SegmentPlan, file: str) -> tuple[dict[str, int], int]:
    """Members of each segment among the users of a file, and the number of memberships; all else is let go."""
    done = evaluate(plan, pl.read_parquet(file), {}, None, AS_OF)
    return done.holds.sum().row(0, named=True), done.members.height


def by_duckdb(files: list[str]) -> dict[str, Any]:
    """Sizes of the segments by one DuckDB query over all files, and its seconds."""
    import duckdb

    segments = [definition for definition in definitions() if definition.where is not None]
    first = " ".join(f"WHEN {one.where} THEN '{one.name}'" for one in segments if one.group)
    tags = [one for one in segments if one.group is None]
    columns = ", ".join(f"CASE WHEN {tag.where} THEN 1 ELSE 0 END AS t{index}" for index, tag in enumerate(tags))
    sums = ", ".join(f"sum(t{index})" for index in range(len(tags)))
    started = time.perf_counter()
    rows = duckdb.execute(
        f"WITH users AS (SELECT CASE {first} ELSE '{FALLBACK}' END AS segment, {columns} FROM read_parquet($files)) "
        f"SELECT segment, count(*), {sums} FROM users GROUP BY segment",
        {"files": files},
    ).fetchall()
    seconds = time.perf_counter() - started
    sizes = {definition.name: 0 for definition in definitions()} | {row[0]: int(row[1]) for row in rows}
    sizes |= {tag.name: int(sum(row[2 + index] for row in rows)) for index, tag in enumerate(tags)}
    return {"sizes": sizes, "seconds": seconds}


def bench(size: Size, *, turns: int, folder: Path, results: Path) -> str:
    """Measure both and write `<results>/segments.json`; the tables as text.

    Args:
        size: How many users.
        turns: Runs of each contender; ratios are those of the medians.
        folder: Where the users are kept and used again.
        results: Where the result is written.

    Raises:
        RuntimeError: The contenders disagree about a segment's size.
    """
    users = folder / f"segments-{size.users}"
    ensure_users(users, size)
    files = sorted(map(str, users.glob("users-*.parquet")))
    runs = {"tamis": files, "duckdb": files, "tamis, one bucket": files[:1]}
    measurements: list[Measurement] = []
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, read in runs.items():
            done = run_measured(name, [sys.executable, "-m", "benchmarks.segments", name.split(",")[0], *read])
            measurements.append(done.measurement)
            found[name].append(json.loads(done.stdout))
    ours, theirs = found["tamis"][0]["sizes"], found["duckdb"][0]["sizes"]
    differing = [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]
    if differing or sorted(ours) != sorted(theirs):
        raise RuntimeError("the project and DuckDB disagree\n" + "\n".join(differing))

    def seconds(name: str, figure: str = "seconds") -> float:
        return median(run[figure] for run in found[name])

    def peak(name: str) -> float:
        return median(one.peak_mb for one in measurements if one.what == name)

    ratios = {
        "seconds": seconds("tamis"),
        "time_vs_duckdb": seconds("tamis") / seconds("duckdb"),
        "peak_mb": peak("tamis"),
        "memory_vs_duckdb": peak("tamis") / peak("duckdb"),
        "memory_vs_one_bucket": peak("tamis") / peak("tamis, one bucket"),
    }
    more = {
        "plan_seconds": round(seconds("tamis", "plan_seconds"), 3),
        "duckdb_seconds": round(seconds("duckdb"), 3),
        "distinct_clauses": found["tamis"][0]["clauses"],
        "users_by_segment": [min(ours.values()), int(median(ours.values())), max(ours.values())],
    }
    write_result("segments", size=asdict(size), measurements=measurements, ratios=ratios, folder=results, more=more)
    return table(measurements, ratios)


def main(arguments: list[str]) -> None:
    """Run the benchmark at the size that the environment asks for; with a contender and files, the part measured."""
    if arguments:
        contender = {"tamis": by_tamis, "duckdb": by_duckdb}[arguments[0]]
        sys.stdout.write(json.dumps(contender(arguments[1:])))
        return
    env = os.environ
    turns = max(1, int(env.get("BENCH_TURNS", "3")))
    print(bench(size_from(env), turns=turns, folder=Path(env.get("BENCH_DIR", DATA)), results=RESULTS))


if __name__ == "__main__":
    main(sys.argv[1:])
