from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from engine.tables.lock import writer_lock
from tests.cluster.conftest import Tell
from tests.cluster.history import REFIT, History, checksum, message, published, start_driver
from tests.cluster.nodes import running_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.ray]


@pytest.mark.parametrize(
    ("stage", "options", "finished"),
    [("learn", REFIT, ("roll_range", "build_matrices")), ("ledger_bucket", (), ("roll_range", "score_bucket"))],
)
def test_the_head_is_lost_and_the_driver_restarted(
    stage: str,
    options: tuple[str, ...],
    finished: tuple[str, ...],
    history: History,
    today: Path,
    tell: Tell,
) -> None:
    wanted = history.wanted(*options)
    with running_nodes(2) as nodes:
        driver = start_driver(today, nodes.address, hold=[stage], options=options)
        try:
            driver.held(stage)
            nodes.kill(nodes.head)
            lost = driver.end(120)
        finally:
            driver.kill()
            driver.gates.let_go(stage)
    tell(f"head, during {stage}", f"exit {lost.code} in {lost.seconds:.0f} s: {message(lost.said)}")
    assert lost.code == 75, lost.said
    assert "error[cluster-lost]" in lost.said
    assert published(today / "out").items() >= history.before.items()
    first = Counter(begun.stage for begun in driver.gates.begun())
    assert all(first[done] for done in finished)

    with running_nodes(2) as nodes:
        again = start_driver(today, nodes.address, options=options)
        try:
            ended = again.end()
        finally:
            again.kill()
    second = Counter(begun.stage for begun in again.gates.begun())
    skipped = ", ".join(f"{first[done] - second[done]} of {first[done]} {done}" for done in finished)
    tell(
        "(the same command, on a new cluster)",
        f"exit {ended.code}, {checksum(published(today / 'out'))}; not run again: {skipped}",
    )
    assert ended.code == 0, ended.said
    assert published(today / "out") == wanted
    assert [done for done in finished if second[done]] == []


def test_the_head_is_lost_between_two_stages(history: History, today: Path, tell: Tell) -> None:
    # Ray ends a process on the spot whose head has been gone for a minute.
    still = 70
    stage = "after-roll_range"
    with running_nodes(2) as nodes:
        driver = start_driver(today, nodes.address, hold=[stage])
        try:
            driver.held(stage)
            nodes.kill(nodes.head)
            time.sleep(still)
            driver.gates.let_go(stage)
            lost = driver.end(60)
        finally:
            driver.kill()
    came = f"exit {lost.code}, {lost.seconds:.0f} s after it: {message(lost.said)}"
    tell(f"head, {still} s before the stage after roll_range", came)
    assert lost.code == 75, lost.said
    assert lost.said.startswith("error[cluster-lost]"), lost.said
    assert lost.seconds < 10
    assert published(today / "out") == history.before


def test_the_head_is_lost_while_a_run_waits_for_another(history: History, today: Path, tell: Tell) -> None:
    with running_nodes(2) as nodes, writer_lock(today / "out", "another"):
        driver = start_driver(today, nodes.address, options=("--wait-for-lock", "300"), quiet=False)
        try:
            driver.wait_for(lambda: "waiting up to" in driver.log.read_text(encoding="utf-8"))
            nodes.kill(nodes.head)
            lost = driver.end(60)
        finally:
            driver.kill()
    tell("head, while a run waits for another", f"exit {lost.code} in {lost.seconds:.0f} s: {message(lost.said)}")
    assert lost.code == 75, lost.said
    assert "error[cluster-lost]" in lost.said
    assert lost.seconds < 10
    assert published(today / "out") == history.before
