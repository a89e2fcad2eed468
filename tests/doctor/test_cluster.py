from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray

from engine.config import Execution
from engine.doctor import cluster
from engine.doctor.cluster import check_cluster, check_token
from engine.errors import ExitCode


@pytest.mark.parametrize(
    ("environment", "stored", "status"),
    [
        ({}, False, "warning"),
        ({}, True, "ok"),
        ({"RAY_AUTH_TOKEN": "canary-4711"}, False, "ok"),
        ({"RAY_AUTH_TOKEN_PATH": "/secrets/token"}, False, "ok"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "canary-4711"}, True, "warning"),
    ],
)
def test_tokens(subject: Callable[..., Any], environment: dict[str, str], stored: bool, status: str) -> None:
    asked = subject(environment=environment, executor="ray", address="head:6379")
    if stored:
        (asked.surroundings.home / ".ray").mkdir()
        (asked.surroundings.home / ".ray" / "auth_token").touch()
    [finding] = check_token(asked)
    assert finding.status == status
    assert "canary" not in str(finding)


def test_a_cluster_that_answers(subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str | None] = []

    @contextmanager
    def open_executor(execution: Execution) -> Iterator[None]:
        opened.append(execution.address)
        yield

    monkeypatch.setattr(cluster, "open_executor", open_executor)
    [finding] = check_cluster(subject(environment={"RAY_ADDRESS": "head:6379"}, executor="ray"))
    assert finding.status == "ok"
    assert opened == ["head:6379"]


@pytest.mark.parametrize(("address", "code"), [("127.0.0.1:9", ExitCode.TRANSIENT), ("nothing", ExitCode.USAGE)])
def test_a_cluster_that_does_not(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, address: str, code: ExitCode
) -> None:
    # A doctor is a process of its own; this one may hold the Ray of the test run, which would be taken instead.
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    [finding] = check_cluster(subject(executor="ray", address=address))
    assert (finding.status, finding.exit_code) == ("failed", code)
    assert address in finding.said


@pytest.mark.parametrize("execution", [{}, {"executor": "ray"}])
def test_no_cluster(subject: Callable[..., Any], execution: dict[str, Any]) -> None:
    asked = subject(**execution)
    assert [*check_token(asked), *check_cluster(asked)] == []
