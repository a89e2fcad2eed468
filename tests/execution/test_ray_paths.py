from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import Execution
from engine.errors import ConfigError, ExitCode
from engine.execution import ray_paths
from engine.execution.on_ray import ray_executor

pytestmark = pytest.mark.ray


def opened() -> Any:
    return ray_executor(Execution(executor="ray"))


def test_a_cluster_that_sees_the_files(ray_session: None, tmp_path: Path) -> None:
    with opened() as executor:
        assert executor.joined
        executor.check_paths(tmp_path, [tmp_path, Path(__file__)])
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_workers_do_not_see(ray_session: None, tmp_path: Path) -> None:
    with opened() as executor, pytest.raises(ConfigError, match=r"127\.0\.0\.1: no input .*/elsewhere") as caught:
        executor.check_paths(tmp_path, [tmp_path, tmp_path / "elsewhere"])
    assert (caught.value.code, caught.value.exit_code) == ("cluster-path", ExitCode.USAGE)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_workers_do_not_see(ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The marker is written here and not there.
    monkeypatch.setattr(ray_paths.disk, "create_empty", lambda path: None)
    monkeypatch.setattr(ray_paths.disk, "remove_file", lambda path: None)
    with opened() as executor, pytest.raises(ConfigError, match=f"no folder {tmp_path}, or another one"):
        executor.check_paths(tmp_path, [])


def test_a_local_ray_sees_what_this_process_sees(ray_session: None, tmp_path: Path) -> None:
    from dataclasses import replace

    with opened() as executor:
        replace(executor, joined=False).check_paths(tmp_path / "nowhere", [tmp_path / "nowhere"])
