from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from typer.testing import Result

from engine.planning.costs import read_costs, write_costs
from engine.planning.ship import shipped_source
from engine.planning.shipped_costs import SHIPPED
from jobs.plan_text import duration, size_text
from tests.samples import AS_OF, write_sample

Tamis = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(write_sample(tmp_path / "log", users=30))


def test_a_plan_for_people(tamis: Tamis, config: str) -> None:
    result = tamis("plan", "-c", config, "--as-of", str(AS_OF))
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any(line.startswith("fit: learn") for line in lines)
    assert any(line.startswith("total") for line in lines)
    assert "fit: first time, nothing was fitted yet" in lines
    assert any(line.startswith("It takes about") for line in lines)
    assert "none was measured here" in lines[-1]
    assert not (Path(config).parent / "out").exists()


def test_a_plan_as_json_and_for_a_cluster(tamis: Tamis, config: str) -> None:
    result = tamis(
        "plan", "-c", config, "--as-of", str(AS_OF), "--nodes", "3", "--cpus", "8", "--memory", "16", "--json"
    )
    found = json.loads(result.stdout)
    assert found["workers"]["nodes"] == 3
    assert not found["workers"]["local"]
    assert found["seconds"] == pytest.approx(
        found["start_seconds"] + found["driver_seconds"] + sum(stage["seconds"] for stage in found["stages"]), abs=0.01
    )
    assert {limit["name"] for limit in found["limits"]} >= {"requests", "driver-memory", "buckets"}


def test_a_simulation(tamis: Tamis, config: str) -> None:
    result = tamis("plan", "-c", config, "--simulate", "users=1e9,events=1e11,nodes=200")
    assert result.exit_code == 0, result.stderr
    assert "What breaks, the worst first:" in result.stdout
    assert "execution.rows_per_task" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "plan-nothing"),
        (("--simulate", "user=1"), "plan-simulate"),
        (("--simulate", "users=5", "--nodes", "3"), "plan-simulate"),
        (("--as-of", "2026-03-01", "--calibration", "none.json"), "plan-calibration"),
        (("--as-of", "2036-03-01"), "plan-date-future"),
        (("--as-of", "2020-03-01"), "plan-no-events"),
        (("--as-of", "20260301"), "as-of-invalid"),
    ],
)
def test_what_cannot_be_planned(tamis: Tamis, config: str, arguments: tuple[str, ...], code: str) -> None:
    result = tamis("plan", "-c", config, *arguments, "--json")
    assert json.loads(result.stdout)["error"]["code"] == code
    assert result.exit_code in {2, 3}


def test_a_calibration_is_measured_kept_and_used(
    tamis: Tamis, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    def measured(day: date) -> object:
        return replace(SHIPPED, source=day.isoformat())

    monkeypatch.setattr("engine.planning.calibrate.calibrate", measured)
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 0.0, 0.0))
    busy = tamis("plan", "--calibrate")
    assert busy.exit_code == 0
    assert "warning: this machine is busy (a load of 99.0" in busy.stderr
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 99.0, 99.0))
    assert "busy" not in tamis("plan", "--calibrate").stderr
    kept = read_costs(tmp_path / "cache" / "tamis" / "calibration.json")
    assert kept.kinds == SHIPPED.kinds
    result = tamis("plan", "-c", config, "--as-of", str(AS_OF))
    assert f"Times were measured on {kept.source}" in result.stdout


def test_what_is_shipped_can_be_written_again(tmp_path: Path) -> None:
    shipped_source(SHIPPED, tmp_path / "costs.py")
    names: dict[str, object] = {}
    write_costs(SHIPPED, tmp_path / "costs.json")
    source = (tmp_path / "costs.py").read_text(encoding="utf-8")
    exec(compile(source, "costs.py", "exec"), names)  # noqa: S102 - our own module
    assert names["SHIPPED"] == SHIPPED


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (12.3, "12 s"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (3_600, "1 h"),
        (300_000, "3 days 11 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes() -> None:
    assert [size_text(number) for number in (12, 1_234, 5e9, 2e12)] == ["12 B", "1.2 kB", "5.0 GB", "2.0 TB"]
