from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head of one node on the loopback interface, started as a person would."""

    dashboard: str
    gcs_port: int
    log: Path

    def environment(self, **others: str) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return mine | {"RAY_API_SERVER_ADDRESS": self.dashboard} | others

    def tamis(self, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "tamis"), *arguments],
            cwd=cwd,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def running_head(environment: Mapping[str, str], *, dashboard: bool = True) -> Iterator[Head]:
    """`ray start --head`, and its processes ended with it."""
    # Sockets have short paths, so not below a test's own folder.
    with tempfile.TemporaryDirectory(prefix="tr", ignore_cleanup_errors=True) as folder:
        ports = free_ports(6)
        log = Path(folder) / "log"
        arguments = [
            *(str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
            *("--node-ip-address", "127.0.0.1", "--port", str(ports[0])),
            *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(ports[1])),
            *("--dashboard-agent-listen-port", str(ports[2]), "--dashboard-agent-grpc-port", str(ports[3])),
            *("--metrics-export-port", str(ports[4]), "--ray-client-server-port", str(ports[5])),
            *("--num-cpus", "2", "--object-store-memory", "80000000", "--temp-dir", folder),
            f"--include-dashboard={dashboard}",
        ]
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            **environment,
        }
        with log.open("w") as output:
            process = subprocess.Popen(
                arguments, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            _wait(process, ports[1] if dashboard else ports[0], log)
            yield Head(f"http://127.0.0.1:{ports[1]}", ports[0], log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8"))
