from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from engine.doctor import disk_probe
from engine.doctor.disk_probe import check_disk, file_system
from engine.errors import ExitCode
from engine.tables import disk, effects

CHECKS = ["disk", "exchange", "lock", "clock"]


def refuse(number: int) -> Callable[..., NoReturn]:
    def fail(*_arguments: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def listed(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("exists", ["", "out", "out/_work"])
def test_what_a_disk_can_do(subject: Callable[..., Any], tmp_path: Path, exists: str) -> None:
    asked = subject()
    (tmp_path / exists).mkdir(parents=True, exist_ok=True)
    before = listed(tmp_path)
    findings = list(check_disk(asked))
    assert [finding.check for finding in findings] == CHECKS
    assert {finding.status for finding in findings} <= {"ok", "warning"}
    assert findings[0].measured["path"] == str(tmp_path / exists)
    assert all(float(str(findings[0].measured[name])) >= 0 for name in ("write_ms", "sync_ms", "rename_ms"))
    assert listed(tmp_path) == before


@pytest.mark.parametrize(
    ("effect", "number", "code"),
    [
        ("mkdir", errno.EROFS, ExitCode.USAGE),
        ("create", errno.EACCES, ExitCode.USAGE),
        ("create", errno.ENOSPC, ExitCode.RESOURCES),
        ("sync_file", errno.EIO, ExitCode.RESOURCES),
        ("rename", errno.ESTALE, ExitCode.TRANSIENT),
        ("rename", errno.EXDEV, ExitCode.RESOURCES),
        ("swap", errno.EIO, ExitCode.RESOURCES),
    ],
)
def test_what_it_refuses_is_a_finding(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, effect: str, number: int, code: int
) -> None:
    asked = subject()
    before = listed(tmp_path)
    monkeypatch.setattr(effects, effect, refuse(number))
    [finding] = check_disk(asked)
    assert (finding.check, finding.status, finding.exit_code) == ("disk", "failed", code)
    assert finding.fix
    assert listed(tmp_path) == before


def by_name(subject: Any) -> dict[str, Any]:
    return {finding.check: finding for finding in check_disk(subject)}


def test_no_exchange(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "swap", lambda first, second: False)
    finding = by_name(subject())["exchange"]
    assert (finding.status, finding.measured) == ("warning", {"exchange": False})


def test_an_exchange_that_is_none(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "swap", lambda first, second: True)
    finding = by_name(subject())["exchange"]
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.INTEGRITY)


def test_locks_that_keep_nobody_out(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "lock", lambda path, timeout: nullcontext())
    finding = by_name(subject())["lock"]
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.RESOURCES)


def test_no_locks(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "lock", refuse(errno.ENOLCK))
    finding = by_name(subject())["lock"]
    assert finding.status == "failed"
    assert "cannot be locked" in finding.said


def test_a_mark_in_place_of_a_lock(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    assert by_name(subject())["lock"].status == "warning"


@pytest.mark.parametrize(
    ("kind", "check", "status"),
    [
        ("ext4", "lock", "ok"),
        ("nfs4", "lock", "warning"),
        ("fuse.gcsfuse", "lock", "warning"),
        ("tmpfs", "disk", "warning"),
        ("ext4", "disk", "ok"),
    ],
)
def test_kinds_of_file_systems(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: str, check: str, status: str
) -> None:
    monkeypatch.setattr(disk_probe, "file_system", lambda place, proc: kind)
    monkeypatch.setattr(disk_probe, "_SLOW_MS", 60_000)
    assert by_name(subject())[check].status == status


def test_a_slow_disk(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_probe, "file_system", lambda place, proc: "ext4")
    monkeypatch.setattr(disk_probe, "_SLOW_MS", 0.0)
    assert by_name(subject())["disk"].status == "warning"


def test_a_file_that_is_not_what_was_written(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = effects.rename

    def rename(source: Path, target: Path) -> None:
        real(source, target)
        target.write_bytes(b"something else")

    monkeypatch.setattr(effects, "rename", rename)
    [finding] = check_disk(subject())
    assert "not what was written" in finding.said


MOUNTS = """\
proc /proc proc rw 0 0
/dev/a / ext4 rw 0 0
/dev/b {root} xfs rw 0 0
server:/x {root}/with\\040blank nfs4 rw 0 0
overlay {root}/with\\040blank overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("place", "kind"), [("/", "ext4"), ("{root}/a", "xfs"), ("{root}/with blank/a", "overlay"), ("{root}/with", "xfs")]
)
def test_the_file_system_of_a_folder(tmp_path: Path, place: str, kind: str) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(MOUNTS.format(root=tmp_path.resolve()), encoding="ascii")
    assert file_system(Path(place.format(root=tmp_path.resolve())), tmp_path) == kind


def test_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert file_system(tmp_path, tmp_path / "nosuch") == ""


def test_a_folder_that_cannot_be_made(subject: Callable[..., Any]) -> None:
    [finding] = check_disk(replace(subject(), out=Path("/proc/nowhere/out")))
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.USAGE)
