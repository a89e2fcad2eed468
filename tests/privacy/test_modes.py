from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.execution.protocol import Executor
from engine.privacy.modes import MASKS, mask_of_process, set_readers, take_mask
from engine.privacy.opposed import read_opposed
from tests.samples import AS_OF, write_sample

MODES = {"owner": (0o600, 0o700), "group": (0o640, 0o750), "all": (0o644, 0o755)}


@pytest.fixture(autouse=True)
def same_mask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    before = mask_of_process()
    yield
    os.umask(before)


def wrong(folder: Path, readers: str) -> list[str]:
    """Files and folders, the given one too, with other modes than their readers ask for."""
    file_mode, folder_mode = MODES[readers]
    return [
        f"{path.name} {stat.S_IMODE(path.lstat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
        if stat.S_IMODE(path.lstat().st_mode) != (folder_mode if path.is_dir() else file_mode)
    ]


def tamis(*arguments: str) -> None:
    from jobs.app import app

    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("inherited", "readers"),
    [
        (0o000, "group"),
        pytest.param(0o077, "all", marks=pytest.mark.slow),
        *(pytest.param(mask, name, marks=pytest.mark.slow) for mask in (0o000, 0o077) for name in MODES),
    ],
)
def test_gd07_everything_a_run_writes_is_for_the_readers_that_are_asked_for(
    tmp_path: Path, readers: str, inherited: int
) -> None:
    config = write_sample(tmp_path)
    (tmp_path / "people.txt").write_text("1\n", encoding="utf-8")
    settings = ("-c", str(config), "--set", f"privacy.readable_by={readers}")
    os.umask(inherited)
    tamis("suppress", "add", str(tmp_path / "people.txt"), *settings)
    watched = ("--log-file", str(tmp_path / "out" / "run.log"), "--metrics-file", str(tmp_path / "out" / "run.prom"))
    tamis("run", "--as-of", str(AS_OF), *settings, "--quiet", *watched)
    tamis("report", *settings, "--quiet", "--cards", "--tables", str(tmp_path / "out" / "figures"))
    assert {"features", "_rollups", "_privacy", "run.log", "run.prom"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert wrong(tmp_path / "out", readers) == []


def test_gd07_the_owner_and_the_group_only_by_default(tmp_path: Path) -> None:
    (tmp_path / "people.txt").write_text("1\n", encoding="utf-8")
    config = write_sample(tmp_path)
    os.umask(0)
    tamis("suppress", "add", str(tmp_path / "people.txt"), "-c", str(config))
    assert len(read_opposed(tmp_path / "out")) == 1
    assert wrong(tmp_path / "out", "group") == []


def write_here(path: str) -> int:
    Path(path).mkdir()
    Path(path, "file").write_text("x", encoding="utf-8")
    return mask_of_process()


@pytest.mark.slow
def test_gd07_workers_write_with_the_modes_of_the_process_they_work_for(executor: Executor, tmp_path: Path) -> None:
    for readers in MODES:
        set_readers(readers)  # type: ignore[arg-type]
        [mask] = executor.map(write_here, [str(tmp_path / readers)])
        assert mask == MASKS[readers]
        assert wrong(tmp_path / readers, readers) == []


def test_the_mask_is_read_without_changing_it() -> None:
    take_mask(0o027)
    assert (mask_of_process(), mask_of_process()) == (0o027, 0o027)
