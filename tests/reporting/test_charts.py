from __future__ import annotations

import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.reporting.charts import draw
from engine.reporting.drawing import Width, cell
from engine.reporting.message import say
from engine.reporting.model import Field, Kind
from engine.reporting.words import Voice
from tests.reporting.figures import KINDS, LONG, MARKUP, NAMES, RIGHT_TO_LEFT, figure

DRAWN = [kind for kind in KINDS if kind != "none"]
ENGLISH, FRENCH = Voice("en"), Voice("fr")


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - drawn here


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in parsed(svg).iter() if node.tag.endswith("}text")]


def titles(svg: str) -> list[str]:
    return [node.text or "" for node in parsed(svg).iter() if node.tag.endswith("}title")]


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_every_kind_is_an_image_in_colours_of_the_page(kind: Kind, width: Width) -> None:
    svg = draw(figure(kind), ENGLISH, width)
    root = parsed(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Users")
    # A matrix is as wide as its numbers need: the page scrolls it.
    widest = 780 if width == "wide" else 450 if kind == "heat" else 330
    assert float(root.get("width", "0")) <= widest
    assert "<script" not in svg
    assert re.findall(r"""(?:href|src)=|url\((?!#)|@import""", svg) == []
    assert "var(--series-1)" in svg or kind == "heat"
    assert {colour for colour in re.findall(r'(?:fill|stroke)="([^"]+)"', svg) if colour.startswith("#")} <= {"#000"}


@pytest.mark.parametrize("kind", DRAWN)
def test_the_same_figure_gives_the_same_drawing(kind: Kind) -> None:
    assert draw(figure(kind), FRENCH) == draw(figure(kind), FRENCH)


@pytest.mark.parametrize("kind", [kind for kind in DRAWN if kind != "calibration"])
def test_marks_tell_their_numbers(kind: Kind) -> None:
    told = titles(draw(figure(kind), ENGLISH))
    assert any("Segment: Champions" in title and "Users: " in title for title in told)
    assert any(MARKUP in title for title in told)
    assert any(RIGHT_TO_LEFT in title for title in told)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_without_rows(kind: Kind) -> None:
    empty = figure(kind)
    assert draw(replace(empty, table=empty.table.clear()), ENGLISH) == ""


def test_a_table_alone_is_not_drawn() -> None:
    assert draw(figure("none"), ENGLISH) == ""


@pytest.mark.parametrize("kind", DRAWN)
def test_two_hundred_names(kind: Kind) -> None:
    svg = draw(figure(kind, tuple(f"segment {place}" for place in range(200))), ENGLISH)
    assert len(svg) < 400_000
    assert "clipPath" not in svg or svg.count("<clipPath") == 1


def test_negative_numbers_have_their_text_on_the_other_side() -> None:
    svg = draw(figure("bars"), ENGLISH)
    anchors = {text: anchor for anchor, text in re.findall(r'text-anchor="(\w+)"[^>]*>(-?\d+)<', svg)}
    assert anchors["50"] == "start"
    assert anchors["-10"] == "end"


def test_numbers_of_bars_end_within_the_drawing() -> None:
    svg = draw(figure("bars"), ENGLISH, "narrow")
    places = [float(x) for x in re.findall(r'text-anchor="start" transform="translate\(([\d.]+)', svg)]
    assert max(places) + len("50") * 7.4 < 320


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_long_names_are_broken_into_lines(width: Width) -> None:
    said = texts(draw(figure("bars"), ENGLISH, width))
    lines = [text for text in said if text and text != LONG and text.strip("… ") in LONG]
    assert len(said) > len(NAMES)
    assert max(map(len, said)) <= (len(LONG) if not lines else 60)


def test_days_of_an_axis_are_short_and_those_of_a_mark_in_full() -> None:
    svg = draw(figure("lines"), FRENCH)
    assert "1er févr. 2026" in texts(svg)
    assert any("1er février 2026" in title for title in titles(svg))


@pytest.mark.parametrize(("voice", "text"), [(ENGLISH, "40%"), (FRENCH, "40\u202f%")])
def test_axes_are_written_in_the_language(voice: Voice, text: str) -> None:
    assert any(text in said for said in texts(draw(figure("dots"), voice)))


def test_without_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match="vl-convert-python") as caught:
        draw(figure("bars"), ENGLISH)
    assert caught.value.code == "report-extra-missing"
    assert "pip install 'tamis[report]'" in caught.value.hint


@pytest.mark.parametrize(
    ("unit", "value", "english", "french"),
    [
        ("share", 0.125, "12.5%", "12,5\u202f%"),
        ("money", 3336.35, "€3,336", "3\u202f336\u00a0€"),
        ("count", None, "–", "–"),
        (None, "champions", "Champions", "Champions"),
        (None, "at_Risk", "At risk", "À risque"),
        (None, pl.Series([1]).to_list()[0], "1", "1"),
    ],
)
def test_cells(unit: str | None, value: object, english: str, french: str) -> None:
    field = Field("x", say("index.users"), unit, "segment")  # type: ignore[arg-type]
    assert cell(field, value, Voice("en", "EUR")) == english
    assert cell(field, value, Voice("fr", "EUR")) == french
