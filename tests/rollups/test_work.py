from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.config import Source
from engine.rollups.index import Code
from engine.rollups.units import Unit
from engine.rollups.work import RollSettings
from tests.rollups.stores import source_of

CODES = (Code("buy"), Code("open"), Code("buy", "amount > 5"))
SETTINGS = RollSettings("out", source_of, "UTC", 2, CODES, (0, 2))  # type: ignore[arg-type]


def settings(name: str = "log", **changes: Any) -> RollSettings:
    source: Source = source_of("x", name)  # type: ignore[arg-type]
    return replace(SETTINGS, source=source, **changes)


def stem(label: str = "2026-03-01", fingerprint: str = "f", **changes: Any) -> str:
    return settings(**changes).stem(Unit(0, label, ()), fingerprint)


@pytest.mark.parametrize(
    ("name", "label", "start"),
    [
        ("log", "2026-03-01", "log-2026-03-01-"),
        ("my shop / é", "", "my-shop--all-"),
        ("x" * 99, "2026-03-01", "x" * 40 + "-2026-03-01-"),
        ("log", "/a/b/c.pqt", "log-"),
        ("log", "/log/2026-03-01.parquet", "log-"),
    ],
)
def test_files_are_named_after_their_unit(name: str, label: str, start: str) -> None:
    named = stem(label, name=name)
    assert named.startswith(start)
    assert "/" not in named
    assert len(named) < 80


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "g"},
        {"label": "2026-03-02"},
        {"coded": (0,)},
        # The same numbers may stand for something else after a run that was killed.
        {"codes": (Code("open"), Code("buy"), CODES[2])},
        {"codes": (*CODES[:2], Code("buy", "amount > 6"))},
        {"event_types": ("buy",)},
        {"event_columns": ("amount",)},
        {"rekeyed": (("u", 1),)},
        {"links": "links/x.parquet"},
    ],
)
def test_other_content_has_another_name(changes: dict[str, Any]) -> None:
    assert stem(**changes) != stem()


def test_codes_that_are_not_rolled_up_do_not_matter() -> None:
    assert stem(codes=(CODES[0], Code("never"), CODES[2], Code("more"))) == stem()


def test_plain_and_derived_codes() -> None:
    assert settings().plain() == {"buy": 0}
    [(code, _, columns)] = settings().derived()
    assert (code, columns) == (2, ("amount",))
