"""`make bench-features`: the default features of every user, against DuckDB, plain Polars and a bare scan of the log.

The contenders take turns, each run is a process of its own. `tamis` runs three times a turn: it fills an empty rollup
store with all days but the last (`fill`), adds the last day (`daily`), and starts again from nothing (`cold`). The size
comes from BENCH_USERS, BENCH_EVENTS and BENCH_DAYS, the number of turns from BENCH_TURNS; BENCH_GROWTH is the size of
the second log in sizes of the first, 1 for none. Logs are kept under BENCH_DIR and used again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from benchmarks.end_to_end import DATA, END, TAMIS, Size, ensure_log, size_from
from benchmarks.features_compare import feature_differences
from benchmarks.features_journey import AS_OF, ensure_journey, journey_config
from benchmarks.features_report import Section, tables
from benchmarks.measure import RESULTS, Measurement, run_measured, write_result
from benchmarks.script_sql import FeatureSet

BY_HAND = (sys.executable, "-m", "benchmarks.features_by_hand")
STORE = "_rollups"
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Log:
    """A log to compute features of.

    Attributes:
        events: Folder with `event_date=YYYY-MM-DD` folders at any depth.
        as_of: The day after the last of them.
        config: Text of a configuration, given the folder of the events and the folder to write under.
    """

    events: Path
    as_of: date
    config: Callable[[Path, Path], str]


@dataclass(frozen=True)
class TamisTurn:
    """The three runs of a turn, what the last two wrote, and the bytes of the larger of their stores."""

    measurements: tuple[Measurement, ...]
    daily: Path
    cold: Path
    store_bytes: int


def config_text(events: Path, out: Path) -> str:
    """The configuration of the synthetic log: its columns, the roles of its event types, every default."""
    roles = FeatureSet()
    return f"""out = {_quoted(out)}

[[sources]]
name = "log"
path = {_quoted(events)}

[sources.columns]
user_id = "user_id"
event_type = "event_type"
event_time = "event_time"
event_id = "event_id"
amount = "amount"

