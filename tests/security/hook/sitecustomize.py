# Loaded by every Python process that is started with this folder on its path: each notes what the tests look for.
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_FOLDER = os.environ.get("TAMIS_TEST_AUDIT", "")
_SOCKETS = {"socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo"}


def _note(line: str) -> None:
    descriptor = os.open(Path(_FOLDER) / f"{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (line + "\n").encode("utf-8", "backslashreplace"))
    os.close(descriptor)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _SOCKETS:
        _note(f"{event} {arguments[1:2] if event != 'socket.getaddrinfo' else arguments[:1]!r}")
    elif event == "import" and str(arguments[0]).startswith("ray.data"):
        _note(f"import {arguments[0]}")


if _FOLDER:
    _note("process " + Path(sys.executable).name)
    sys.addaudithook(_hook)
