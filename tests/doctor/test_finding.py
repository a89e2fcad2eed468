from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import Execution
from engine.doctor.finding import Subject, Surroundings, exit_code_of, failed, ok, size_text, status_of, warning
from engine.errors import ExitCode

FINE = ok("a", "fine")
ODD = warning("b", "odd", "mend it")


def broken(code: ExitCode) -> Any:
    return failed("c", "broken", "mend it", code)


@pytest.mark.parametrize(
    ("findings", "code", "status"),
    [
        ([], ExitCode.DONE, "ok"),
        ([FINE], ExitCode.DONE, "ok"),
        ([ODD, FINE], ExitCode.DONE, "warning"),
        ([FINE, broken(ExitCode.USAGE)], ExitCode.USAGE, "failed"),
        ([broken(ExitCode.TRANSIENT), ODD], ExitCode.TRANSIENT, "failed"),
        # Who tries again because of 75 would fail again.
        ([broken(ExitCode.TRANSIENT), broken(ExitCode.USAGE)], ExitCode.USAGE, "failed"),
        ([broken(ExitCode.USAGE), broken(ExitCode.RESOURCES)], ExitCode.RESOURCES, "failed"),
        ([broken(ExitCode.INTEGRITY), broken(ExitCode.RESOURCES)], ExitCode.INTEGRITY, "failed"),
    ],
)
def test_the_exit_code_of_many(findings: list[Any], code: ExitCode, status: str) -> None:
    assert exit_code_of(findings) == code
    assert status_of(findings) == status


@pytest.mark.parametrize(
    ("execution", "environment", "expected"),
    [
        ({}, {"RAY_ADDRESS": "head:6379"}, None),
        ({"executor": "ray"}, {}, None),
        ({"executor": "ray"}, {"RAY_ADDRESS": "head:6379"}, "head:6379"),
        ({"executor": "ray", "address": "other:6379"}, {"RAY_ADDRESS": "head:6379"}, "other:6379"),
        ({"executor": "ray", "address": "local"}, {"RAY_ADDRESS": "head:6379"}, None),
    ],
)
def test_which_cluster_is_joined(execution: dict[str, Any], environment: dict[str, str], expected: str | None) -> None:
    here = Surroundings(environment, Path("/home"), Path("/var"))
    assert Subject(here, Path("/out"), Execution(**execution)).address == expected


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MiB"), (64 << 20, "64 MiB"), (1 << 30, "1.0 GiB"), (3.5 * 2**40, "3,584.0 GiB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


def test_a_finding_as_plain_values() -> None:
    assert warning("disk", "slow", "buy another", ms=12).to_dict() == {
        "check": "disk",
        "status": "warning",
        "found": "slow",
        "fix": "buy another",
        "measured": {"ms": 12},
    }
