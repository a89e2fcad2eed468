from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.execution.ray_token import own_token


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def token() -> str | None:
    return os.environ.get("RAY_AUTH_TOKEN")


@pytest.mark.parametrize("mode", [None, "token", "TOKEN"])
def test_each_ray_has_a_token_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    seen = []
    for _ in range(2):
        with own_token():
            seen.append(token())
        assert token() is None
    assert len(set(seen)) == 2
    assert all(one is not None and len(one) == 64 for one in seen)
    assert list(home.rglob("*")) == []


def test_one_that_is_empty_is_none_and_comes_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    with own_token():
        assert token()
    assert token() == ""


@pytest.mark.parametrize(
    "environment", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "of the user"}, {"RAY_AUTH_TOKEN_PATH": "token"}]
)
def test_what_the_user_chose_stays(home: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    (home / "token").write_text("of a file", encoding="ascii")
    monkeypatch.chdir(home)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with own_token():
        assert token() == environment.get("RAY_AUTH_TOKEN")


def test_a_token_file_of_the_user_is_used_and_left_alone(home: Path) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("0" * 64, encoding="ascii")
    file.chmod(0o600)
    with own_token():
        assert token() is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_token_goes_when_the_run_fails(home: Path) -> None:
    with pytest.raises(KeyError), own_token():
        raise KeyError
    assert token() is None
