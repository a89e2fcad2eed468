from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from engine.reporting.facts import DateFacts, Facts, read_facts
from engine.reporting.page import page as html_of
from tests.browser.conftest import Written
from tests.browser.pages import LANGUAGES, THEMES, Opened, fragments
from tests.reporting.figures import KINDS, LONG, MARKUP, NAMES, RIGHT_TO_LEFT, figure, report
from tests.reporting.samples import DATES, made, side

pytestmark = pytest.mark.browser

Visit = Callable[..., Opened]
DAY, BEFORE = date(2026, 3, 15), date(2026, 3, 8)
WIDTHS = (360, 768, 1600)


@pytest.mark.parametrize("language", LANGUAGES)
def test_charts_are_drawn_and_say_their_numbers_on_hover(visit: Visit, written: Written, language: str) -> None:
    view = visit(written.report)
    view.language(language)
    assert view.page.locator(".chart svg:visible").count() > 5
    assert view.empty() == []
    assert view.untold() == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_fits(visit: Visit, written: Written, language: str, width: int) -> None:
    view = visit(written.report, width=width)
    view.language(language)
    assert view.too_wide() == []
    assert view.cut() == []
    assert view.overlapping() == []


@pytest.mark.parametrize("theme", THEMES)
def test_numbers_in_drawings_can_be_read(visit: Visit, written: Written, theme: str) -> None:
    view = visit(written.report)
    view.theme(theme)
    assert view.faint(4.5) == []


@pytest.mark.parametrize(("language", "other"), [("en", "fr"), ("fr", "en")])
def test_the_whole_page_changes_its_language(visit: Visit, written: Written, language: str, other: str) -> None:
    view = visit(written.report)
    view.language(other)
    view.language(language)
    said = view.said()
    assert [part for part in fragments(other, language) if part in said] == []
    assert len([part for part in fragments(language, other) if part in said]) > 20


def test_the_theme_changes_the_page_and_its_ink(visit: Visit, written: Written) -> None:
    view = visit(written.report)
    colours = "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
    automatic = view.ask(colours)
    view.theme("dark")
    dark = view.ask(colours)
    view.theme("light")
    assert view.ask(colours) == automatic
    assert dark[0] != automatic[0]
    assert dark[1] != automatic[1]
    assert visit(written.report, scheme="dark").ask(colours) == dark


def test_a_keyboard_reaches_everything(visit: Visit, written: Written) -> None:
    view = visit(written.report)
    keyboard = view.page.keyboard
    focus = "() => { const e = document.activeElement; return e.id || e.className || e.tagName; }"

    def tab_to(wanted: str, most: int = 80) -> None:
        for _ in range(most):
            keyboard.press("Tab")
            if view.ask(f"() => document.activeElement.matches({wanted!r})"):
                return
        pytest.fail(f"no {wanted} within {most} tabs")

    tab_to("#language-en", 2)
    keyboard.press("ArrowRight")
    assert view.ask(focus) == "language-fr"
    assert view.page.locator("main:visible").get_attribute("id") == "fr-main"
    keyboard.press("ArrowLeft")
    tab_to("#theme-auto", 2)
    tab_to("a.skip", 2)
    assert view.ask("() => document.activeElement.getBoundingClientRect().top >= 0")
    keyboard.press("Enter")
    assert view.page.url.endswith("#en-main")

    tab_to("main .define")
    open_ones = "() => document.querySelectorAll('[popover]:popover-open').length"
    keyboard.press("Enter")
    assert view.ask(open_ones) == 1
    keyboard.press("Escape")
    assert view.ask(open_ones) == 0
    assert view.ask("() => document.activeElement.matches('.define')")

    tab_to("summary", 4)
    keyboard.press("Enter")
    assert view.ask("() => document.activeElement.closest('details').open")
    assert view.page.locator("details[open] table").first.is_visible()


def test_a_definition_shows_on_hover_and_on_click(visit: Visit, written: Written) -> None:
    view = visit(written.report)
    button = view.page.locator("main:visible .define").first
    definition = button.get_attribute("title")
    assert definition
    button.click()
    assert view.page.locator("[popover]:popover-open").inner_text() == definition


