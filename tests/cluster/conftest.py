from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.history import History, make_history

TOLD = "cluster"

Tell = Callable[[str, str], None]


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return make_history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Says at the end of the session what was killed and what came out."""

    def told(killed: str, came: str) -> None:
        record_property(TOLD, f"{killed} -> {came}")

    return told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    lines = [
        str(value)
        for report in ended
        if isinstance(report, pytest.TestReport)
        for name, value in report.user_properties
        if name == TOLD
    ]
    if lines:
        terminalreporter.section("what was killed, and what came out")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def today(history: History) -> Path:
    """A folder with yesterday's tables and today's files."""
    return history.begin()
