from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from engine.config_report import Report as Settings
from engine.errors import ConfigError
from engine.reporting.facts import Facts
from engine.reporting.model import Report
from engine.reporting.page import page, voice_of
from engine.reporting.report import make_report, report_of, shown_count
from engine.reporting.sections import SECTIONS
from engine.reporting.tables import figures_of
from engine.reporting.words import LANGUAGES
from tests.reporting.samples import DATES, made, moved, side

SETTINGS = Settings(currency="EUR")
NOW, BEFORE = date(2026, 2, 1), date(2026, 1, 1)


def words(report: Report) -> list[str]:
    said = []
    for language in LANGUAGES:
        voice = voice_of(report, language)
        said += [voice.put(report.title), *map(voice.put, report.subtitle), *map(voice.put, report.footer)]
        said += [f"{voice.number(tile.number)} {voice.put(tile.label)}" for tile in report.tiles]
        for section in report.sections:
            said += [voice.put(line) for line in (section.title, *section.sentences, *section.alarms)]
            said += [] if section.missing is None else [voice.put(section.missing)]
            for figure in section.figures:
                said += [voice.put(line) for line in (figure.title, figure.definition)]
                said += [voice.put(field.label) for field in figure.fields]
    return said


@pytest.fixture(scope="module")
def report(facts: Facts) -> Report:
    return report_of(facts, SETTINGS)


def test_what_a_reader_sees_first(report: Report) -> None:
    said = words(report)
    assert said[:2] == ["Segments on 15 March 2026", "Compared with 8 March 2026."]
    assert any(re.fullmatch(r"240 users?", line) for line in said)
    assert "Segments au 15 mars 2026" in said


def test_the_same_state_gives_the_same_report(published: Path, report: Report) -> None:
    assert words(make_report(published, DATES[-1], None, SETTINGS)) == words(report)


def test_keys_are_unique_and_fit_for_files(report: Report) -> None:
    assert len(report.sections) == len(SECTIONS)
    sections, figures = [section.key for section in report.sections], [figure.key for figure in figures_of(report)]
    for keys in (sections, figures):
        assert len(set(keys)) == len(keys)
        assert [key for key in keys if not re.fullmatch(r"[a-z0-9_]+", key)] == []
    assert set(sections) & set(figures) == set()


def test_readers_follow_each_other(report: Report) -> None:
    audiences = [section.audience for section in report.sections]
    assert list(dict.fromkeys(audiences)) == ["manager", "scientist", "engineer"]
    assert audiences == sorted(audiences, key=["manager", "scientist", "engineer"].index)


def test_fields_are_columns_and_the_axes_are_fields(report: Report) -> None:
    for figure in figures_of(report):
        shown = [field.column for field in figure.fields]
        assert set(shown) <= set(figure.table.columns), figure.key
        if figure.kind != "none":
            assert {figure.x, figure.y} <= set(shown), figure.key


def test_rows_of_few_people_are_not_shown(report: Report) -> None:
    for figure in figures_of(report):
        if figure.users is not None:
            users = figure.table[figure.users].drop_nulls()
            assert users.filter((users > 0) & (users < SETTINGS.min_cell)).is_empty(), figure.key


def test_every_earlier_date_can_be_compared_with(published: Path) -> None:
    first = make_report(published, DATES[-1], DATES[0], SETTINGS)
    assert "Compared with 1 March 2026." in words(first)
    alone = make_report(published, DATES[0], None, SETTINGS)
    assert "The first published date: there is nothing to compare with." in words(alone)
    with pytest.raises(ConfigError) as caught:
        make_report(published, date(2020, 1, 1), None, SETTINGS)
    assert caught.value.code == "report-date"


def bad(case: str) -> Facts:
    segments = {
        "one": {"champions": (90, 20.0)},
        "nobody": {},
        "few": {"champions": (3, 20.0), "lost": (2, None)},
        "markup": {"<script>alert(1)</script>": (50, 1.0), "عملاء": (40, None)},
        "many": {f"segment {place}": (10 + place, float(place)) for place in range(200)},
    }[case]
    users = sum(count for count, _ in segments.values())
    if case == "nobody":
        empty = side(NOW, 1, {})
        tables = {name: frame.clear() for name, frame in empty.tables.items()}
        object.__setattr__(empty, "tables", tables)
        empty.manifest.counts["users"] = 0
        return made(empty)
    earlier = {name: (count + 1, value) for name, (count, value) in segments.items()}
    counts = moved(BEFORE, {}, dict.fromkeys(segments, 1))
    return made(side(NOW, users, segments, counts=counts), side(BEFORE, users + len(segments), earlier))


@pytest.mark.parametrize("case", ["one", "nobody", "few", "markup", "many"])
def test_bad_input_gives_a_page_that_says_what_is_missing(case: str) -> None:
    found = report_of(bad(case), SETTINGS)
    assert [line for line in words(found) if "{" in line] == []
    assert any(section.missing is not None for section in found.sections)
    html = page(found)
    assert len(html.encode()) < 5_000_000
    assert "<script" not in html


def test_an_older_runs_files() -> None:
    facts = bad("one")
    object.__setattr__(facts.now, "tables", {})
    facts.now.manifest.counts["segments"] = {"champions": {"users": 90}}
    facts.now.manifest.counts["memberships"] = {"champions": 90}
    assert any("champions" in line or "Champions" in line for line in words(report_of(facts, SETTINGS)))


@pytest.mark.parametrize(("users", "shown"), [(None, None), (0, 0), (1, None), (9, None), (10, 10)])
def test_small_totals(users: int | None, shown: int | None) -> None:
    assert shown_count(users, 10) == shown
