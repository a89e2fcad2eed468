from __future__ import annotations

from pathlib import Path

import pytest

from engine.reporting.facts import Facts, read_facts
from tests.reporting.samples import DATES, publish


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output root with the dates of `tests.reporting.samples.DATES`; not to be changed."""
    return publish(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def facts(published: Path) -> Facts:
    """The facts of the last of the dates."""
    return read_facts(published, DATES[-1])
