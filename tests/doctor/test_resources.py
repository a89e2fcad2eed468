from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.doctor import resources
from engine.doctor.cgroups import Allowed
from engine.doctor.resources import check_cpus, check_memory, memory_needed, task_bytes
from engine.errors import ExitCode

MIB = 1 << 20


def give(monkeypatch: pytest.MonkeyPatch, memory: int = 64 << 30, cpus: int = 4, quota: float | None = None) -> Allowed:
    found = Allowed(64 << 30, memory, cpus, quota, 2)
    monkeypatch.setattr(resources, "allowed", lambda surroundings: found)
    return found


@pytest.mark.parametrize(("share", "status"), [(1.3, "ok"), (1.1, "warning"), (0.9, "failed")])
@pytest.mark.parametrize("execution", [{}, {"executor": "ray"}, {"executor": "ray", "cpus_per_task": 2}])
def test_memory(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, execution: dict[str, Any], share: float, status: str
) -> None:
    asked = subject(**execution)
    give(monkeypatch, int(share * memory_needed(asked, give(monkeypatch))))
    [finding] = check_memory(asked)
    assert finding.status == status
    assert finding.exit_code == (ExitCode.RESOURCES if status == "failed" else ExitCode.DONE)
    if status != "ok":
        rows = int(finding.fix.rpartition("= ")[2])
        assert 100_000 <= rows < asked.execution.rows_per_task


def test_the_advice_fits(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, 700 * MIB)
    [finding] = check_memory(subject())
    rows = int(finding.fix.rpartition("= ")[2])
    assert [one.status for one in check_memory(subject(rows_per_task=rows))] == ["ok"]


def test_tasks_of_a_cluster_take_no_memory_here(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = give(monkeypatch, 600 * MIB)
    joined = subject(executor="ray", address="head:6379")
    assert memory_needed(joined, found) < task_bytes(joined.execution)
    assert [one.status for one in check_memory(joined)] == ["ok"]


@pytest.mark.parametrize(
    ("execution", "quota", "status"),
    [
        ({}, None, "ok"),
        ({}, 4.0, "ok"),
        ({}, 1.5, "warning"),
        ({"cpus_per_task": 8}, None, "ok"),
        ({"executor": "ray", "cpus_per_task": 8}, None, "failed"),
        ({"executor": "ray", "cpus_per_task": 4}, None, "ok"),
        ({"executor": "ray", "cpus_per_task": 4, "local_cpus": 2}, None, "failed"),
        ({"executor": "ray", "cpus_per_task": 8, "address": "head:6379"}, None, "ok"),
    ],
)
def test_processors(
    subject: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    execution: dict[str, Any],
    quota: float | None,
    status: str,
) -> None:
    give(monkeypatch, quota=quota)
    [finding] = check_cpus(subject(**execution))
    assert finding.status == status
    if quota == 1.5:
        assert "POLARS_MAX_THREADS=1" in finding.fix


def test_the_limit_of_a_group_is_read(subject: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 67108864 kB\n", encoding="ascii")
    (tmp_path / "cgroup" / "cgroup.controllers").touch()
    (tmp_path / "cgroup" / "memory.max").write_text(f"{256 * MIB}\n", encoding="ascii")
    [finding] = check_memory(subject())
    assert finding.status == "failed"
    assert "256 MiB, limited by a control group (version 2)" in finding.said
