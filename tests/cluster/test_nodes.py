from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Tell
from tests.cluster.history import REFIT, History, checksum, published, start_driver
from tests.cluster.nodes import NODES, Nodes, running_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

# A function of each stage: reading, learning, scoring, the ledger, publishing.
OF_A_RUN = ("roll_range", "score_bucket", "ledger_bucket", "compact_file", "check_file")
OF_A_FIT = ("build_matrices", "visit", "learn")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with running_nodes() as opened:
        yield opened


@pytest.mark.parametrize("stage", [*OF_A_RUN, *OF_A_FIT])
def test_a_node_is_killed(stage: str, nodes: Nodes, history: History, today: Path, tell: Tell) -> None:
    options = REFIT if stage in OF_A_FIT else ()
    wanted = history.wanted(*options)
    nodes.fill()
    driver = start_driver(today, nodes.address, hold=[stage], options=options)
    try:
        victim = driver.held(stage, lambda begun: begun.node != nodes.head)
        nodes.kill(victim.node)
        driver.gates.let_go(stage)
        ended = driver.end()
    finally:
        driver.kill()
    again = len([one for one in driver.gates.begun(stage) if one.node != victim.node])
    tell(f"node, during {stage}", f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}")
    assert ended.code == 0, ended.said
    assert again
    assert published(today / "out") == wanted


def test_a_worker_is_killed_in_every_stage(nodes: Nodes, history: History, today: Path, tell: Tell) -> None:
    wanted = history.wanted(*REFIT)
    stages = ("roll_range", *OF_A_FIT, *OF_A_RUN[1:])
    nodes.fill()
    driver = start_driver(today, nodes.address, hold=stages, options=REFIT)
    try:
        for stage in stages:
            victim = driver.held(stage)
            os.kill(victim.pid, signal.SIGKILL)
            driver.gates.let_go(stage)
        ended = driver.end()
    finally:
        driver.kill()
    came = f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}"
    tell(f"a worker each, during {', '.join(stages)}", came)
    assert ended.code == 0, ended.said
    assert published(today / "out") == wanted


def test_a_node_is_added(nodes: Nodes, history: History, today: Path, tell: Tell) -> None:
    wanted = history.wanted()
    nodes.fill()
    driver = start_driver(today, nodes.address, hold=["score_bucket"])
    try:
        driver.wait_for(lambda: len(driver.gates.begun("score_bucket")) == NODES)
        added = nodes.add()
        driver.held("score_bucket", lambda begun: begun.node == added)
        driver.gates.let_go("score_bucket")
        ended = driver.end()
    finally:
        driver.kill()
    came = f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}, with a task on it"
    tell("nothing, a node added during score_bucket", came)
    nodes.kill(added)
    assert ended.code == 0, ended.said
    assert published(today / "out") == wanted
