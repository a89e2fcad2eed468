"""What a check found, and what is checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from engine.config import Config, Execution
from engine.errors import ExitCode

Status = Literal["ok", "warning", "failed"]

# What needs a person comes before what may pass: a scheduler that tries again would fail again.
_WORST_FIRST: Final = (ExitCode.INTEGRITY, ExitCode.RESOURCES, ExitCode.USAGE, ExitCode.CONFLICT, ExitCode.TRANSIENT)


@dataclass(frozen=True)
class Finding:
    """The answer of one check.

    Attributes:
        check: Name of the check, stable, such as `memory`.
        status: `ok`; `warning`: a run works, and something about it is not as it should be; `failed`: a run would not
            work, or would not be private.
        said: What was found, one line, with the numbers.
        fix: What to do about it, one line; empty when nothing is to be done.
        exit_code: Of the kind of failure; `ExitCode.DONE` unless failed.
        measured: The numbers behind `said`, for machines.
    """

    check: str
    status: Status
    said: str
    fix: str = ""
    exit_code: ExitCode = ExitCode.DONE
    measured: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """The finding as plain values."""
        return {
            "check": self.check,
            "status": self.status,
            "found": self.said,
            "fix": self.fix,
            "measured": dict(self.measured),
        }


@dataclass(frozen=True)
class Surroundings:
    """The machine and the user, as the process that asks sees them.

    Attributes:
        environment: The variables of the process.
        home: The user's own folder.
        temporary: The system's folder for temporary files.
        proc: Where Linux describes processes and memory.
        cgroups: Where Linux mounts control groups.
    """

    environment: Mapping[str, str]
    home: Path
    temporary: Path
    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        surroundings: The machine.
        out: Absolute path of the output root, or of its local state when the tables go to an object store.
        execution: How runs are executed.
        config: The configuration; None when there is none, or when it cannot be read.
        config_file: Its file.
    """

    surroundings: Surroundings
    out: Path
    execution: Execution
    config: Config | None = None
    config_file: Path | None = None

    @property
    def address(self) -> str | None:
        """The Ray cluster that runs join; None when they start a Ray of their own, or use none."""
        if self.execution.executor != "ray":
            return None
        if self.execution.address is not None:
            return None if self.execution.address == "local" else self.execution.address
        return self.surroundings.environment.get("RAY_ADDRESS") or None


def ok(check: str, said: str, **measured: object) -> Finding:
    """Nothing is to be done."""
    return Finding(check, "ok", said, measured=measured)


def warning(check: str, said: str, fix: str, **measured: object) -> Finding:
    """Runs work, and something should be done."""
    return Finding(check, "warning", said, fix, measured=measured)


def failed(check: str, said: str, fix: str, exit_code: ExitCode = ExitCode.USAGE, **measured: object) -> Finding:
    """Runs would fail, or would not be private."""
    return Finding(check, "failed", said, fix, exit_code, measured)


def exit_code_of(findings: Collection[Finding]) -> ExitCode:
    """The exit code for all findings: 0 without a failure, else that of the kind that is hardest to get over."""
    codes = {finding.exit_code for finding in findings if finding.status == "failed"}
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.USAGE) if codes else ExitCode.DONE


def status_of(findings: Collection[Finding]) -> Status:
    """The worst status of all findings."""
    found = {finding.status for finding in findings}
    return "failed" if "failed" in found else "warning" if "warning" in found else "ok"


def size_text(size: float) -> str:
    """`512 MiB`, `3.5 GiB`."""
    mebibytes = size / (1 << 20)
    return f"{mebibytes:,.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:,.1f} GiB"
