from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.doctor import limits
from engine.doctor.limits import check_core_dumps, check_open_files
from engine.errors import ExitCode

UNLIMITED = limits.resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "executor", "status", "fix"),
    [
        (20_000, 20_000, "local", "ok", ""),
        (UNLIMITED, UNLIMITED, "ray", "ok", ""),
        (512, 4096, "local", "warning", "ulimit -n 1024"),
        (512, 512, "local", "warning", "Let the administrator raise the limit to 1024"),
        (64, 4096, "local", "failed", "ulimit -n 1024"),
        (1024, 1_048_576, "ray", "ok", ""),
        (4096, 4096, "ray", "warning", "Let the administrator raise the limit to 65536"),
        (1024, 2048, "ray", "failed", "Let the administrator raise the limit to 65536"),
    ],
)
def test_open_files(
    subject: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    executor: str,
    status: str,
    fix: str,
) -> None:
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (soft, hard))
    [finding] = check_open_files(subject(executor=executor))
    assert (finding.status, finding.fix) == (status, fix)
    assert finding.exit_code == (ExitCode.RESOURCES if status == "failed" else ExitCode.DONE)


@pytest.mark.parametrize(
    ("soft", "pattern", "status", "words"),
    [
        (0, "core", "ok", ""),
        (UNLIMITED, "core", "warning", "ulimit -c 0"),
        (1 << 20, "/var/crash/core.%p", "warning", "ulimit -c 0"),
        # Programs get the memory whatever the limit is.
        (0, "|/usr/lib/systemd/systemd-coredump %P", "warning", "Storage=none"),
    ],
)
def test_core_dumps(
    subject: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    soft: int,
    pattern: str,
    status: str,
    words: str,
) -> None:
    file = tmp_path / "proc" / "sys" / "kernel" / "core_pattern"
    file.parent.mkdir(parents=True)
    file.write_text(pattern + "\n", encoding="ascii")
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (soft, UNLIMITED))
    [finding] = check_core_dumps(subject())
    assert finding.status == status
    assert words in finding.fix
