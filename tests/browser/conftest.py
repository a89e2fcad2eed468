from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.config_report import Report as Settings
from engine.reporting.facts import Facts, read_facts
from engine.reporting.page import page as html_of
from engine.reporting.report import report_of
from engine.reporting.write import write_cards, write_index, write_report
from tests.browser.pages import Opened, chromium
from tests.reporting.samples import DATES, publish

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REQUIRED = "TAMIS_REQUIRE_SERVERS"


@dataclass(frozen=True)
class Written:
    """The pages of a published output, as files."""

    out: Path
    report: Path
    index: Path
    cards: tuple[Path, ...]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window: one for all tests, as it takes seconds to start."""
    place = chromium()
    if place is None:
        message = "no Chromium here: `make browser` installs it on Debian and its kin"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(message)
        pytest.skip(message)
    sync_api = pytest.importorskip("playwright.sync_api", reason="the driver of the browser: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        # The pages are those of the tests themselves, and a container's root has no sandbox.
        started = playwright.chromium.launch(executable_path=str(place), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens a file; at the end of the test nothing may have gone wrong in any of them."""
    opened: list[Opened] = []

    def open_file(file: Path, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Opened:
        view = Opened.of(browser, file, width=width, height=height, scheme=scheme)
        opened.append(view)
        return view

    yield open_file
    for view in opened:
        view.page.context.close()
    assert [problem for view in opened for problem in view.problems] == []


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report, the index and the cards of a small output with models, clusters and hostile names."""
    out = publish(tmp_path_factory.mktemp("published"))
    settings = Settings(currency="EUR")
    for day in DATES:
        made = write_report(out, day, settings)
    cards = write_cards(read_facts(out, DATES[-1]), settings)
    return Written(out, made.report, write_index(out, settings), tuple(cards))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Facts], Path]:
    """Writes the report of facts."""

    def write_facts(facts: Facts) -> Path:
        file = tmp_path / "report.html"
        file.write_text(html_of(report_of(facts, Settings())), encoding="utf-8")
        return file

    return write_facts
