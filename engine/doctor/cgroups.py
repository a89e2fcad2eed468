"""How much memory and how many processors the system gives this process: control groups, versions 1 and 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from engine.doctor.finding import Surroundings
from engine.execution.local import usable_cpus

# Version 1 says "no limit" with the largest number of whole pages.
_UNLIMITED: Final = 1 << 60


@dataclass(frozen=True)
class Allowed:
    """What the process may use.

    Attributes:
        memory: Bytes of memory of the machine.
        memory_limit: Bytes that a control group leaves to the process and its children; None without such a limit.
        cpus: Processors it may run on.
        cpu_quota: Processors' worth of time that a control group leaves; None without such a limit.
        version: Of the control groups; 0 where there are none.
    """

    memory: int
    memory_limit: int | None
    cpus: int
    cpu_quota: float | None
    version: int

    @property
    def usable_memory(self) -> int:
        """Bytes: the lesser of the machine's and the limit."""
        return self.memory if self.memory_limit is None else min(self.memory, self.memory_limit)


def allowed(surroundings: Surroundings) -> Allowed:
    """What this process may use; the least of the limits of its control group and those around it."""
    memory = _machine_memory(surroundings.proc)
    groups = _groups(surroundings.proc)
    if (surroundings.cgroups / "cgroup.controllers").exists():
        folders = list(_upwards(surroundings.cgroups, groups.get("", "/")))
        limits = [_number(folder / "memory.max") for folder in folders]
        quotas = [_quota(folder / "cpu.max") for folder in folders]
        version = 2
    else:
        limits = [
            _number(folder / "memory.limit_in_bytes")
            for folder in _upwards(surroundings.cgroups / "memory", groups.get("memory", "/"))
        ]
        quotas = [
            _quota_of_version_1(folder)
            for name in ("cpu", "cpu,cpuacct")
            for folder in _upwards(surroundings.cgroups / name, groups.get("cpu", "/"))
        ]
        version = 1 if any((surroundings.cgroups / name).is_dir() for name in ("memory", "cpu")) else 0
    limit = min((one for one in limits if one is not None and one < _UNLIMITED), default=None)
    quota = min((one for one in quotas if one is not None), default=None)
    return Allowed(memory, limit, usable_cpus(), quota, version)


def _groups(proc: Path) -> dict[str, str]:
    """The path of this process in the tree of each controller; that of version 2 has no name."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those around it; inside a container the path may be that of the host, and not there."""
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):
        if ".." not in part.parts:
            yield mount / part


def _number(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None


def _quota(file: Path) -> float | None:
    with suppress(OSError, ValueError):
        quota, period = file.read_text(encoding="ascii").split()
        return int(quota) / int(period)
    return None


def _quota_of_version_1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _machine_memory(proc: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
