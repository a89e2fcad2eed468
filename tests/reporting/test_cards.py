from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.config_report import Report as Settings
from engine.reporting.card_of_segment import segment_sections, segment_tiles
from engine.reporting.cards import Card, card_page, cards_of, only
from engine.reporting.facts import Facts
from engine.reporting.page import voice_of
from engine.segments.composition import COMPOSITION_SCHEMA
from tests.reporting.figures import Page
from tests.reporting.samples import made, side

SETTINGS = Settings(currency="EUR")
NOW, BEFORE = date(2026, 2, 1), date(2026, 1, 1)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings have tests of their own, and take seconds."""
    monkeypatch.setattr("engine.reporting.page.draw", lambda *_: "<svg></svg>")


@pytest.fixture(scope="module")
def cards(facts: Facts) -> dict[str, Card]:
    return {card.file.stem: card for card in cards_of(facts, SETTINGS)}


def said(card: Card, language: str = "en") -> list[str]:
    voice = voice_of(card.report, language)  # type: ignore[arg-type]
    found = [voice.put(card.report.title)]
    for section in card.report.sections:
        found += [voice.put(line) for line in (section.title, *section.sentences, *section.alarms)]
        found += [] if section.missing is None else [voice.put(section.missing)]
        found += [
            voice.put(line)
            for figure in section.figures
            for line in (figure.title, figure.definition, *(field.label for field in figure.fields))
        ]
    return found


def test_every_model_and_every_segment_has_one(cards: dict[str, Card], facts: Facts) -> None:
    assert facts.bundle is not None
    assert len(cards) == len(facts.bundle.models) + len(facts.now.sizes)
    for card in cards.values():
        assert all(said(card)), card.file
        assert all(said(card, "fr")), card.file
        keys = [figure.key for section in card.report.sections for figure in section.figures]
        assert len(keys) == len(set(keys))


def test_the_card_of_a_model_is_of_it_alone(cards: dict[str, Card], facts: Facts) -> None:
    assert facts.bundle is not None
    target = facts.bundle.models[0].spec.target
    card = cards[f"target={target.name}"]
    assert f"Model: {target.name}" in said(card)
    assert any(target.event in line for line in said(card))
    assert [model.spec.target.name for model in (only(facts, target.name).bundle or facts.bundle).models] == [
        target.name
    ]


def test_a_page(cards: dict[str, Card], facts: Facts) -> None:
    card = next(card for stem, card in cards.items() if stem.startswith("segment=") and "every" in stem)
    html = card_page(card, facts)
    found = Page(html)
    assert {"../index.html", f"../as_of%3D{facts.as_of}.html"} <= set(found.all("href"))
    assert "<b>every</b>" not in html
    assert "Segment: <b>every</b> & 'one'" in "".join(found.text)
    assert len(found.all("id")) == len(set(found.all("id")))


def test_a_segment_of_few_people_shows_nothing() -> None:
    found = made(side(NOW, 103, {"champions": (80, 5.0), "lost": (20, 1.0), "few": (3, 2.0)}))
    for name in ("few", "lost"):
        assert [tile.number.value for tile in segment_tiles(found, name)] == [None, None]
        assert [figure for section in segment_sections(found, name) for figure in section.figures] == []
    assert segment_tiles(found, "champions")[0].number.value == 80


def test_figures_of_few_people_are_hidden() -> None:
    figures = {
        "champions": {"buyers": 4, "conversion": 0.05, "revenue": 99.0, "delivered": 60, "opens": 30, "open_rate": 0.5}
    }
    found = made(side(NOW, 80, {"champions": (80, 5.0)}, figures=figures))
    [table, *_] = [figure.table for section in segment_sections(found, "champions") for figure in section.figures]
    row = table.row(0, named=True)
    assert row["open_rate"] == 0.5
    assert row["users"] == 80
    assert all(row.get(name) is None for name in ("buyers", "conversion", "revenue"))


def test_composition_shows_what_is_unlike_all_users() -> None:
    rows = [
        ("champions", "country", name, users, users / 80, users / 100, psi, 0.1, 1.0, 2)
        for name, users, psi in (("FR", 45, 0.4), ("DE", 30, 0.4), ("XX", 5, 0.4))
    ] + [("champions", "age", "[0, 1)", 80, 1.0, 1.0, 0.01, 0.1, 0.0, 0)]
    frame = pl.DataFrame(rows, COMPOSITION_SCHEMA, orient="row")
    found = made(side(NOW, 100, {"champions": (80, 5.0), "others": (20, 1.0)}, segment_composition=frame))
    [composition] = [section for section in segment_sections(found, "champions") if section.key == "composition"]
    [figure] = composition.figures
    shown = figure.table.filter(pl.col("side") == "this")
    assert dict(zip(shown["bin"], shown["share"], strict=True)) == {"FR": 45 / 80, "DE": None, "XX": None}
