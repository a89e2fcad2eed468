"""Limits of the process: open files, and whether a crash writes its memory to a file."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from engine.doctor.finding import Finding, Subject, failed, ok, warning
from engine.errors import ExitCode

_NEEDED: Final = {"local": 256, "ray": 4096}
_COMFORTABLE: Final = {"local": 1024, "ray": 65_536}


def check_open_files(subject: Subject) -> Iterator[Finding]:
    """How many files the process may have open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    kind = "ray" if subject.execution.executor == "ray" and subject.address is None else "local"
    said = "no limit of open files" if unlimited else f"{soft:,} open files"
    needed, comfortable = _NEEDED[kind], _COMFORTABLE[kind]
    reachable = hard == resource.RLIM_INFINITY or hard >= comfortable
    fix = f"ulimit -n {comfortable}" if reachable else f"Let the administrator raise the limit to {comfortable}"
    if unlimited or soft >= comfortable or (kind == "ray" and reachable and soft >= _COMFORTABLE["local"]):
        # Ray raises its own processes to the hard limit.
        yield ok("open_files", said, soft=soft, hard=hard)
    elif soft >= needed:
        yield warning("open_files", f"{said}, and {comfortable:,} are better", fix, soft=soft, hard=hard)
    else:
        yield failed("open_files", f"{said}, and {needed:,} are needed", fix, ExitCode.RESOURCES, soft=soft, hard=hard)


def check_core_dumps(subject: Subject) -> Iterator[Finding]:
    """Whether a crash leaves a file with what was in memory: ids and attributes of people."""
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = ""
    with suppress(OSError):
        file = subject.surroundings.proc / "sys" / "kernel" / "core_pattern"
        pattern = file.read_text(encoding="utf-8", errors="replace").strip()
    if pattern.startswith("|"):
        # The limit does not hold for these: the kernel hands the memory to a program whatever it is.
        program = pattern[1:].split()[0]
        yield warning(
            "core_dumps",
            f"after a crash the system hands the memory of the process, personal data included, to {program}",
            "Tell that program to keep nothing (systemd-coredump: Storage=none)",
            soft=soft,
            pattern=pattern,
        )
    elif soft != 0:
        yield warning(
            "core_dumps",
            "a crash writes the memory of the process, personal data included, to a file",
            "ulimit -c 0 (systemd: LimitCORE=0)",
            soft=soft,
            pattern=pattern,
        )
    else:
        yield ok("core_dumps", "a crash writes no memory to a file", soft=soft, pattern=pattern)
