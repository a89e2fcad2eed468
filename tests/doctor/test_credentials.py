from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.doctor.credentials import check_secret_files, check_secrets_in_configuration

CANARY = "canary-4711"


def written(path: Path, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CANARY, encoding="ascii")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "name", [".ray/auth_token", ".aws/credentials", ".config/gcloud/application_default_credentials.json", ".pgpass"]
)
@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o400, "ok"), (0o640, "warning"), (0o644, "warning")])
def test_files_in_their_usual_place(subject: Callable[..., Any], name: str, mode: int, status: str) -> None:
    asked = subject()
    file = written(asked.surroundings.home / name, mode)
    [finding] = check_secret_files(asked)
    assert finding.status == status
    assert str(file) in str(finding.measured)
    assert CANARY not in str(finding)
    if status == "warning":
        assert finding.fix.startswith(f"chmod 600 {file}")


def test_files_that_the_environment_names(subject: Callable[..., Any], tmp_path: Path) -> None:
    there = written(tmp_path / "token", 0o644)
    asked = subject(environment={"RAY_AUTH_TOKEN_PATH": str(there), "PGPASSFILE": str(tmp_path / "nosuch")})
    written(asked.surroundings.home / ".ray" / "auth_token", 0o644)
    [finding] = check_secret_files(asked)
    assert finding.measured["path"] == str(there)


def test_no_files(subject: Callable[..., Any]) -> None:
    [finding] = check_secret_files(subject())
    assert (finding.status, finding.said) == ("ok", "none")


@pytest.mark.parametrize(
    ("catalog", "status"),
    [
        ("postgresql+psycopg://user:canary-4711@db/catalog", "warning"),
        ("postgresql+psycopg://user@db/catalog", "ok"),
        ("sqlite:////data/catalog.db", "ok"),
        ("postgresql://[bad", "ok"),
    ],
)
def test_passwords_in_the_configuration(
    subject: Callable[..., Any], config: Callable[..., Any], catalog: str, status: str
) -> None:
    [finding] = check_secrets_in_configuration(subject(config(publish={"format": "iceberg", "catalog": catalog})))
    assert finding.status == status
    assert CANARY not in str(finding)


def test_without_a_configuration_there_are_none(subject: Callable[..., Any]) -> None:
    assert list(check_secrets_in_configuration(subject())) == []
