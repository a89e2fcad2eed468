from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from jobs.app import app

ROOT = Path(__file__).parents[2]
LINES = [*(f"GD-{number:02d}" for number in range(1, 11)), *(f"DQ-{number:02d}" for number in range(1, 14))]
ROW = re.compile(r"^\| ((?:GD|DQ)-\d\d) \| [^|]+ \| [^|]+ \| (.+) \|$", re.MULTILINE)


def named_after(line: str) -> set[str]:
    """Files with a test whose name has the line in it."""
    name = re.compile(rf"^def test_(?:[a-z0-9]+_)*{line.lower().replace('-', '')}(?:_|\()", re.MULTILINE)
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return {path.relative_to(ROOT).as_posix() for path in files if name.search(path.read_text(encoding="utf-8"))}


def listed() -> dict[str, set[str]]:
    page = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    return {line: set(re.findall(r"`([^`]+)`", files)) for line, files in ROW.findall(page)}


def test_the_page_has_every_line() -> None:
    assert list(listed()) == LINES


@pytest.mark.parametrize("line", LINES)
def test_each_line_has_tests_and_the_page_says_where(line: str) -> None:
    assert named_after(line)
    assert listed()[line] == named_after(line)


def test_the_commands_of_the_page_are_there() -> None:
    page = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`tamis ([a-z]+)", page))
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert {"consent", "erase", "subject", "suppress", "retention"} <= named <= known
