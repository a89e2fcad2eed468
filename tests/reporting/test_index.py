from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pytest

from engine.config_report import Report as Settings
from engine.reporting.facts import read_facts
from engine.reporting.index import index_page, index_report, read_dates
from engine.reporting.places import card_file, index_file, link, report_file
from tests.reporting.figures import Page
from tests.reporting.samples import DATES

SETTINGS = Settings(currency="EUR")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings have tests of their own, and take seconds."""
    monkeypatch.setattr("engine.reporting.page.draw", lambda *_: "<svg></svg>")


@pytest.fixture
def out(published: Path, tmp_path: Path) -> Path:
    """A copy of the published output without its tables of users."""
    for name in ("_manifests", "_bundles", "segment_kpis", "segment_definitions"):
        shutil.copytree(published / name, tmp_path / name)
    return tmp_path


def test_all_dates_are_listed_and_reports_are_linked(out: Path) -> None:
    report_file(out, DATES[1]).parent.mkdir()
    report_file(out, DATES[1]).write_text("a report", encoding="utf-8")
    found = Page(index_page(out, SETTINGS))
    links = [address for address in found.all("href") if not address.startswith("#")]
    assert {unquote(address) for address in links} == {f"as_of={DATES[1]}.html"}
    text = "".join(found.text)
    for day in ("1 March 2026", "8 March 2026", "15 March 2026", "1er mars 2026"):
        assert day in text
    assert text.index("15 March 2026 (no report)") < text.index("1 March 2026 (no report)")


@pytest.mark.slow
def test_cards_are_linked_whatever_their_names_hold(out: Path) -> None:
    names = [name for name in read_facts(out, DATES[-1]).now.sizes if "<b>" in name]
    card = card_file(out, DATES[-1], "segment", names[0])
    card.parent.mkdir(parents=True)
    card.write_text("a card", encoding="utf-8")
    html = index_page(out, SETTINGS)
    [address] = {address for address in Page(html).all("href") if not address.startswith("#")}
    assert (index_file(out).parent / unquote(address)).read_text(encoding="utf-8") == "a card"
    assert "<b>every" not in html


def test_the_trends(out: Path) -> None:
    facts = read_facts(out, DATES[-1])
    report = index_report(facts, read_dates(facts), SETTINGS)
    figures = {figure.key: figure for section in report.sections for figure in section.figures}
    assert {"users", "segment_sizes", "warnings", "fits"} <= figures.keys()
    assert figures["users"].table["day"].to_list() == list(DATES)
    assert figures["fits"].table["target"].n_unique() == len(facts.bundle.models if facts.bundle else ())
    assert figures["fits"].table["auc"].is_between(0, 1).all()


@pytest.mark.slow
def test_the_same_state_gives_the_same_page(out: Path) -> None:
    assert index_page(out, SETTINGS) == index_page(out, SETTINGS)


def test_a_date_of_an_earlier_version_is_listed_as_far_as_it_is_known(out: Path) -> None:
    for name in ("segment_kpis", "segment_definitions", "_bundles"):
        shutil.rmtree(out / name)
    html = index_page(out, SETTINGS)
    assert "Not known for these dates: Revenue." in html
    assert "No fit has left a model" in html


@pytest.mark.parametrize(
    ("path", "page", "address"),
    [
        ("r/a=b %.html", "r/index.html", "a%3Db%20%25.html"),
        ("r/d/x.html", "r/index.html", "d/x.html"),
        ("r/index.html", "r/d/x.html", "../index.html"),
    ],
)
def test_links(path: str, page: str, address: str) -> None:
    assert link(Path(path), Path(page)) == address


def test_cards_of_long_names_have_different_files(tmp_path: Path) -> None:
    files = {card_file(tmp_path, date(2026, 1, 1), "segment", "é" * 200 + end).name for end in ("a", "b")}
    assert len(files) == 2
    assert all(len(name.encode()) < 255 for name in files)
