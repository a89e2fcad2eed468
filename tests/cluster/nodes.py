"""Ray's own test cluster: nodes as processes of this machine, on the loopback interface."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.history import ROOT

NODES = 3
STORE_BYTES = 80 * 2**20
NODE_BYTES = 4 * 2**30
# A node is lost after two seconds of silence, where Ray waits for half a minute.
HEALTH = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


class Nodes:
    """A cluster of nodes with one processor each."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    @property
    def head(self) -> str:
        return str(self.cluster.head_node.node_id)

    def fill(self, count: int = NODES) -> None:
        """As many nodes as there were at first."""
        while len(self.cluster.list_all_nodes()) < count:
            self.add()

    def add(self) -> str:
        node = self.cluster.add_node(node_ip_address="127.0.0.1", **_SHAPE)
        return str(node.node_id)

    def kill(self, node: str) -> None:
        """End all processes of a node with SIGKILL."""
        [found] = [one for one in self.cluster.list_all_nodes() if one.node_id == node]
        self.cluster.remove_node(found, allow_graceful=False)


_SHAPE: dict[str, Any] = {
    "num_cpus": 1,
    "memory": NODE_BYTES,
    "object_store_memory": STORE_BYTES,
    "include_dashboard": False,
}


_folders: list[Path] = []
"""Of all clusters of this process: the next one makes that of one whose head was killed once more, empty."""


def remove_folder(folder: Path, *, seconds: float = 20.0) -> None:
    """Remove what processes had that were ended: the last of them write until they notice."""
    until = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < until:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.2)


@contextmanager
def running_nodes(count: int = NODES) -> Iterator[Nodes]:
    """A cluster, and all of its processes ended with it."""
    from ray.cluster_utils import Cluster

    # Sockets have short paths; and Ray writes the address of its cluster into this folder, for all who ask for `auto`.
    folder = tempfile.mkdtemp(prefix="tn", dir="/tmp")
    _folders.append(Path(folder))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_TMPDIR": folder,
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "PATH": os.environ["PATH"],
        }.items():
            patch.setenv(name, value)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"node_ip_address": "127.0.0.1", "_system_config": HEALTH, **_SHAPE},
        )
        nodes = Nodes(cluster)
        try:
            nodes.fill(count)
            yield nodes
        finally:
            for node in [*cluster.worker_nodes, *([cluster.head_node] if cluster.head_node else [])]:
                cluster.remove_node(node, allow_graceful=False)
            for one in _folders:
                remove_folder(one)
