from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

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
