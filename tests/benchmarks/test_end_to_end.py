from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from benchmarks.end_to_end import Size, bench, config_text, ensure_log, size_from
from benchmarks.script_baseline import RULES
from engine.config import Config


@pytest.mark.slow
def test_a_tiny_run_agrees_and_writes_its_result(tmp_path: Path) -> None:
    size = Size(users=600, events=30_000, days=40)
    text = bench(size, tmp_path, repeats=1, results=tmp_path / "results")
    result = json.loads((tmp_path / "results" / "end_to_end.json").read_text())
    assert result["size"] == {"users": 600, "events": 30_000, "days": 40}
    assert [one["what"] for one in result["measurements"]] == ["generate", "tamis fit", "tamis score", "script"]
    assert set(result["ratios"]) == {"time_vs_script", "memory_vs_script"}
    assert all(ratio > 0 for ratio in result["ratios"].values())
    assert "time_vs_script" in text
    assert ensure_log(tmp_path / "log-600-30000-40", size) is None


@pytest.mark.parametrize(
    ("env", "size"),
    [
        ({}, Size(1_000_000, 50_000_000, 100)),
        ({"BENCH_USERS": "1e3", "BENCH_EVENTS": "5000", "OTHER": "1"}, Size(1000, 5000, 100)),
        ({"BENCH_DAYS": "10"}, Size(days=10)),
    ],
)
def test_size_comes_from_the_environment(env: dict[str, str], size: Size) -> None:
    assert size_from(env) == size


@pytest.mark.parametrize(("days", "horizon"), [(100, 30), (1000, 30), (40, 12), (1, 1)])
def test_three_horizons_fit_into_the_log(days: int, horizon: int) -> None:
    assert Size(days=days).horizon_days == horizon
    assert 3 * horizon < max(days, 4)


def test_configuration_is_valid_and_has_the_rules_of_the_script(tmp_path: Path) -> None:
    events = tmp_path / 'a "quoted" folder'
    config = Config.model_validate(tomllib.loads(config_text(events, Size())))
    assert config.sources[0].path == str(events)
    assert {segment.name: segment.where for segment in config.segments} == RULES


def test_a_log_of_another_size_is_made_anew(tmp_path: Path) -> None:
    assert ensure_log(tmp_path / "log", Size(50, 500, 3)) is not None
    (tmp_path / "log" / "log.json").unlink()
    assert ensure_log(tmp_path / "log", Size(50, 500, 3)) is not None
    assert ensure_log(tmp_path / "log", Size(50, 500, 4)) is not None
    assert ensure_log(tmp_path / "log", Size(50, 500, 4)) is None
