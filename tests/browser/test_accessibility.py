from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Written
from tests.browser.pages import LANGUAGES, THEMES, Opened

pytestmark = pytest.mark.browser

Visit = Callable[..., Opened]


@pytest.fixture(scope="module")
def rules() -> Any:
    module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    return module.Axe()


def broken(rules: Any, view: Opened) -> list[str]:
    """Rules of axe-core that a page breaks, with the first place; best practice counts as much as the standard."""
    found = rules.run(view.page).response["violations"]
    return [f"{rule['impact']} {rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_breaks_no_rule(visit: Visit, written: Written, rules: Any, language: str, theme: str) -> None:
    view = visit(written.report)
    view.language(language)
    view.theme(theme)
    assert broken(rules, view) == []


@pytest.mark.parametrize("theme", THEMES)
def test_the_index_and_the_cards_break_no_rule(visit: Visit, written: Written, rules: Any, theme: str) -> None:
    kinds = {card.name.partition("=")[0]: card for card in written.cards}
    for file in (written.index, *kinds.values()):
        view = visit(file, width=360)
        view.theme(theme)
        assert broken(rules, view) == [], file.name


def test_every_drawing_has_a_name_and_a_table(visit: Visit, written: Written) -> None:
    view = visit(written.report)
    unnamed = "() => drawings().filter(svg => svg.getAttribute('role') !== 'img' || !svg.ariaLabel.trim()).length"
    assert view.ask(unnamed) == 0
    lacking = "() => drawings().filter(svg => !svg.closest('figure').querySelector('table tbody tr')).length"
    assert view.ask(lacking) == 0
