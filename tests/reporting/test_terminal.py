from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.config_report import Report as Settings
from engine.reporting.facts import Facts
from engine.reporting.page import voice_of
from engine.reporting.report import report_of
from engine.reporting.terminal import aligned, lines, segment_lines
from engine.reporting.words import Voice
from tests.reporting.samples import made, side

NOW, BEFORE = date(2026, 2, 1), date(2026, 1, 1)


def told(facts: Facts, language: str = "en", *audiences: str) -> list[str]:
    report = report_of(facts, Settings())
    voice: Voice = voice_of(report, language)  # type: ignore[arg-type]
    return list(lines(report, facts, voice, audiences or ("manager",)))  # type: ignore[arg-type]


def test_the_table_of_segments(facts: Facts) -> None:
    said = told(facts)
    place = next(place for place, line in enumerate(said) if line.startswith("segment "))
    assert said[place].split() == ["segment", "users", "share", "change", "per", "head", "trend"]
    largest = segment_lines(facts)[0]
    assert len(largest.trend) == 3
    assert said[place + 1].split()[-1].strip("▁▂▃▄▅▆▇█·") == ""


def test_sentences_are_those_of_the_page(facts: Facts) -> None:
    report = report_of(facts, Settings())
    for language in ("en", "fr"):
        voice = voice_of(report, language)
        said = told(facts, language)
        for section in report.sections:
            here = section.audience == "manager"
            assert all((f"  • {voice.sentence(sentence)}" in said) == here for sentence in section.sentences)
            assert all(f"▲ {voice.sentence(alarm)}" in said for alarm in section.alarms)
    everything = told(facts, "en", "manager", "scientist", "engineer")
    assert len(everything) > len(told(facts)) + 5


def test_small_segments_and_their_changes_are_not_told() -> None:
    now = side(NOW, 123, {"champions": (100, 5.0), "lost": (20, 1.0), "few": (3, None)})
    found = made(now, side(BEFORE, 120, {"champions": (90, 5.0), "lost": (30, 1.0)}))
    by_name = {line.segment: line for line in segment_lines(found)}
    assert (by_name["champions"].users, by_name["champions"].change) == (100, 10)
    assert by_name["few"].users is by_name["lost"].users is None
    assert by_name["few"].share is by_name["lost"].change is by_name["lost"].value is None
    said = told(found)
    assert any("fewer than 10 people" in line for line in said)
    assert not any(" 3 " in line for line in said if line.startswith("few"))


@pytest.mark.parametrize("users", [0, 5])
def test_nobody(users: int) -> None:
    assert segment_lines(made(side(NOW, max(users, 1), {}))) == ()


def test_columns_are_aligned_for_wide_letters_and_marks() -> None:
    rows = [["名前", "9"], ["e\u0301", "10"], ["abcdef", "1,234"]]
    assert list(aligned(rows, left={"a"}, heads=["a", "b"])) == [
        "名前        9",
        "e\u0301          10",
        "abcdef  1,234",
    ]


def test_facts_of_one_date_have_no_trend(published: Path) -> None:
    line = segment_lines(made(side(NOW, 100, {"champions": (100, 5.0)})))[0]
    assert (line.trend, line.change, line.share) == ((), None, 1.0)
