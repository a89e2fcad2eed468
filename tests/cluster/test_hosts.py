from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Tell
from tests.cluster.history import History, checksum, message, published, start_driver
from tests.cluster.hosts import Network, networks

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

STAGE = "score_bucket"


@pytest.fixture
def two_hosts() -> Iterator[Network]:
    with networks(2) as network:
        network.start()
        network.start()
        yield network


def test_the_link_is_cut_and_restored(two_hosts: Network, history: History, today: Path, tell: Tell) -> None:
    wanted = history.wanted()
    head, other = two_hosts.hosts
    driver = start_driver(today, two_hosts.head, hold=[STAGE], inside=head.inside)
    try:
        driver.held(STAGE, lambda begun: begun.host == other.name)
        driver.held(STAGE, lambda begun: begun.host == head.name)
        two_hosts.cut()
        # What runs on the other host writes its files, and can tell nobody.
        driver.gates.let_go(STAGE)
        time.sleep(20)
        two_hosts.restore()
        ended = driver.end()
    finally:
        driver.kill()
    attempts = [begun.host for begun in driver.gates.begun(STAGE)]
    tell(
        f"link for 20 s, during {STAGE} on both hosts",
        f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}, attempts at {attempts}",
    )
    assert ended.code == 0, ended.said
    assert set(attempts) == {head.name, other.name}
    assert published(today / "out") == wanted
    # And nothing comes late.
    other.kill()
    assert published(today / "out") == wanted


def test_the_link_is_cut_for_a_moment(two_hosts: Network, history: History, today: Path, tell: Tell) -> None:
    wanted = history.wanted()
    head, other = two_hosts.hosts
    driver = start_driver(today, two_hosts.head, hold=[STAGE], inside=head.inside)
    try:
        driver.held(STAGE, lambda begun: begun.host == other.name)
        two_hosts.cut()
        time.sleep(1)
        two_hosts.restore()
        driver.gates.let_go(STAGE)
        ended = driver.end()
    finally:
        driver.kill()
    attempts = [begun.host for begun in driver.gates.begun(STAGE)]
    tell(
        f"link for 1 s, during {STAGE}",
        f"exit {ended.code} in {ended.seconds:.0f} s, {checksum(published(today / 'out'))}, attempts at {attempts}",
    )
    assert ended.code == 0, ended.said
    assert published(today / "out") == wanted


def test_the_link_between_the_driver_and_the_head_is_cut(
    two_hosts: Network, history: History, today: Path, tell: Tell
) -> None:
    wanted = history.wanted()
    _, other = two_hosts.hosts
    driver = start_driver(today, two_hosts.head, hold=[STAGE], inside=other.inside)
    try:
        driver.held(STAGE)
        two_hosts.cut()
        lost = driver.end(120)
    finally:
        driver.kill()
    tell(
        f"link between driver and head, during {STAGE}",
        f"exit {lost.code} in {lost.seconds:.0f} s: {message(lost.said)}",
    )
    assert lost.code == 75, lost.said
    assert "error[cluster-lost]" in lost.said
    assert published(today / "out") == history.before

    two_hosts.restore()
    again = start_driver(today, two_hosts.head, inside=two_hosts.hosts[0].inside)
    try:
        ended = again.end()
    finally:
        again.kill()
    tell("(the same command, with the link restored)", f"exit {ended.code}, {checksum(published(today / 'out'))}")
    assert ended.code == 0, ended.said
    assert published(today / "out") == wanted
