"""docs/rules.md is true: its rules are understood, its configurations valid, its cut-offs and limits the real ones.

Rules are marked by where they stand: every code span in a column headed `rule`, every block of sql, and `where` and
`value` in blocks of toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from engine.config_file import load_config
from engine.config_segments import Guards
from engine.rules.problems import Problem
from engine.rules.read import Scope, read_rule, read_value
from engine.segments.definitions import definitions
from engine.segments.lifecycle import CUTOFFS
from engine.why.lint import checked_rules
from tests.email_sample import settings, write_log

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
PLACEHOLDERS = ("…", "plan_changed")
"""Rules with one of these are about a log that configs/email.toml has not."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def tables() -> Iterator[list[list[str]]]:
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE, flags=re.MULTILINE):
        yield [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def spans(heading: str) -> list[str]:
    found = []
    for head, _, *rows in tables():
        if heading in head:
            found += [span for row in rows for span in re.findall(r"`([^`]+)`", row[head.index(heading)])]
    return found


def settings_of(block: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entry in tomllib.loads(block).items():
        for one in entry if isinstance(entry, list) else [entry]:
            if isinstance(one, dict):
                yield key, one


def rules() -> list[str]:
    toml = [entry["where"] for block in blocks("toml") for _, entry in settings_of(block) if "where" in entry]
    found = [*spans("rule"), *blocks("sql"), *toml]
    found += [rule["where"] for rule in point_rules() if "where" in rule and "event" not in rule]
    return [rule for rule in found if not any(word in rule for word in PLACEHOLDERS)]


def point_rules() -> list[dict[str, Any]]:
    return [rule for block in blocks("toml") for _, one in settings_of(block) for rule in one.get("rules", ())]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("page")
    write_log(folder)
    file = ROOT / "configs" / "email.toml"
    return load_config(file, overrides=settings(folder)).config


@pytest.fixture(scope="module")
def scope(config: Config) -> Scope:
    return checked_rules(config, definitions(config)).scope


def test_the_rules_of_the_page_are_found() -> None:
    assert len(rules()) >= 40
    assert "regularly('page_view', 3, 4, 7, page = 'blog')" in rules()


@pytest.mark.parametrize("rule", rules())
def test_a_rule_of_the_page_is_understood(rule: str, scope: Scope) -> None:
    assert read_rule(rule, scope).problems == ()


def test_numbers_of_the_page_are_understood(scope: Scope) -> None:
    values = [rule["value"] for rule in point_rules() if "value" in rule]
    problems: list[Problem] = [problem for value in values for problem in read_value(value, scope).problems]
    assert values
    assert problems == []


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_configuration_of_the_page_is_valid(block: str, config: Config) -> None:
    written = tomllib.loads(block)
    Config.model_validate({**config.model_dump(exclude={"segments", "guards", "rfm"}), **written})


def test_the_cut_offs_are_those_of_the_presets() -> None:
    told: dict[str, dict[str, float]] = {}
    preset = ""
    for head, _, *rows in tables():
        if head == ["preset", "stage", "when", "cut-offs"]:
            for name, _, _, cutoffs in rows:
                preset = name.strip("`") or preset
                pairs = re.findall(r"`(\w+) = ([\d.]+)`", cutoffs)
                told.setdefault(preset, {}).update({key: float(value) for key, value in pairs})
    assert told == CUTOFFS


def test_the_guards_are_all_there_with_their_limits() -> None:
    guards, limits = spans("guard"), dict(span.split(" = ") for span in spans("limit"))
    assert {*guards, *limits} == set(Guards.model_fields)
    assert {name: float(value) for name, value in limits.items()} == {name: getattr(Guards(), name) for name in limits}
