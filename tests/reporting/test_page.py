from __future__ import annotations

import re
import sys
from collections import Counter
from html import escape
from pathlib import Path

import pytest

from engine.config_report import Report as Settings
from engine.errors import ConfigError
from engine.reporting.page import page
from engine.reporting.report import make_report
from tests.reporting.figures import KINDS, MARKUP, NAMES, RIGHT_TO_LEFT, Page, figure, report
from tests.reporting.samples import DATES

# Attributes that name another element of the page.
REFERENCES = ("for", "aria-labelledby", "popovertarget")


@pytest.fixture(scope="module")
def every_kind() -> str:
    return page(report(*map(figure, KINDS)), index="index.html")


@pytest.fixture(scope="module")
def real(published: Path) -> str:
    return page(make_report(published, DATES[-1], None, Settings(currency="EUR")))


@pytest.fixture(params=["every_kind", "real"])
def html(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def test_nothing_runs_and_nothing_is_fetched(html: str) -> None:
    found = Page(html)
    assert "script" not in {tag for tag, _ in found.tags}
    [policy] = [attributes["content"] for tag, attributes in found.tags if attributes.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert {name for _, attributes in found.tags for name in attributes if name.startswith("on")} == set()
    assert found.all("src") == []
    assert [link for link in found.all("href") if not link.startswith("#") and link != "index.html"] == []
    assert re.findall(r"@import|url\((?!#)", html) == []
    assert {url for url in re.findall(r"https?://[^\"' <]+", html) if not url.startswith("http://www.w3.org/")} == set()


def test_ids_are_unique_and_references_lead_somewhere(html: str) -> None:
    found = Page(html)
    ids = Counter(found.all("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    named = {name for attribute in REFERENCES for name in found.all(attribute)}
    named |= {link[1:] for link in found.all("href") if link.startswith("#")}
    named |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert named - ids.keys() == set()


def test_both_languages_are_marked(html: str) -> None:
    found = Page(html)
    marked = [attributes["lang"] for tag, attributes in found.tags if tag == "div" and "data-language" in attributes]
    assert marked == ["en", "fr"]
    checked = [attributes["id"] for tag, attributes in found.tags if tag == "input" and "checked" in attributes]
    assert checked == ["language-en", "theme-auto"]


def test_every_figure_has_its_table(html: str) -> None:
    tags = Counter(tag for tag, _ in Page(html).tags)
    assert tags["figure"] == tags["table"] == tags["button"] > 0


def test_it_is_small(html: str) -> None:
    assert len(html.encode()) < 5_000_000


def test_names_with_markup_are_text(every_kind: str) -> None:
    assert "<script" not in every_kind
    assert escape(MARKUP, quote=False)[:20] in every_kind
    assert MARKUP in "".join(Page(every_kind).text)


def test_names_from_right_to_left_do_not_turn_their_surroundings(every_kind: str) -> None:
    assert every_kind.count(RIGHT_TO_LEFT) == every_kind.count(f"\u2068{RIGHT_TO_LEFT}\u2069") > 0


def test_the_same_report_gives_the_same_page() -> None:
    few = report(figure("bars"), figure("lines"), figure("calibration"))
    assert page(few) == page(few)


def test_rows_of_the_tables(every_kind: str) -> None:
    bars = every_kind.partition('id="en-bars_figure"')[2].partition("</figure>")[0]
    assert bars.count("<tr>") == len(NAMES) + 1
    assert '<td class="number">–</td>' in bars


def test_a_report_of_nothing() -> None:
    html = page(report())
    assert "No fit has left a model" in html
    assert "<figure" not in html


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_language_that_is_shown_first(language: str) -> None:
    made = report()
    object.__setattr__(made, "language", language)
    html = page(made)
    assert f'<html lang="{language}">' in html
    assert re.findall(r'id="language-(\w+)" checked', html) == [language]
    title = {"en": "All published dates", "fr": "Toutes les dates publiées"}[language]
    assert f"<title>{title}</title>" in html


def test_without_the_template_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minijinja", None)
    with pytest.raises(ConfigError) as caught:
        page(report())
    assert caught.value.code == "report-extra-missing"