[events]
purchase = "{roles.purchase}"
send = "{roles.send}"
open = "{roles.open}"
click = "{roles.click}"
"""


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def link_days(events: Path, to: Path, *, until: date) -> None:
    """Show the files of the days before `until` under `to` as well, which holds no other day afterwards.

    They are hard links, or copies on a file system that has none; files that are there already stay as they are.
    """
    for file in sorted(events.rglob("event_date=*/*")):
        there = to / file.relative_to(events)
        if date.fromisoformat(file.parent.name.partition("=")[2]) >= until:
            shutil.rmtree(there.parent, ignore_errors=True)
        elif not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                there.hardlink_to(file)
            except OSError:
                shutil.copy2(file, there)


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _read_through(folder: Path) -> None:
    # What is measured first must not be the one that waits for the disk.
    for file in sorted(folder.rglob("*.parquet")):
        with file.open("rb") as opened:
            while opened.read(2**22):
                pass


def _measured(what: str, command: Sequence[str]) -> Measurement:
    measurement = run_measured(what, command).measurement
    sys.stderr.write(f"{what}: {measurement.seconds:.1f} s, {measurement.peak_mb:,.0f} MiB\n")
    return measurement


def by_hand(contender: str, log: Log, to: Path, *, what: str | None = None) -> Measurement:
    """Run one of the contenders of `benchmarks.features_by_hand`, which writes the file `to`."""
    command = [*BY_HAND, contender, f"--events={log.events}", f"--as-of={log.as_of}", f"--to={to}"]
    return _measured(what or contender, command)


def tamis_turn(tamis: Sequence[str], log: Log, folder: Path, *, suffix: str = "") -> TamisTurn:
    """Fill a store with all days but the last, add the last one, and compute everything anew without the store.

    Args:
        tamis: Program and first arguments.
        log: The log; its files are not touched.
        folder: Where the days are shown to `tamis` and everything is written.
        suffix: Of the names of the measurements.

    Raises:
        RuntimeError: A run failed, or left no store.
    """
    events, out = folder / "events", folder / "out"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tamis.toml"
    config.write_text(log.config(events, out), encoding="utf-8")

    def write(name: str, as_of: date) -> Measurement:
        to = folder / name
        shutil.rmtree(to, ignore_errors=True)
        link_days(log.events, events, until=as_of)
        command = [*tamis, "features", "write", "-c", str(config), "--as-of", as_of.isoformat(), "--to", str(to)]
        return _measured(f"tamis {name}{suffix}", command)

    shutil.rmtree(out, ignore_errors=True)
    fill = write("fill", log.as_of - ONE_DAY)
    daily = write("daily", log.as_of)
    stored = size_of(out / STORE)
    shutil.rmtree(out, ignore_errors=True)
    cold = write("cold", log.as_of)
    stored = max(stored, size_of(out / STORE))
    if not stored:
        message = f"tamis left no store in {out / STORE}: there is nothing that a daily run could use"
        raise RuntimeError(message)
    return TamisTurn((fill, daily, cold), folder / "daily", folder / "cold", stored)


def _must_agree(pairs: dict[str, tuple[Path, Path]]) -> None:
    unequal = [
        f"{names}: {difference}"
        for names, (found, expected) in pairs.items()
        for difference in feature_differences(found, expected)
    ]
    if unequal:
        message = "the contenders disagree\n" + "\n".join(unequal)
        raise RuntimeError(message)


def bench(
    size: Size,
    folder: Path,
    *,
    turns: int,
    results: Path,
    growth: int = 1,
    journey: bool = True,
    tamis: Sequence[str] = TAMIS,
) -> str:
    """Generate, run all contenders in turns, compare what they wrote and write the result after every turn.

    Args:
        size: Size of the log.
        folder: Where logs are kept and everything is written; the outputs of an earlier run are removed.
        turns: Runs of each contender, at least one; the ratios are those of the medians.
        results: Folder for `features.json`.
        growth: Also measure a log of so many times the users and events; 1: do not.
        journey: Also measure Complete Journey.
        tamis: Program and first arguments.

    Returns:
        The tables to print.

    Raises:
        RuntimeError: A step failed, or two contenders disagree.
    """
    folder = folder.resolve()
    runs = folder / "features-runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    log = synthetic_log(folder, size)
    grown = synthetic_log(folder, Size(size.users * growth, size.events * growth, size.days)) if growth > 1 else None
    parts = {"complete_journey": _journey(folder, runs, turns=turns, tamis=tamis)} if journey else {}
    measurements: list[Measurement] = []
    stored = 0
    for turn in range(turns):
        measurements += [by_hand(name, log, runs / f"{name}.parquet") for name in ("scan", "duckdb", "polars")]
        ours = tamis_turn(tamis, log, runs / "log")
        measurements += ours.measurements
        stored = max(stored, ours.store_bytes)
        found = {"polars": runs / "polars.parquet", "tamis daily": ours.daily, "tamis cold": ours.cold}
        _must_agree({f"{name} and duckdb": (path, runs / "duckdb.parquet") for name, path in found.items()})
        if grown is not None:
            larger = tamis_turn(tamis, grown, runs / "grown", suffix=f" {growth}x")
            measurements += larger.measurements
            _must_agree({f"tamis daily and cold, {growth}x": (larger.daily, larger.cold)})
        sizes = {"users": size.users, "events": size.events, "days": size.days, "turns": turn + 1, "growth": growth}
        section = Section(sizes, measurements, size_of(log.events), stored).to_json(growth)
        more = {name: section[name] for name in ("ratios_of_minima", "summary", "bytes")} | parts
        write_result(
            "features", size=sizes, measurements=measurements, ratios=section["ratios"], folder=results, more=more
        )
    shutil.rmtree(runs)
    return tables(json.loads((results / "features.json").read_text(encoding="utf-8")))


def synthetic_log(folder: Path, size: Size) -> Log:
    """The log of a size under `folder`, made if it is not there."""
    kept = folder / f"log-{size.users}-{size.events}-{size.days}"
    ensure_log(kept, size)
    _read_through(kept / "events")
    return Log(kept / "events", END, config_text)


def _journey(folder: Path, runs: Path, *, turns: int, tamis: Sequence[str]) -> dict[str, object]:
    kept = folder / "complete-journey"
    rows = ensure_journey(kept)
    log = Log(kept / "events", AS_OF, journey_config)
    _read_through(log.events)
    expected = runs / "journey.parquet"
    measurements: list[Measurement] = []
    stored = 0
    for _ in range(turns):
        measurements.append(by_hand("journey", log, expected, what="duckdb"))
        ours = tamis_turn(tamis, log, runs / "journey")
        measurements += ours.measurements
        stored = max(stored, ours.store_bytes)
        _must_agree({"tamis daily and duckdb": (ours.daily, expected), "tamis cold and duckdb": (ours.cold, expected)})
    sizes = {"rows": rows, "files": sum(1 for _ in log.events.rglob("*.parquet")), "turns": turns}
    return Section(sizes, measurements, size_of(log.events), stored).to_json()


def main() -> None:
    """Run the benchmark at the size that the environment asks for and print its tables."""
    env = dict(os.environ)
    text = bench(
        size_from(env),
        Path(env.get("BENCH_DIR", DATA)),
        turns=max(1, int(env.get("BENCH_TURNS", "3"))),
        growth=int(env.get("BENCH_GROWTH", "4")),
        results=RESULTS,
    )
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
