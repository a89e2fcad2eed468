from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Written
from tests.browser.pages import LANGUAGES, Opened, fragments
from tests.reporting.samples import DATES

pytestmark = pytest.mark.browser

Visit = Callable[..., Opened]


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_drawn_and_fits(visit: Visit, written: Written, language: str, width: int) -> None:
    view = visit(written.index, width=width)
    view.language(language)
    assert view.empty() == []
    assert view.too_wide() == []
    assert view.cut() == []
    assert view.overlapping() == []


def test_the_whole_page_changes_its_language(visit: Visit, written: Written) -> None:
    view = visit(written.index)
    view.language("fr")
    said = view.said()
    assert [part for part in fragments("en", "fr") if part in said] == []


def test_every_date_leads_to_its_report_and_back(visit: Visit, written: Written) -> None:
    view = visit(written.index)
    links = view.page.locator("div[lang=en] th a")
    assert links.count() == len(DATES)
    links.last.click()
    assert view.page.url == (written.report.parent / f"as_of={DATES[0]}.html").resolve().as_uri()
    view.page.locator("a[href='index.html']:visible").click()
    assert view.page.url == written.index.resolve().as_uri()


def test_links_to_cards_lead_to_files(visit: Visit, written: Written) -> None:
    view = visit(written.index)
    cards = view.ask("() => [...document.querySelectorAll('div[lang=en] .links a')].map(link => link.href)")
    assert sorted(cards) == sorted(card.resolve().as_uri() for card in written.cards)
