"""Hosts of this machine: each with a network, a name, processes and a folder for Ray of its own, and all files shared.

Linux keeps them apart (network, mount, UTS and PID namespaces), so two of them are joined by a link that can be cut,
and one can have less memory than the machine. Whatever runs on a host ends with it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.history import ROOT
from tests.cluster.nodes import STORE_BYTES, remove_folder

BIN = Path(sys.executable).parent
PORT = 6379
_DEVICE = "veth0"
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
# A host is lost after ten seconds of silence; one that misses the head gives up after fifteen.
SILENCE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1500,
    "health_check_failure_threshold": 5,
    "gcs_rpc_server_reconnect_timeout_s": 15,
}


def not_here(message: str) -> None:
    """A failure where everything has to be there, else the test is skipped."""
    if os.environ.get("TAMIS_REQUIRE_SERVERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@dataclass
class Host:
    """A host on which Ray runs."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def inside(self) -> list[str]:
        """The command that runs another one on this host."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        first = children.read_text(encoding="ascii").split()[0]
        return ["nsenter", "--target", first, "--net", "--mount", "--uts", "--pid", "--wd=."]

    @property
    def runs(self) -> bool:
        """Whether its Ray still does."""
        return self.process.poll() is None

    def kill(self) -> None:
        """As if the power was cut: all of its processes end at once."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@dataclass
class Network:
    """One or two networks; two have a link between them."""

    names: list[str]
    folder: Path
    hosts: list[Host] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Address of the cluster of the first host."""
        return f"{self.hosts[0].address}:{PORT}"

    def cut(self) -> None:
        """Take the link down at both ends."""
        for name in self.names:
            _ip("-n", name, "link", "set", _DEVICE, "down")

    def restore(self) -> None:
        """Bring the link up again."""
        for name in self.names:
            _ip("-n", name, "link", "set", _DEVICE, "up")

    def start(self, *, memory_group: Path | None = None, variables: Mapping[str, str] | None = None) -> Host:
        """Start Ray on the next host: the head on the first, a node that joins it on the second."""
        number = len(self.hosts)
        network, name, address = self.names[number], f"host-{'ab'[number]}", f"10.77.0.{number + 1}"
        where = (
            ["--head", f"--port={PORT}", "--include-dashboard=False", f"--temp-dir={self.folder}"]
            if number == 0
            else [f"--address={self.head}"]
        )
        own = [f"--system-config={json.dumps(SILENCE)}"] if number == 0 else []
        ray = [
            *(str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *where, *own),
            *(f"--node-ip-address={address}", "--num-cpus=1", f"--object-store-memory={STORE_BYTES}"),
        ]
        begin = f"mount -t tmpfs tmpfs {self.folder}; hostname {name}; "
        if memory_group is not None:
            begin += f"echo 0 > {memory_group}/cgroup.procs; mount --bind {memory_group} {MEMORY_GROUPS}; "
        log = self.folder.with_name(f"{self.folder.name}-{number}.log")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            **(variables or {}),
        }
        command = [
            *("nsenter", f"--net=/run/netns/{network}", "--"),
            *("unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--"),
            *("sh", "-ec", f'{begin}exec "$@"', "sh", *ray),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        host = Host(name, address, process, log)
        self.hosts.append(host)
        until = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(log.read_text(encoding="utf-8"))
            time.sleep(0.2)
        return host


@contextmanager
def networks(count: int) -> Iterator[Network]:
    """Networks without hosts yet; they and what runs in them are gone at the end."""
    _check_tools()
    # Sockets have short paths; every host has a file system of its own there.
    folder = Path(tempfile.mkdtemp(prefix="th", dir="/tmp"))
    names = [f"tamis-{secrets.token_hex(3)}-{letter}" for letter in "ab"[:count]]
    network = Network(names, folder)
    with ExitStack() as stack:
        stack.callback(_remove, network)
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        if count == 2:
            first, second = (("name", _DEVICE, "netns", name) for name in names)
            _ip("link", "add", *first, "type", "veth", "peer", *second)
        else:
            _ip("-n", names[0], "link", "add", _DEVICE, "type", "veth", "peer", "name", "veth1")
            _ip("-n", names[0], "link", "set", "veth1", "up")
        for number, name in enumerate(names, 1):
            _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", _DEVICE)
            _ip("-n", name, "link", "set", _DEVICE, "up")
        yield network


@contextmanager
def memory_group(size: int) -> Iterator[Path]:
    """A control group whose processes have so many bytes of memory together."""
    folder = MEMORY_GROUPS / f"tamis-{secrets.token_hex(3)}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(size), encoding="ascii")
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        not_here(f"no control group with a limit of memory can be made here: {error}")
    try:
        yield folder
    finally:
        until = time.monotonic() + 30
        while folder.exists() and time.monotonic() < until:
            with suppress(OSError):
                folder.rmdir()
            time.sleep(0.1)


def _check_tools() -> None:
    missing = [tool for tool in ("ip", "nsenter", "unshare", "mount") if shutil.which(tool) is None]
    if missing:
        not_here(f"to make hosts takes {', '.join(missing)} (Debian's packages iproute2, util-linux and mount)")
    probe = f"tamis-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        not_here(f"no network namespace can be made here: {made.stderr.strip()}; it takes the rights of root")
    _ip("netns", "delete", probe)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


def _remove(network: Network) -> None:
    for host in network.hosts:
        host.kill()
        host.log.unlink(missing_ok=True)
    for name in network.names:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", name)
    remove_folder(network.folder)
