"""A PostgreSQL server of the machine, started for the tests in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "wörd @ 'of\" pass"  # noqa: S105
PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt", "/usr/pgsql-*")


@dataclass(frozen=True)
class Server:
    binaries: Path
    folder: Path
    port: int
    owner: str | None

    @property
    def dsn(self) -> str:
        password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        return f"host=127.0.0.1 port={self.port} user=tamis dbname=postgres password='{password}'"

    def command(self, program: str, *arguments: str, **options: Any) -> str:
        return run(self.binaries, self.folder, self.owner, program, *arguments, **options)


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest version of those that are installed."""
    found: list[Path] = []
    if (config := shutil.which("pg_config")) is not None:
        done = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(done.stdout.strip()))
    for place in PLACES:
        folder = Path(place)
        found += sorted(folder.parent.glob(f"{folder.name}/**/bin"), reverse=True)
    return next((path for path in found if (path / "initdb").is_file() and (path / "postgres").is_file()), None)


def run(programs: Path, folder: Path, owner: str | None, program: str, *arguments: str, **options: Any) -> str:
    user = {} if owner is None else {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []}
    # A server that stays would keep a pipe open.
    with tempfile.TemporaryFile("w+") as told:
        done = subprocess.run(
            [programs / program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", "HOME": str(folder), **options.pop("env", {})},
            check=False,
            **user,
            **options,
        )
        told.seek(0)
        text = told.read()
    assert done.returncode == 0, f"{program} {' '.join(arguments)}: {text}"
    return text


@contextmanager
def server(programs: Path, settings: Sequence[str] = ("fsync=off",)) -> Iterator[Server]:
    """A server on the loopback with one user `tamis`, whose password is asked for; gone at the end.

    PostgreSQL does not run as root: then it runs as the user `postgres`, whom its packages make.
    """
    owner = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="tamis-postgres-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        data = str(folder / "data")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = Server(programs, folder, port, owner)
        login = ["--username=tamis", "--auth=scram-sha-256", f"--pwfile={secret}"]
        secret.chmod(0o644)
        found.command("initdb", "--no-sync", "--encoding=UTF8", "--no-locale", *login, f"--pgdata={data}")
        options = [f"-p {port}", "-c listen_addresses=127.0.0.1", f"-k {folder}"]
        options += [f"-c {setting}" for setting in settings]
        log = f"--log={folder / 'log'}"
        found.command("pg_ctl", "start", "--wait", f"--pgdata={data}", log, f"--options={' '.join(options)}")
        try:
            yield found
        finally:
            with suppress(AssertionError):
                found.command("pg_ctl", "stop", "--mode=immediate", f"--pgdata={data}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
