from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from engine.rollups.update import STORE_NAME
from tests.people.planted import AS_OF, FAILURES, PLANTED, write_shop

EXECUTORS = ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])]
HOLD_IDS = {"features", "scores", "points", "segments", "memberships", "membership_changes", "membership_history"}
"""Tables that name users, and hold attributes where the configuration asks for them."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    write_shop(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("POLARS_VERBOSE", "1")
    monkeypatch.setenv("RUST_BACKTRACE", "full")
    return folder


@pytest.fixture
def told(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Told]:
    caplog.set_level(logging.DEBUG)
    return Told(capfd, caplog, monkeypatch)


class Told:
    def __init__(
        self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._capfd, self._caplog, self._monkeypatch = capfd, caplog, monkeypatch

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code of a command, and all that it said, to the streams and to the logs of libraries."""
        from jobs.app import main

        self._monkeypatch.setattr("sys.argv", ["tamis", *arguments])
        try:
            main()
            code: object = 0
        except SystemExit as done:
            code = done.code or 0
        out, err = self._capfd.readouterr()
        assert isinstance(code, int), err
        return code, out + err + self._caplog.text


def found_in(text: str) -> list[str]:
    return [kind for kind, value in PLANTED.items() if value.casefold() in text.casefold()]


def found_below(folder: Path) -> list[tuple[str, str]]:
    """Files, beside those whose content is about users, that hold a planted value; and kinds of it."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not {*path.parts} & {STORE_NAME, *HOLD_IDS, "_work", "_converted"}:
            content = name.encode() + path.read_bytes() + cells(path)
            found += [(name, kind) for kind, value in PLANTED.items() if value.encode() in content]
    return found


def cells(path: Path) -> bytes:
    """All values of a Parquet file as text: its bytes are compressed."""
    if path.suffix != ".parquet":
        return b""
    frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    return "\n".join(str(value) for column in frame for value in column.to_list()).encode()


def ray_logs() -> list[tuple[str, str]]:
    import ray

    folder = ray._private.worker._global_node.get_logs_dir_path()
    return found_below(Path(folder))


def options(executor: str) -> list[str]:
    return ["--executor", executor, "--log-file", "log.txt", "--metrics-file", "metrics.prom"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_gd06_a_good_run_tells_nothing_of_anybody(
    shop: Path, told: Told, executor: str, request: pytest.FixtureRequest
) -> None:
    if executor == "ray":
        request.getfixturevalue("ray_session")
    code, text = told.run("run", "--as-of", AS_OF.isoformat(), "--report", *options(executor))
    assert code == 0, text
    for more in (["report"], ["show"], ["runs", "show"], ["segments", "list"], ["plan", "--as-of", str(AS_OF)]):
        text += told.run(*more)[1]
    assert found_in(text) == []
    assert found_in((shop / "log.txt").read_text() + (shop / "metrics.prom").read_text()) == []
    assert found_below(shop / "out") == []
    if executor == "ray":
        assert ray_logs() == []


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", FAILURES)
def test_gd06_a_failure_tells_nothing_of_anybody(
    shop: Path, told: Told, name: str, executor: str, request: pytest.FixtureRequest
) -> None:
    failure = FAILURES[name]
    if executor == "ray":
        request.getfixturevalue("ray_session")
    if failure.command[0] == "verify":
        assert told.run("run", "--as-of", AS_OF.isoformat(), "--quiet")[0] == 0
        index = shop / "out" / STORE_NAME / "index.json"
        index.write_text(index.read_text(encoding="utf-8") + PLANTED["name"], encoding="utf-8")
    failure.change(shop)
    more = options(executor) if failure.command[0] == "run" else []
    code, text = told.run(*failure.command, *more)
    logged = (shop / "log.txt").read_text() if (shop / "log.txt").exists() else ""
    assert found_in(text + logged) == [], text
    assert code == failure.code, text
    if (shop / "out").is_dir():
        assert found_below(shop / "out") == []
    if executor == "ray":
        assert ray_logs() == []


def test_a_bug_tells_nothing_of_anybody(shop: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.pipeline

    def fails(*_: object, **__: object) -> None:
        try:
            raise KeyError(PLANTED["name"])
        except KeyError as error:
            message = f'conversion failed: ["{PLANTED["address"]}"], {PLANTED["email"]} and {PLANTED["phone"]}'
            raise ValueError(message) from error

    monkeypatch.setattr(engine.pipeline, "prepare", fails)
    code, text = told.run("run", "--as-of", AS_OF.isoformat())
    assert code == 1
    assert "ValueError" in text
    assert "KeyError" in text
    assert "test_planted.py" in text
    assert found_in(text) == []


def test_what_is_planted_would_be_found(shop: Path) -> None:
    assert found_in(f"…{PLANTED['phone']}…") == ["phone"]
    (shop / "a").mkdir()
    for kind, value in PLANTED.items():
        (shop / "a" / kind).write_text(f"x{value}x", encoding="utf-8")
    assert [kind for _, kind in found_below(shop / "a")] == sorted(PLANTED)


def test_everything_else_is_told_of_at_debug_level(shop: Path, told: Told) -> None:
    # The libraries do speak: the test above hears them.
    code, text = told.run("run", "--as-of", AS_OF.isoformat())
    assert code == 0
    assert os.environ["POLARS_VERBOSE"] == "1"
    assert len(text.splitlines()) > 20
