from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Written
from tests.browser.pages import Opened, fragments

pytestmark = pytest.mark.browser

Visit = Callable[..., Opened]


@pytest.mark.parametrize("width", [360, 1280])
def test_every_card_is_drawn_and_fits(visit: Visit, written: Written, width: int) -> None:
    assert {card.name.partition("=")[0] for card in written.cards} == {"target", "segment"}
    models = [card for card in written.cards if card.name.startswith("target")]
    segments = [card for card in written.cards if card not in models]
    hostile = [card for card in segments if "%" in card.name]
    for card in (*models, *segments[:4], *hostile):
        view = visit(card, width=width)
        assert view.empty() == [], card.name
        assert view.too_wide() == [], card.name
        assert view.cut() == [], card.name
        assert view.overlapping() == [], card.name


@pytest.mark.parametrize("kind", ["target", "segment"])
def test_a_card_in_french(visit: Visit, written: Written, kind: str) -> None:
    view = visit(next(card for card in written.cards if card.name.startswith(kind)))
    view.language("fr")
    said = view.said()
    assert [part for part in fragments("en", "fr") if part in said] == []


def test_a_card_leads_to_the_report_and_the_index(visit: Visit, written: Written) -> None:
    view = visit(written.cards[0])
    links = view.ask("() => [...document.querySelectorAll('div[lang=en] .up a')].map(link => link.href)")
    assert links == [written.index.resolve().as_uri(), written.report.resolve().as_uri()]
