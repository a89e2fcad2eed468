from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.planning.calibrate import costs_from
from engine.planning.costs import Cost, Costs, read_costs, write_costs
from engine.planning.measure import Sized
from engine.planning.work import Work


def sized(kind: str, run: int, tasks: int, sizes: dict[str, float], seconds: float, memory: int = 0) -> Sized:
    return Sized(kind, run, tasks, sizes, tasks, seconds, memory)


def test_fixed_and_growing_costs_are_told_apart() -> None:
    # 0.5 s each, 2 µs a row, 3 s the first time, 100 bytes a row beside 1 MB.
    seen = [
        sized("DiscoverTask", 0, 1, {"rows": 1_000}, 3.502, 1_100_000),
        sized("DiscoverTask", 1, 2, {"rows": 100_000}, 1.2, 6_000_000),
        sized("DiscoverTask", 2, 4, {"rows": 2_000_000}, 6.0, 51_000_000),
        sized("DiscoverTask", 3, 1, {"rows": 3_000_000}, 6.5, 301_000_000),
    ]
    cost = costs_from(seen, [], 2)["DiscoverTask"]
    assert cost.fixed == pytest.approx(0.5, rel=1e-6)
    assert cost.per["rows"] == pytest.approx(2e-6, rel=1e-6)
    assert cost.first == pytest.approx(3.0, rel=1e-3)
    assert cost.memory_per == pytest.approx(100, rel=1e-6)
    assert cost.memory == pytest.approx(1_000_000, rel=1e-6)


@pytest.mark.parametrize(("single", "serial"), [(1.0, 1.0), (2.0, 0.0), (4 / 3, 0.5), (0.5, 1.0)])
def test_what_more_threads_do_not_shorten(single: float, serial: float) -> None:
    seen = [sized("DiscoverTask", run, 1, {"rows": 1_000.0 * run}, 1.0) for run in (1, 2)]
    alone = [sized("DiscoverTask", run, 1, {"rows": 1_000.0 * run}, single) for run in (1, 2)]
    assert costs_from(seen, alone, 2)["DiscoverTask"].serial == pytest.approx(serial)


def test_days_that_one_thread_did_not_see_play_no_part() -> None:
    days = [
        replace(sized("DiscoverTask", 1, 1, {"rows": 1_000.0}, seconds), day=day)
        for day, seconds in ((0, 1.0), (1, 9.0))
    ]
    alone = [sized("DiscoverTask", 1, 1, {"rows": 1_000.0}, 2.0)]
    assert costs_from(days, alone, 2)["DiscoverTask"].serial == pytest.approx(0.0)


def test_a_calibration_is_kept(tmp_path: Path) -> None:
    costs = Costs("2026-01-31", 4, 1.5, 1e8, {"A": Cost(0.1, {"rows": 1e-6}, 0.2, 0.3, 4.0, 5.0)}, {"polars": "2"}, 9.5)
    file = tmp_path / "cache" / "calibration.json"
    write_costs(costs, file)
    assert read_costs(file) == costs
    assert costs.memory(Work("A", 1)) == 1e8 + 4


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"format": 0}'])
def test_a_calibration_that_cannot_be_used(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "calibration.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_costs(file)
    assert caught.value.code == "plan-calibration"


def test_one_of_another_version(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    write_costs(Costs("2026-01-31", 4, 1.5, 1e8, {}, format=99), file)
    with pytest.raises(ConfigError, match="format 99"):
        read_costs(file)