@pytest.mark.parametrize("theme", THEMES)
def test_print_is_light_and_shows_the_tables(visit: Visit, written: Written, theme: str) -> None:
    view = visit(written.report)
    view.theme(theme)
    view.page.emulate_media(media="print")
    assert view.ask("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.ask("() => [...document.querySelectorAll('.switches, nav, .define')].filter(shown).length") == 0
    tables = "() => [...document.querySelectorAll('main table')].filter(table => table.closest('[lang]').lang === 'en')"
    assert view.ask(f"() => ({tables})().filter(table => table.getBoundingClientRect().height < 10).length") == 0
    assert view.page.pdf(format="A4").startswith(b"%PDF-")


def test_the_page_leads_nowhere_that_is_not_there(visit: Visit, written: Written) -> None:
    view = visit(written.report)
    lost = "() => [...document.querySelectorAll('a[href^=\"#\"]')].map(link => link.hash.slice(1))"
    assert [place for place in view.ask(lost) if not view.ask("id => !!document.getElementById(id)", place)] == []
    ids = view.ask("() => [...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_kind_of_figure_fits_whatever_its_names(visit: Visit, tmp_path: Path, width: int) -> None:
    names = (*NAMES, *(f"segment of place {place:02}" for place in range(8)))
    file = tmp_path / "report.html"
    file.write_text(html_of(report(*(figure(kind, names) for kind in KINDS))), encoding="utf-8")
    view = visit(file, width=width)
    assert view.empty() == []
    assert view.untold() == []
    assert view.too_wide() == []
    assert view.cut() == []


def _bare(facts: Facts) -> Facts:
    """What is left of a date whose run wrote a manifest alone: none of the tables and records of later versions."""
    nothing = DateFacts(facts.now.manifest, {})
    return replace(facts, now=nothing, before=None, validation={}, validation_segments={}, records=(), documents={})


def _nobody() -> DateFacts:
    empty = side(DAY, 1, {})
    return DateFacts(replace(empty.manifest, counts={"users": 0}), {n: f.clear() for n, f in empty.tables.items()})


HOSTILE = {MARKUP: (120, 9.5), RIGHT_TO_LEFT: (80, 8.5), LONG: (60, 7.5), "&lt;b&gt; `x` {users} été 😀": (40, 6.5)}
MANY = {f"segment number {place:03}": (10 + place, float(place)) for place in range(200)}
CASES = {
    "no model": made(side(DAY, 300, {"a": (200, 3.0), "b": (100, 2.0)})),
    "one segment": made(side(DAY, 300, {"everyone": (300, 3.0)}), side(BEFORE, 290, {"everyone": (290, 3.0)})),
    "nobody": made(_nobody()),
    "few people": made(side(DAY, 7, {"a": (4, 3.0), "b": (3, 2.0)})),
    "hostile names": made(side(DAY, 300, HOSTILE), side(BEFORE, 300, HOSTILE)),
    "many segments": made(side(DAY, 21_900, MANY), side(BEFORE, 21_900, MANY)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_of_little_or_strange_facts(visit: Visit, write: Callable[[Facts], Path], case: str, width: int) -> None:
    view = visit(write(CASES[case]), width=width)
    assert view.page.locator("main:visible .missing").count() > 3
    assert view.ask("() => document.querySelectorAll('script').length") == 0
    assert view.empty() == []
    assert view.too_wide() == []
    assert view.cut() == []
    assert view.overlapping() == []


def test_hostile_names_are_words(visit: Visit, write: Callable[[Facts], Path]) -> None:
    view = visit(write(CASES["hostile names"]))
    said = view.said()
    for name in HOSTILE:
        assert name in said


def test_an_older_run_says_what_is_missing(visit: Visit, written: Written, write: Callable[[Facts], Path]) -> None:
    view = visit(write(_bare(read_facts(written.out, DATES[-1]))))
    assert view.page.locator("main:visible .missing").count() > 3
    assert view.empty() == []
    assert view.too_wide() == []
