from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem

from engine.doctor import remote_probe
from engine.doctor.remote_probe import check_remote, remote_target
from engine.errors import ConfigError, ExitCode

URL = "s3://warehouse/segments"


class Store:
    """A folder in place of a bucket, which can refuse one kind of request."""

    def __init__(self, refuse: str = "") -> None:
        self._inner = LocalFileSystem()
        self._refuse = refuse

    def __getattr__(self, name: str) -> Any:
        if name == self._refuse:
            message = "AWS Error ACCESS_DENIED during the request"
            raise OSError(message)
        return getattr(self._inner, name)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def make(refuse: str = "") -> Path:
        folder = tmp_path / "bucket"
        folder.mkdir()
        monkeypatch.setattr(
            remote_probe, "open_store", lambda url: (Store(refuse), str(folder / url.rpartition("/")[2]))
        )
        return folder

    return make


@pytest.fixture
def asked(subject: Callable[..., Any], config: Callable[..., Any]) -> Any:
    return subject(config(publish={"url": URL}))


def test_a_store_that_allows_everything(asked: Any, bucket: Callable[..., Path]) -> None:
    folder = bucket()
    [finding] = check_remote(asked)
    assert finding.status == "ok"
    assert finding.measured.keys() == {"url", "write_ms", "list_ms", "read_ms", "delete_ms"}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("refuse", "left"),
    [("open_output_stream", 0), ("get_file_info", 1), ("open_input_stream", 1), ("delete_file", 1)],
)
def test_a_store_that_does_not(asked: Any, bucket: Callable[..., Path], refuse: str, left: int) -> None:
    folder = bucket(refuse)
    [finding] = check_remote(asked)
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.USAGE)
    assert "access denied" in finding.said
    # What could not be deleted is named.
    assert [f"{URL}/{path.name}" in finding.said for path in folder.iterdir()] == [True] * left


def test_a_store_that_shows_something_else(
    asked: Any, bucket: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket()
    monkeypatch.setattr(remote_probe, "_get", lambda store, path: b"another")
    [finding] = check_remote(asked)
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.INTEGRITY)


def test_no_account(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str) -> Any:
        raise ConfigError("no account", code="remote-account", hint="set it")

    monkeypatch.setattr(remote_probe, "open_store", fail)
    [finding] = check_remote(asked)
    assert (finding.said, finding.fix) == ("no account", "set it")


@pytest.mark.parametrize(("url", "expected"), [(None, None), ("/data/delta", None), (f"{URL}/", URL)])
def test_what_is_remote(
    subject: Callable[..., Any], config: Callable[..., Any], url: str | None, expected: str | None
) -> None:
    tables = subject(config(publish={} if url is None else {"format": "delta", "url": url}))
    assert remote_target(tables) == expected
    if expected is None:
        assert list(check_remote(tables)) == []
