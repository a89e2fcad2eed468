from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from engine.config import Exclude
from engine.errors import ConfigError
from engine.events.exclusion import is_excluded


def excluded(ids: pl.Series, **fields: Any) -> list[bool]:
    frame = pl.DataFrame({"id": ids})
    done = frame.select("id", out=is_excluded(Exclude(**fields), pl.col("id"), ids.dtype))["out"]
    assert done.dtype == pl.Boolean
    return done.to_list()


TEXTS = pl.Series(["a", "bob@test.example", "7", "07", "", None, "Île"])
NUMBERS = pl.Series([7, 70, -7, 0, None])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"user_ids": ("a", 7, "nobody")}, "a 7"),
        ({"user_ids": ("7", 7)}, "7"),
        ({"pattern": r"@test\.example$"}, "bob@test.example"),
        ({"pattern": "^.$"}, "a 7"),
        ({"pattern": "(?i)^Î"}, "Île"),
        ({"user_ids": ("07",), "pattern": "@"}, "bob@test.example 07"),
    ],
)
def test_ids_that_are_text(fields: dict[str, Any], expected: str) -> None:
    assert excluded(TEXTS, **fields) == [text in expected.split() for text in TEXTS]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"user_ids": (7, "-7", 2**63 - 1, -(2**63))}, [7, -7]),
        ({"pattern": "^7"}, [7, 70]),
        ({"pattern": "^-"}, [-7]),
        ({"user_ids": (0,), "pattern": "70"}, [70, 0]),
    ],
)
def test_ids_that_are_numbers(fields: dict[str, Any], expected: list[int]) -> None:
    assert excluded(NUMBERS, **fields) == [number in expected for number in NUMBERS]


def test_ids_that_no_user_can_have() -> None:
    with pytest.raises(ConfigError) as caught:
        excluded(NUMBERS, user_ids=("a", 7, "07", "1.0", "", 2**63))
    assert caught.value.code == "exclude-user-ids"
    assert caught.value.message.endswith("5 of those listed, by their place in the list: 1, 3, 4, 5, 6")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(", "unclosed group"),
        ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
        ("a{999999999}", "Compiled regex exceeds size limit of 10485760 bytes."),
    ],
)
def test_patterns_that_are_none(pattern: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Exclude(pattern=pattern)
    [problem] = caught.value.errors()
    assert str(problem["ctx"]["error"]) == f"expected a regular expression, got {pattern!r}: {reason}"


def test_an_empty_pattern_would_exclude_everyone() -> None:
    with pytest.raises(ValidationError):
        Exclude(pattern="")
