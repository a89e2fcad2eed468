"""A report as one HTML file: no script, no network, every language and both themes in it."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from engine.reporting.charts import draw
from engine.reporting.drawing import WHOLE, cell
from engine.reporting.message import Message
from engine.reporting.numbers import missing_extra
from engine.reporting.words import LANGUAGES, Voice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.reporting.model import Figure, Report, Section
    from engine.reporting.numbers import Language

OWN_NAMES: Final = {"en": "English", "fr": "Français"}
"""What a language calls itself."""

_WIDTH: Final = re.compile(r'<svg [^>]*?width="(\d+)"')
_CODE: Final = re.compile("`([^`]+)`")
_PHONE: Final = 340
"""Pixels beyond which a drawing is wider than a phone, and is scrolled."""

_WORDS: Final = ("light", "dark", "definition", "table", "contents", "skip", "all_dates")


def page(report: Report, *, index: str | None = None) -> str:
    """The HTML of a report; the same report gives the same text.

    Args:
        report: What it says.
        index: Relative address of the page of all dates, when there is one.

    Raises:
        ConfigError: The libraries that it needs are not installed.
    """
    views = [{**view_of(report, language), "index": index} for language in LANGUAGES]
    return render("report.html.j2", views=views, language=report.language)


def render(template: str, *, views: Sequence[dict[str, Any]], language: Language) -> str:
    """A page of a template that extends `base.html.j2`.

    Args:
        template: Name of the template.
        views: What it shows, by language: `language`, `title`, and what the template asks for.
        language: The language that is shown first.
    """
    shared = {"css": _safe(_text("page.css")), "switches_label": "Language and theme · Langue et thème"}
    common = [{**view, "own_name": OWN_NAMES[view["language"]]} for view in views]
    return str(_environment().render_template(template, views=common, language=language, **shared))


def voice_of(report: Report, language: Language) -> Voice:
    """The language of a report with its currency and its names."""
    return Voice(language, report.currency, report.names.get(language, {}))


def words_of(voice: Voice) -> dict[str, str]:
    """The words of the page itself."""
    return {word: voice.put(Message(f"page.{word}")) for word in _WORDS}


def section_view(section: Section, voice: Voice) -> dict[str, Any]:
    """A section as its template shows it."""
    return {
        "key": section.key,
        "title": voice.put(section.title),
        "sentences": [_with_code(voice.sentence(sentence)) for sentence in section.sentences],
        "alarms": [_with_code(voice.sentence(alarm)) for alarm in section.alarms],
        "missing": None if section.missing is None else _with_code(voice.sentence(section.missing)),
        "figures": [figure_view(figure, voice) for figure in section.figures],
    }


def figure_view(figure: Figure, voice: Voice) -> dict[str, Any]:
    """A figure as its template shows it: drawings, and the table behind them in words."""
    narrow = draw(figure, voice, "narrow")
    return {
        "key": figure.key,
        "title": voice.sentence(figure.title),
        "definition": voice.put(figure.definition),
        "whole": figure.kind in WHOLE,
        "wide": _safe(draw(figure, voice, "wide")),
        "narrow": _safe(narrow),
        "scrolls": (found := _WIDTH.search(narrow)) is not None and int(found[1]) > _PHONE,
        "heads": [
            {
                "text": voice.put(field.label),
                "number": field.unit is not None or figure.table[field.column].dtype.is_numeric(),
            }
            for field in figure.fields
        ],
        "rows": [
            [cell(field, row[field.column], voice) for field in figure.fields]
            for row in figure.table.iter_rows(named=True)
        ],
    }


def view_of(report: Report, language: Language) -> dict[str, Any]:
    """A report in one language, as its template shows it."""
    voice = voice_of(report, language)
    return {
        "language": language,
        "title": voice.put(report.title),
        "subtitle": [voice.put(line) for line in report.subtitle],
        "tiles": [{"number": voice.number(tile.number), "label": voice.put(tile.label)} for tile in report.tiles],
        "parts": [
            {
                "title": voice.put(Message(f"page.for_{audience}")),
                "sections": [section_view(section, voice) for section in sections],
            }
            for audience, sections in groupby(report.sections, key=lambda section: section.audience)
        ],
        "footer": [voice.put(line) for line in report.footer],
        "words": words_of(voice),
    }


def _text(name: str) -> str:
    return (files("engine.reporting") / "templates" / name).read_text(encoding="utf-8")


def _with_code(text: str) -> Any:
    """A sentence whose parts in backticks are set as code."""
    return _safe(_CODE.sub(r"<code>\1</code>", escape(text)))


def _safe(markup: str) -> Any:
    return _minijinja().safe(markup)


@lru_cache
def _environment() -> Any:
    environment = _minijinja().Environment(loader=_text)
    environment.trim_blocks = True
    return environment


def _minijinja() -> Any:
    try:
        import minijinja
    except ImportError as error:
        raise missing_extra("minijinja") from error
    return minijinja
