from __future__ import annotations

from pathlib import Path

import pytest

from engine.history.warning_codes import FRAGMENTS, warning_code
from engine.stages.notices import missing_types

ROOT = Path(__file__).parents[2]


def test_every_fragment_is_what_some_part_of_the_engine_says() -> None:
    sources = [path for path in sorted((ROOT / "engine").rglob("*.py")) if path.name != "warning_codes.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert [words for _, words in FRAGMENTS if words not in text] == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("guard jump: 'warm': 1 user, 10 in the run of 2026-01-01", "guard-jump"),
        ("guard empty (accepted): nobody is in 'x'", "guard-empty"),
        (missing_types(["open"])[0], "event-type-missing"),
        ("target 'buys': the model of bundle b stays, the new one did not pass its gate: AUC", "model-kept"),
        ("model 'buys' did not pass its gate: AUC 0.5; do not rely on its scores", "model-weak"),
        ("something new", "warning"),
    ],
)
def test_codes(message: str, code: str) -> None:
    assert warning_code(message) == code


def test_codes_stand_once() -> None:
    codes = [code for code, _ in FRAGMENTS]
    assert len(codes) == len(set(codes))
