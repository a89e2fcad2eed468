from __future__ import annotations

from pathlib import Path

import pytest

from engine.doctor.cgroups import allowed
from engine.doctor.finding import Surroundings
from engine.execution.local import usable_cpus

GIB = 1 << 30


def machine(root: Path, groups: str, files: dict[str, str], memory: int = 64 * GIB) -> Surroundings:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(groups, encoding="utf-8")
    (root / "proc" / "meminfo").write_text(f"MemTotal: {memory // 1024} kB\nMemFree: 1 kB\n", encoding="ascii")
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return Surroundings({}, root, root, root / "proc", root / "cgroup")


CASES = {
    "none": ("", {}, None, None, 0),
    "2: no limit": (
        "0::/user/a\n",
        {"cgroup.controllers": "", "user/a/memory.max": "max\n", "user/a/cpu.max": "max 100000\n"},
        None,
        None,
        2,
    ),
    "2: the group around it is smaller": (
        "0::/user/a\n",
        {
            "cgroup.controllers": "",
            "user/a/memory.max": f"{8 * GIB}\n",
            "user/memory.max": f"{2 * GIB}\n",
            "user/a/cpu.max": "150000 100000\n",
        },
        2 * GIB,
        1.5,
        2,
    ),
    "2: in a container": (
        "0::/\n",
        {"cgroup.controllers": "", "memory.max": f"{GIB}\n", "cpu.max": "50000 100000\n"},
        GIB,
        0.5,
        2,
    ),
    "2: the path of the host": (
        "0::/../../kubepods/pod1\n",
        {"cgroup.controllers": "", "memory.max": f"{GIB}\n"},
        GIB,
        None,
        2,
    ),
    "1: nested": (
        "5:cpu,cpuacct:/b\n4:memory:/a/b\n0::/\n",
        {
            "memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/a/memory.limit_in_bytes": f"{3 * GIB}\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu,cpuacct/b/cpu.cfs_quota_us": "200000\n",
            "cpu,cpuacct/b/cpu.cfs_period_us": "100000\n",
        },
        3 * GIB,
        2.0,
        1,
    ),
    "1: in a container, with the path of the host": (
        "4:memory:/docker/0123\n1:cpu:/docker/0123\n",
        {
            "memory/memory.limit_in_bytes": f"{GIB}\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
        GIB,
        None,
        1,
    ),
}


@pytest.mark.parametrize(("groups", "files", "memory", "quota", "version"), CASES.values(), ids=CASES.keys())
def test_limits(
    tmp_path: Path, groups: str, files: dict[str, str], memory: int | None, quota: float | None, version: int
) -> None:
    found = allowed(machine(tmp_path, groups, files))
    assert (found.memory_limit, found.cpu_quota, found.version) == (memory, quota, version)
    assert found.memory == 64 * GIB
    assert found.usable_memory == (memory or 64 * GIB)
    assert found.cpus == usable_cpus()


def test_a_limit_above_the_memory_of_the_machine(tmp_path: Path) -> None:
    files = {"cgroup.controllers": "", "memory.max": f"{128 * GIB}\n"}
    assert allowed(machine(tmp_path, "0::/\n", files)).usable_memory == 64 * GIB


def test_this_machine_has_memory() -> None:
    here = Path("/nowhere")
    assert allowed(Surroundings({}, here, here, here, here)).memory > 1 << 28
