from __future__ import annotations

import json
import sys
import textwrap
import tomllib
from datetime import date
from pathlib import Path

import pytest

from benchmarks.end_to_end import Size
from benchmarks.features import STORE, Log, bench, config_text, link_days, size_of, tamis_turn
from benchmarks.measure import PROJECT
from engine.config import Config

AS_OF = date(2026, 1, 1)
SIZE = Size(users=150, events=4000, days=5)
# What `tamis features write` does for the benchmark, by the query it is compared with; calls.jsonl tells what it saw.
STAND_IN = """
import json, sys, tomllib
from datetime import date
from pathlib import Path

sys.path.insert(0, {project!r})
from benchmarks.features_by_hand import by_duckdb

command, given = sys.argv[1:3], dict(zip(sys.argv[3::2], sys.argv[4::2]))
config = tomllib.loads(Path(given["-c"]).read_text())
events, store, to = Path(config["sources"][0]["path"]), Path(config["out"]) / "_rollups", Path(given["--to"])
days = sorted(folder.name for folder in events.iterdir())
call = {{"command": command, "as_of": given["--as-of"], "days": days, "store": store.exists(), "to": to.name}}
with Path({calls!r}).open("a") as calls:
    calls.write(json.dumps(call) + "\\n")
{store}
to.mkdir()
{write}
"""
KEEPS_A_STORE = 'store.mkdir(parents=True, exist_ok=True); (store / "part").write_bytes(b"x" * 1000 * len(days))'
WRITES = 'by_duckdb(events, date.fromisoformat(given["--as-of"]), to / "part-0.parquet")'


def stand_in(folder: Path, *, store: str = KEEPS_A_STORE, write: str = WRITES) -> tuple[str, str]:
    script = folder / "tamis.py"
    calls = str(folder / "calls.jsonl")
    script.write_text(textwrap.dedent(STAND_IN).format(project=str(PROJECT), calls=calls, store=store, write=write))
    return sys.executable, str(script)


def day_files(folder: Path, days: int) -> Path:
    for day in range(1, days + 1):
        for log in ("a", "b"):
            path = folder / log / f"event_date=2026-01-{day:02d}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            path.write_bytes(log.encode() * day)
    return folder


def shown(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.mark.slow
def test_a_tiny_run_agrees_and_writes_its_result(folder: Path, tmp_path: Path) -> None:
    text = bench(SIZE, folder, turns=1, results=tmp_path / "results", growth=2, journey=False, tamis=stand_in(tmp_path))
    result = json.loads((tmp_path / "results" / "features.json").read_text())
    assert result["size"] == {"users": 150, "events": 4000, "days": 5, "turns": 1, "growth": 2}
    runs = ["scan", "duckdb", "polars", "tamis fill", "tamis daily", "tamis cold"]
    assert [one["what"] for one in result["measurements"]] == [
        *runs,
        *(f"tamis {run} 2x" for run in ("fill", "daily", "cold")),
    ]
    assert set(result["ratios"]) == {
        *(f"{run}_{than}" for run in ("cold", "daily") for than in ("vs_duckdb", "vs_polars", "vs_scan", "peak_mb")),
        *(f"growth_2x_{what}" for what in ("time", "memory", "daily_time", "daily_memory")),
        "store_vs_source",
    }
    assert all(ratio > 0 for ratio in result["ratios"].values())
    source = size_of(folder / "log-150-4000-5" / "events")
    assert result["bytes"] == {"source": source, "store": 5000}
    assert "`daily_vs_duckdb`" in text


def test_a_turn_fills_a_store_adds_a_day_and_starts_anew(tmp_path: Path) -> None:
    events = day_files(tmp_path / "log", 3)
    log = Log(events / "a", date(2026, 1, 4), config_text)
    turns = [
        tamis_turn(stand_in(tmp_path, write="(to / 'done').touch()"), log, tmp_path / "run", suffix=" 4x")
        for _ in range(2)
    ]
    days = [f"event_date=2026-01-{day:02d}" for day in (1, 2, 3)]
    before = {"command": ["features", "write"], "as_of": "2026-01-03", "days": days[:2], "store": False, "to": "fill"}
    after = before | {"as_of": "2026-01-04", "days": days}
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert calls == 2 * [before, after | {"store": True, "to": "daily"}, after | {"to": "cold"}]
    for turn in turns:
        assert [one.what for one in turn.measurements] == ["tamis fill 4x", "tamis daily 4x", "tamis cold 4x"]
        assert (turn.store_bytes, turn.daily.name, turn.cold.name) == (3000, "daily", "cold")
    assert len(shown(events)) == 6


def test_a_run_without_a_store_is_no_daily_run(tmp_path: Path) -> None:
    log = Log(day_files(tmp_path / "log", 2) / "a", date(2026, 1, 3), config_text)
    with pytest.raises(RuntimeError, match=rf"left no store in .*{STORE}"):
        tamis_turn(stand_in(tmp_path, store="", write="(to / 'done').touch()"), log, tmp_path / "run")


@pytest.mark.slow
def test_other_features_are_no_result(folder: Path, tmp_path: Path) -> None:
    wrong = f"""{WRITES}
import polars as pl
file = to / "part-0.parquet"
pl.read_parquet(file).with_columns(pl.col("page_view_count_7d") + 1).write_parquet(file)"""
    tamis = stand_in(tmp_path, write=wrong)
    with pytest.raises(RuntimeError, match=r"(?s)disagree\ntamis daily and duckdb: page_view_count_7d: .*tamis cold"):
        bench(SIZE, folder, turns=1, results=tmp_path / "results", journey=False, tamis=tamis)
    assert not (tmp_path / "results").exists()


def test_days_are_shown_up_to_a_date(tmp_path: Path) -> None:
    events, to = day_files(tmp_path / "log", 3), tmp_path / "to"
    link_days(events, to, until=date(2026, 1, 3))
    assert shown(to) == [f"{log}/event_date=2026-01-0{day}/part-0.parquet" for log in "ab" for day in (1, 2)]
    link_days(events, to, until=date(2026, 1, 9))
    assert shown(to) == shown(events)
    assert (to / "b" / "event_date=2026-01-03" / "part-0.parquet").read_bytes() == b"bbb"
    link_days(events, to, until=date(2026, 1, 2))
    assert shown(to) == ["a/event_date=2026-01-01/part-0.parquet", "b/event_date=2026-01-01/part-0.parquet"]
    assert len(shown(events)) == 6


def test_days_are_copied_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    events, to = day_files(tmp_path / "log", 2), tmp_path / "to"
    link_days(events, to, until=AS_OF.replace(day=3))
    assert size_of(to) == size_of(events) == 6


def test_configuration_is_valid(tmp_path: Path) -> None:
    events, out = tmp_path / 'a "quoted" folder', tmp_path / "out"
    config = Config.model_validate(tomllib.loads(config_text(events, out)))
    assert (config.sources[0].path, config.out) == (str(events), str(out))
    assert (config.events.purchase, config.events.send) == ("purchase", "email_sent")
