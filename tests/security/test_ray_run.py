from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.samples import AS_OF, TOML, write_sample
from tests.security.conftest import CANARY, Watched, watch
from tests.security.processes import command_of
from tests.security.searching import files_below, holding, pickles

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@dataclass
class Session:
    """What Ray kept on the disk while a run lasted.

    Attributes:
        base: The folder in which it may work.
        logs: Links to its logs, which stay when it removes them.
        modes: The modes that each folder directly below `base` was seen with, and their owners.
        pids: Processes of the run.
    """

    base: Path
    logs: Path
    modes: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)

    def look(self, pids: set[int]) -> None:
        self.pids |= pids
        for folder in self.base.iterdir():
            with suppress(OSError):
                status = folder.stat()
                self.modes.setdefault(folder.name, set()).add((stat.S_IMODE(status.st_mode), status.st_uid))
        for path in self.base.rglob("*"):
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    target = self.logs / path.relative_to(self.base)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.hardlink_to(path)


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watched, Session]]:
    folder = tmp_path_factory.mktemp("ray") / "run"
    write_sample(folder, users=40, toml=TOML.replace("rows_per_task = 920", "rows_per_task = 2_000"))
    # The path of a socket has room for some hundred characters.
    base = Path(tempfile.mkdtemp(prefix="tr"))
    logs = Path(tempfile.mkdtemp(prefix="tamis-logs-"))
    session = Session(base, logs)
    try:
        arguments = ("run", "--as-of", AS_OF.isoformat(), "--executor", "ray")
        watched = watch(folder, *arguments, look=session.look, RAY_TMPDIR=str(base))
        yield watched, session
    finally:
        shutil.rmtree(base)
        shutil.rmtree(logs)


def test_it_listens_on_the_loopback_interface_only(ray_run: tuple[Watched, Session]) -> None:
    watched, _ = ray_run
    assert watched.code == 0, watched.told
    listening = {socket for socket in watched.sockets if socket.listens}
    # Ray's own services listen: without any, the test would have looked at nothing.
    assert len(listening) > 3
    assert [socket for socket in listening if not socket.is_loopback] == []


def test_it_talks_to_nobody_else(ray_run: tuple[Watched, Session]) -> None:
    watched, _ = ray_run
    assert [socket for socket in watched.sockets if not socket.is_loopback] == []
    # Where Ray sends its statistics of use from clusters.
    assert [line for line in watched.notes if "ray.io" in line] == []


def test_no_dashboard(ray_run: tuple[Watched, Session]) -> None:
    watched, _ = ray_run
    # Ray starts the process of the dashboard all the same, for its statistics of use, which it does not collect here.
    dashboards = [command for command in watched.commands if "dashboard/dashboard.py" in command]
    quiet = {"--disable-frontend", "--modules-to-load=UsageStatsHead"}
    assert [command for command in dashboards if not quiet <= set(command.split())] == []
    assert any("raylet" in command for command in watched.commands)


def test_its_folders_are_private(ray_run: tuple[Watched, Session]) -> None:
    _, session = ray_run
    assert session.modes
    assert {name: modes for name, modes in session.modes.items() if modes != {(0o700, os.getuid())}} == {}


def test_nothing_is_left(ray_run: tuple[Watched, Session]) -> None:
    watched, session = ray_run
    assert list(session.base.iterdir()) == []
    assert {pid: command_of(pid) for pid in session.pids if str(session.base) in command_of(pid)} == {}
    assert [path for path in watched.out.rglob("*") if path.name.startswith("tamis-ray-")] == []


def test_ray_data_is_never_imported(ray_run: tuple[Watched, Session]) -> None:
    watched, _ = ray_run
    assert [line for line in watched.notes if line.startswith("import ")] == []
    # The driver, the processes beside it and at least one worker told that they were looked at.
    assert sum(line.startswith("process ") for line in watched.notes) >= 3


def test_no_secret_is_written(ray_run: tuple[Watched, Session]) -> None:
    watched, session = ray_run
    assert CANARY not in watched.told
    assert holding(CANARY, watched.folder) == []
    assert [command for command in watched.commands if CANARY in command] == []
    assert len(files_below(session.logs)) > 3
    assert holding(CANARY, session.logs) == []


def test_nothing_that_is_kept_is_a_pickle(ray_run: tuple[Watched, Session]) -> None:
    watched, _ = ray_run
    assert list(pickles(watched.out)) == []


def test_no_token_that_others_can_read(tmp_path: Path) -> None:
    # Ray makes one when there is none, and writes it with the rights of any file.
    base = Path(tempfile.mkdtemp(prefix="tr"))
    try:
        folder = tmp_path / "run"
        write_sample(folder, users=12)
        to = ("features", "write", "--as-of", AS_OF.isoformat(), "--to", "features")
        watched = watch(folder, *to, "--executor", "ray", RAY_TMPDIR=str(base), RAY_AUTH_TOKEN="")
    finally:
        shutil.rmtree(base)
    assert watched.code == 0, watched.told
    tokens = [path for path in (folder / "home").rglob("*") if path.is_file()]
    assert [path for path in tokens if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
