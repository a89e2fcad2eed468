from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.samples import AS_OF, TOML, write_sample
from tests.security.processes import Socket, command_of, family, sockets_of

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).parent / "hook"
CANARY = "canary4711" + "e5b1" * 8
"""In the place of each secret of the environment."""
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY", "PGPASSWORD", "RAY_AUTH_TOKEN")


@dataclass
class Watched:
    """A run that was looked at from outside while it lasted.

    Attributes:
        code: Its exit code.
        out: Its output root.
        told: What it wrote on stdout and stderr.
        notes: Lines of `hook/sitecustomize.py`, of all its Python processes.
        sockets: Those of the Internet family that any of its processes had.
        commands: Command lines of its processes.
    """

    folder: Path
    out: Path
    code: int = -1
    told: str = ""
    notes: list[str] = field(default_factory=list)
    sockets: set[Socket] = field(default_factory=set)
    commands: set[str] = field(default_factory=set)


def watch(folder: Path, *arguments: str, look: Callable[[set[int]], None] | None = None, **environment: str) -> Watched:
    """Run `tamis` on the sample in a folder, with secrets in its environment."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not show the sockets of processes in /proc")
    folder.mkdir(parents=True, exist_ok=True)
    audit = folder / "audit"
    audit.mkdir()
    home = folder / "home"
    home.mkdir()
    watched = Watched(folder, folder / "out")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "AZURE_"))}
    with (folder / "stdout.txt").open("wb") as stdout, (folder / "stderr.txt").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-c", "from jobs.app import main; main()", *arguments],
            cwd=folder,
            env={
                **inherited,
                **dict.fromkeys(SECRETS, CANARY),
                "HOME": str(home),
                "PYTHONPATH": os.pathsep.join((str(HOOK), str(ROOT))),
                "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
                "TAMIS_TEST_AUDIT": str(audit),
                **environment,
            },
            stdout=stdout,
            stderr=stderr,
        )
    try:
        while child.poll() is None:
            pids = family(child.pid)
            watched.sockets |= sockets_of(pids)
            watched.commands |= {command_of(pid) for pid in pids}
            if look is not None:
                look(pids)
            time.sleep(0.1)
    finally:
        child.kill()
        watched.code = child.wait()
    watched.told = (folder / "stdout.txt").read_text() + (folder / "stderr.txt").read_text()
    watched.notes = [line for path in sorted(audit.iterdir()) for line in path.read_text().splitlines()]
    return watched


@pytest.fixture(scope="session")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("local") / "run"
    write_sample(folder, users=40, toml=TOML.replace("rows_per_task = 920", "rows_per_task = 100_000"))
    return watch(folder, "run", "--as-of", AS_OF.isoformat())
