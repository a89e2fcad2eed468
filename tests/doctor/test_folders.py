from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.doctor.finding import Finding, Subject
from engine.doctor.folders import check_output_folder, check_ray_folder, check_temporary_folder, is_readable_by_others


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody on this machine can enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    if not all(above.stat().st_mode & 0o001 for above in folder.parents):
        shutil.rmtree(folder)
        pytest.skip("the temporary folder of this machine is private")
    yield folder
    shutil.rmtree(folder)


def made(folder: Path, mode: int) -> Path:
    folder.mkdir()
    folder.chmod(mode)
    return folder


def one(findings: Iterator[Finding]) -> Finding:
    [finding] = findings
    return finding


@pytest.mark.parametrize(
    ("mode", "status"),
    [(0o700, "ok"), (0o750, "ok"), (0o755, "warning"), (0o711, "warning"), (0o775, "warning"), (0o777, "failed")],
)
def test_the_output_root(subject: Callable[..., Subject], public: Path, mode: int, status: str) -> None:
    asked = replace(subject(), out=made(public / "out", mode))
    finding = one(check_output_folder(asked))
    assert finding.status == status
    if status == "failed":
        assert finding.fix.startswith(f"chmod o-w {asked.out}")


def test_a_folder_above_that_everybody_can_change(subject: Callable[..., Subject], public: Path) -> None:
    above = made(public / "shared", 0o777)
    out = made(above / "out", 0o700)
    finding = one(check_output_folder(replace(subject(), out=out)))
    assert finding.status == "failed"
    assert str(above) in finding.fix
    # As in /tmp: nobody may rename what belongs to another.
    above.chmod(0o1777)
    assert one(check_output_folder(replace(subject(), out=out))).status == "ok"


def test_a_folder_that_is_still_to_be_made(subject: Callable[..., Subject], public: Path) -> None:
    finding = one(check_output_folder(replace(subject(), out=public / "new" / "out")))
    assert finding.status == "ok"
    assert "can be made" in finding.said


def test_below_a_private_folder_modes_do_not_matter(subject: Callable[..., Subject], public: Path) -> None:
    private = made(public / "home", 0o700)
    assert one(check_output_folder(replace(subject(), out=made(private / "out", 0o755)))).status == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator can write everywhere")
def test_a_folder_of_somebody_else(subject: Callable[..., Subject], public: Path) -> None:
    assert one(check_output_folder(replace(subject(), out=made(public / "out", 0o555)))).status == "failed"


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o1777, "ok"), (0o777, "failed")])
def test_the_temporary_folder(subject: Callable[..., Subject], mode: int, status: str) -> None:
    asked = subject()
    asked.surroundings.temporary.chmod(mode)
    assert one(check_temporary_folder(asked)).status == status


def test_no_temporary_folder(subject: Callable[..., Subject]) -> None:
    asked = subject()
    asked.surroundings.temporary.rmdir()
    assert one(check_temporary_folder(asked)).status == "failed"


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o777, "warning")])
def test_sessions_of_ray(subject: Callable[..., Subject], public: Path, mode: int, status: str) -> None:
    folder = made(public / "ray", mode)
    finding = one(check_ray_folder(subject(environment={"RAY_TMPDIR": str(public)}, executor="ray")))
    assert finding.status == status
    if status == "warning":
        assert finding.fix.startswith(f"chmod 700 {folder}")


def test_no_sessions_of_ray(subject: Callable[..., Subject]) -> None:
    assert one(check_ray_folder(subject(executor="ray"))).status == "ok"
    assert list(check_ray_folder(subject())) == []


@pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_who_can_read_a_file(public: Path, mode: int, expected: bool) -> None:
    file = public / "token"
    file.touch()
    file.chmod(mode)
    assert is_readable_by_others(file) == expected
