from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Tell
from tests.cluster.history import History, checksum, message, published, start_driver
from tests.cluster.hosts import Host, Network, memory_group, networks

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

STAGE = "score_bucket"
LIMIT_BYTES = 3 * 2**30
BUCKETS = 4
EVERY_ATTEMPT = 20


@pytest.fixture(scope="module")
def small_host() -> Iterator[Network]:
    with memory_group(LIMIT_BYTES) as group, networks(1) as network:
        network.start(memory_group=group, variables={"RAY_memory_monitor_refresh_ms": "100"})
        yield network


@pytest.mark.parametrize("times", [1, EVERY_ATTEMPT])
def test_a_worker_is_killed_for_memory(
    times: int, small_host: Network, history: History, today: Path, tell: Tell
) -> None:
    wanted = history.wanted()
    host: Host = small_host.hosts[0]
    driver = start_driver(today, small_host.head, inside=host.inside, feed=(STAGE, 2 * LIMIT_BYTES, times))
    try:
        ended = driver.end()
    finally:
        driver.kill()
    came = f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}"
    tell(f"worker for memory, {times} x {STAGE}", f"{came} {message(ended.said) if ended.code else ''}")
    if times == 1:
        assert ended.code == 0, ended.said
        assert published(today / "out") == wanted
        assert len(driver.gates.begun(STAGE)) == BUCKETS + 1
    else:
        assert ended.code == 6, ended.said
        assert "error[task-memory]" in ended.said
        assert published(today / "out") == history.before
