from __future__ import annotations

import math
import sys
from datetime import date

import pytest

from engine.errors import ConfigError
from engine.reporting.message import Quantity, Unit
from engine.reporting.numbers import day_text, is_singular, short_day, written

NARROW, BROAD = "\u202f", "\u00a0"
CASES: list[tuple[float | None, Unit, bool, str, str]] = [
    (0, "count", False, "0", "0"),
    (1234567, "count", False, "1,234,567", f"1{NARROW}234{NARROW}567"),
    (-43, "count", True, "-43", "-43"),
    (43, "count", True, "+43", "+43"),
    (0, "count", True, "0", "0"),
    (None, "count", True, "–", "–"),
    (math.nan, "share", False, "–", "–"),
    (0.12, "share", False, "12.0%", f"12,0{NARROW}%"),
    (-0.0001, "share", True, "0.0%", f"0,0{NARROW}%"),
    (0.02, "points", True, "+2.0 points", "+2,0 points"),
    (0.01, "points", False, "1.0 point", "1,0 point"),
    (1, "days", False, "1 day", "1 jour"),
    (0, "days", False, "0 days", "0 jour"),
    (30, "days", False, "30 days", "30 jours"),
    (2.257, "factor", False, f"2.26{NARROW}×", f"2,26{NARROW}×"),
    (0.8864, "number", False, "0.886", "0,886"),
    (12.5, "number", False, "12.50", "12,50"),
    (12.0, "number", False, "12", "12"),
    (12345.6, "number", False, "12,346", f"12{NARROW}346"),
    (3, "ordinal", False, "3", "3"),
    (19.999, "money", False, "€20.00", f"20,00{BROAD}€"),
    (-3336.4, "money", True, "-€3,336", f"-3{NARROW}336{BROAD}€"),
    (0.25, "seconds", False, "0.2 s", "0,2 s"),
    (61, "seconds", False, "1 min 01 s", "1 min 01 s"),
    (7320, "seconds", False, "2 h 02 min", "2 h 02 min"),
    (999, "bytes", False, "999 B", "999 o"),
    (1500, "bytes", False, "1.5 kB", "1,5 ko"),
    (2.5e9, "bytes", False, "2.5 GB", "2,5 Go"),
]


@pytest.mark.parametrize(("value", "unit", "signed", "english", "french"), CASES)
def test_numbers(value: float | None, unit: Unit, signed: bool, english: str, french: str) -> None:
    quantity = Quantity(value, unit, signed)
    assert written(quantity, "en", "EUR") == english
    assert written(quantity, "fr", "EUR") == french


def test_amounts_without_a_currency_are_plain() -> None:
    assert written(Quantity(3336.35, "money"), "en") == "3,336"
    assert written(Quantity(36.35, "money"), "fr") == "36,35"


@pytest.mark.parametrize(
    ("day", "english", "french", "short"),
    [
        (date(2017, 12, 1), "1 December 2017", "1er décembre 2017", "1er déc. 2017"),
        (date(2017, 12, 31), "31 December 2017", "31 décembre 2017", "31 déc. 2017"),
        (date(2026, 8, 11), "11 August 2026", "11 août 2026", "11 août 2026"),
    ],
)
def test_days(day: date, english: str, french: str, short: str) -> None:
    assert (day_text(day, "en"), day_text(day, "fr"), short_day(day, "fr")) == (english, french, short)


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [(0, False, True), (1, True, True), (1.5, False, True), (2, False, False), (-1, True, True)],
)
def test_singular(value: float, english: bool, french: bool) -> None:
    assert (is_singular(value, "en"), is_singular(value, "fr")) == (english, french)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("babel", "babel.numbers", "babel.dates"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="babel"):
        written(Quantity(1), "en")
    with pytest.raises(ConfigError, match="babel"):
        day_text(date(2026, 1, 1), "fr")
