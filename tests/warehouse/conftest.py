from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.warehouse.postgres_server import Server, binaries, server
from tests.warehouse.sample import HandMade, hand_made


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        message = "no PostgreSQL server on this machine: `make servers` installs it (Debian's package postgresql)"
        if os.environ.get("TAMIS_REQUIRE_SERVERS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with server(programs) as started:
        yield started


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> HandMade:
    return hand_made(tmp_path_factory.mktemp("hand made"))
