"""Whether the nodes of a cluster see the files of a run: asked once, where tasks would fail one by one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.errors import ConfigError, TamisError
from engine.execution.ray_attempt import head_answers, headless, listed_nodes, wait_for
from engine.tables import disk

_LOOK: Final = "the look at its nodes"
_MOST_NODES: Final = 32
_SECONDS: Final = 30.0
_PREFIX: Final = "_seen-"


def check_paths(work: Path, inputs: Sequence[Path], environment: Mapping[str, str]) -> None:
    """Have up to 32 nodes look for a file that is written here, and for the input, and write a file themselves.

    A node that does not answer within half a minute is passed over: it may be busy, and what it lacks its tasks tell.

    Args:
        work: Work folder of the run.
        inputs: Files or folders of the input.
        environment: Variables that the workers of the tasks need, so that they are the ones that the tasks find.

    Raises:
        ConfigError: A node does not see them, or cannot write to `work`.
        TransientError: The head of the cluster is gone.
    """
    if not head_answers():
        raise headless(_LOOK)
    listed = listed_nodes(_LOOK)
    nodes = [node for node in listed if node["Alive"] and node["Resources"].get("CPU")][:_MOST_NODES]
    marker = work / f"{_PREFIX}{secrets.token_hex(4)}"
    disk.create_empty(marker)
    try:
        asked = {
            _look.options(**_options(node["NodeID"], environment)).remote(
                str(marker), [str(path) for path in inputs], node["NodeID"]
            ): str(node["NodeManagerAddress"])
            for node in nodes
        }
        answered, silent = wait_for(list(asked), count=len(asked), seconds=_SECONDS) if asked else ([], [])
        if silent and not head_answers():
            raise headless(_LOOK)
        for reference in silent:
            ray.cancel(reference, force=True)
        problems = {asked[reference]: problem for reference in answered if (problem := _problem(reference))}
    finally:
        disk.remove_file(marker)
    if problems:
        raise ConfigError(
            "nodes of the cluster do not have the files of the run:\n"
            + "\n".join(f"  {address}: {problem}" for address, problem in sorted(problems.items())),
            code="cluster-path",
            hint="Mount the folders of the input and the output under the same paths on every node, writable for the "
            "user of the workers, or run with --executor local.",
        )


def _options(node: str, environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_retries": 0,
        "name": "check_paths",
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    return options | ({"runtime_env": {"env_vars": dict(environment)}} if environment else {})


def _problem(reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError:
        # The node is gone, or its worker was: no word about its files.
        return ""


@ray.remote
def _look(marker: str, inputs: list[str], node: str) -> str:
    """What a node lacks; empty when it has all."""
    if not Path(marker).exists():
        return f"no folder {Path(marker).parent}, or another one of that name"
    missing = [path for path in inputs if not Path(path).exists()]
    if missing:
        return f"no input {missing[0]}"
    own = Path(f"{marker}-{node}")
    try:
        disk.create_empty(own)
        disk.remove_file(own)
    except (TamisError, OSError) as error:
        return str(error)
    return ""
