"""`make bench-erase`: what it costs to erase one person, and then a hundred, of many users.

The log is that of `make bench`, with ten rows a user by default. One date is published, without models; then `tamis
erase` takes one user out, and then a hundred that are spread over all files, each in a process of its own: it looks for
them, writes the files that hold them again, and looks through every file below the output root for what is left.
`files_rewritten` is the share of all files that were written again. The size comes from BENCH_USERS, BENCH_EVENTS and
BENCH_DAYS.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import polars as pl

from benchmarks.end_to_end import DATA, END, TAMIS, Size, ensure_log
from benchmarks.measure import RESULTS, run_measured, table, write_result

USERS = 1_000_000
EVENTS_PER_USER = 10
DAYS = 30
PEOPLE = 100
KEY = "5a" * 32
CONFIG = """\
out = "out"

[[sources]]
name = "log"
path = {events}
[sources.columns]
user_id = "user_id"
event_type = "event_type"
event_time = "event_time"
event_id = "event_id"
amount = "amount"

[events]
purchase = "purchase"
send = "email_sent"
open = "email_open"
click = "email_click"

[features]
windows = [7, 30]

[clusters]
k_min = 2
k_max = 3

[[segments]]
name = "buyers"
where = "purchase_count_30d >= 1"

[[segments]]
name = "readers"
where = "email_open_count_30d >= 1"
"""


def size_of(env: dict[str, str]) -> Size:
    """The size that BENCH_USERS, BENCH_EVENTS and BENCH_DAYS ask for."""
    users = int(float(env.get("BENCH_USERS", USERS)))
    events = int(float(env.get("BENCH_EVENTS", EVENTS_PER_USER * users)))
    return Size(users, events, int(env.get("BENCH_DAYS", DAYS)))


def chosen(out: Path, people: int) -> list[str]:
    """Ids of users of the published date, spread over all of them."""
    ids = pl.scan_parquet(f"{out}/features/**/*.parquet").select("user_id").collect()["user_id"].sort()
    return [str(user) for user in ids.gather_every(max(1, ids.len() // people))[:people]]


def left(out: Path, ids: list[str]) -> int:
    """Rows of some users in the published tables with a column of users."""
    named = pl.col("user_id").cast(pl.String).is_in(ids)
    tables = [
        pl.scan_parquet(f"{folder}/**/*.parquet", missing_columns="insert", extra_columns="ignore")
        for folder in sorted(out.iterdir())
        if not folder.name.startswith("_")
    ]
    told = [one for one in tables if "user_id" in one.collect_schema()]
    return sum(int(one.filter(named).select(pl.len()).collect().item()) for one in told)


def bench(size: Size, folder: Path, results: Path, *, people: int = PEOPLE) -> str:
    """Publish a date, erase one user and then many; the result is written as `erase.json`.

    Args:
        size: Size of the log.
        folder: Where the log is kept and the output is written.
        results: Folder for the result.
        people: How many are erased at once.

    Returns:
        The table to print.

    Raises:
        RuntimeError: A step failed, or somebody is still there.
    """
    folder = folder.resolve()
    log, place = folder / f"log-{size.users}-{size.events}-{size.days}", folder / "erase"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    ensure_log(log, size)
    config, out, env = place / "tamis.toml", place / "out", {"TAMIS_KEY": KEY}
    config.write_text(CONFIG.format(events=json.dumps(str(log / "events"))), encoding="utf-8")
    run = [*TAMIS, "run", "-c", str(config), f"--as-of={END.isoformat()}", "--quiet"]
    measurements = [run_measured("tamis run", run, env=env).measurement]
    ids = chosen(out, people + 1)
    measured: dict[str, dict[str, int]] = {}
    ratios: dict[str, float] = {}
    for name, some in (("one", ids[:1]), ("many", ids[1:])):
        listed = place / f"{name}.txt"
        listed.write_text("\n".join(some) + "\n", encoding="utf-8")
        before = sum(path.is_file() for path in out.rglob("*"))
        command = [*TAMIS, "erase", "--from", str(listed), "-c", str(config), "--reason=bench", "--yes", "--json"]
        done = run_measured(f"tamis erase, {len(some)} of {size.users}", command, env=env)
        told = json.loads(done.stdout)
        if told["known"] != len(some) or left(out, some):
            message = f"expected {len(some)} people to be erased, got {told['known']}; rows left: {left(out, some)}"
            raise RuntimeError(message)
        rewritten = sum(one["rewritten"] for one in told["removed"].values())
        measured[name] = {"people": len(some), "files": before, "files_rewritten": rewritten}
        ratios["files_rewritten_of_one" if name == "one" else "files_rewritten"] = rewritten / before
        measurements.append(done.measurement)
    sizes = {"users": size.users, "events": size.events, "days": size.days}
    more = {"erasures": measured}
    write_result("erase", size=sizes, measurements=measurements, ratios=ratios, folder=results, more=more)
    files = ", ".join(f"{one['files_rewritten']} of {one['files']} files" for one in measured.values())
    return f"{table(measurements, ratios)}\n\nWritten again: {files}"


def main() -> None:
    """Run the benchmark of the environment's size."""
    folder = Path(os.environ.get("BENCH_DIR", DATA))
    sys.stdout.write(bench(size_of(dict(os.environ)), folder, RESULTS) + "\n")


if __name__ == "__main__":
    main()
