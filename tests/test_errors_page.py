from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ExitCode
from jobs.app import _EXIT_CODES
from tests.sources import nodes_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
FROM_THE_CONSOLE = {"usage", "interrupted", "terminated", "out-of-memory", "disk-full", "permission-denied", "bug"}


def codes_raised() -> Iterator[tuple[str, str]]:
    for folder in ("engine", "jobs"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in nodes_of(file):
                if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                    yield str(node.value.value), str(file.relative_to(ROOT))


def codes_documented() -> list[str]:
    return re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_code_is_documented() -> None:
    documented = set(codes_documented())
    assert sorted({pair for pair in codes_raised() if pair[0] not in documented}) == []
    assert documented >= FROM_THE_CONSOLE


def test_every_documented_code_exists_and_stands_once() -> None:
    documented = codes_documented()
    assert sorted(documented) == sorted(set(documented))
    assert set(documented) <= {code for code, _ in codes_raised()} | FROM_THE_CONSOLE


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("DONE", 0),
        ("BUG", 1),
        ("USAGE", 2),
        ("DATA_REFUSED", 3),
        ("HELD", 4),
        ("CONFLICT", 5),
        ("RESOURCES", 6),
        ("INTEGRITY", 7),
        ("TRANSIENT", 75),
        ("INTERRUPTED", 130),
        ("TERMINATED", 143),
    ],
)
def test_exit_codes_are_frozen_and_documented(name: str, number: int) -> None:
    assert ExitCode[name] == number
    assert len(ExitCode) == 11
    assert re.search(rf"\b{number}\b", _EXIT_CODES)
