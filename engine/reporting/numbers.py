"""Numbers and dates as the readers of a language write them."""

from __future__ import annotations

import math
from datetime import date
from typing import Final, Literal

from engine.errors import ConfigError
from engine.reporting.message import Quantity

Language = Literal["en", "fr"]

DASH: Final = "–"
"""Stands for a number that is not known."""

_LOCALES: Final = {"en": "en_GB", "fr": "fr_FR"}
THIN: Final = "\u202f"
"""The space between a number and its mark, and between thousands in French."""
_BYTES: Final = {"en": ("B", "kB", "MB", "GB", "TB"), "fr": ("o", "ko", "Mo", "Go", "To")}
_POINTS: Final = {"en": ("point", "points"), "fr": ("point", "points")}
_DAYS: Final = {"en": ("day", "days"), "fr": ("jour", "jours")}


def written(quantity: Quantity, language: Language, currency: str = "") -> str:
    """A number with its unit.

    Args:
        quantity: The number.
        language: How it is written.
        currency: ISO code of amounts; they are plain numbers without one.
    """
    value = quantity.value
    if value is None or math.isnan(value):
        return DASH
    sign = "+" if quantity.signed and value > 0 else ""
    return sign + _with_unit(value, quantity.unit, language, currency)


def day_text(day: date, language: Language) -> str:
    """A date in full: `1 December 2017`, `1er décembre 2017`."""
    return _first(day, "d MMMM y", language)


def short_day(day: date, language: Language) -> str:
    """A date as an axis has room for it: `1 Dec 2017`, `1er déc. 2017`."""
    return _first(day, "d MMM y", language)


def _first(day: date, pattern: str, language: Language) -> str:
    try:
        from babel.dates import format_date
    except ImportError as error:
        raise missing_extra("babel") from error
    # The first day of a month is an ordinal in French, which no pattern of the locale knows.
    pattern = pattern.replace("d ", "d'er' ", 1) if language == "fr" and day.day == 1 else pattern
    return format_date(day, pattern, locale=_LOCALES[language])


def is_singular(value: float, language: Language) -> bool:
    """Whether a number takes the singular: 1 alone in English, everything below 2 in French."""
    return abs(value) < 2 if language == "fr" else abs(value) == 1


def missing_extra(package: str) -> ConfigError:
    """The error of a report whose libraries are not installed."""
    return ConfigError(
        f"a report needs the package {package}, which is not installed",
        code="report-extra-missing",
        hint="Install it with: pip install 'tamis[report]'",
    )


def _with_unit(value: float, unit: str, language: Language, currency: str) -> str:
    if unit == "money":
        return _money(value, language, currency)
    if unit == "seconds":
        return _seconds(value, language)
    if unit == "bytes":
        return _bytes(value, language)
    digits = {"count": 0, "share": 1, "points": 1, "days": 0, "factor": 2, "ordinal": 0}.get(unit, _digits(value))
    shown = round(value * 100 if unit in {"share", "points"} else value, digits)
    number = str(round(value)) if unit == "ordinal" else _decimal(shown, digits, language)
    return number + _mark(shown, unit, language)


def _mark(shown: float, unit: str, language: Language) -> str:
    many = not is_singular(shown, language)
    return {
        "share": f"{THIN}%" if language == "fr" else "%",
        "points": f" {_POINTS[language][many]}",
        "days": f" {_DAYS[language][many]}",
        "factor": f"{THIN}×",
    }.get(unit, "")


def _digits(value: float) -> int:
    if float(value).is_integer() or abs(value) >= 1000:
        return 0
    return 3 if abs(value) < 1 else 2


def _decimal(value: float, digits: int, language: Language) -> str:
    try:
        from babel.numbers import format_decimal
    except ImportError as error:
        raise missing_extra("babel") from error

    # A minus of its own would be left of a number that rounds to nothing.
    return format_decimal(round(value, digits) + 0.0, _pattern(digits), locale=_LOCALES[language])


def _pattern(digits: int) -> str:
    return "#,##0" + ("." + "0" * digits if digits else "")


def _money(value: float, language: Language, currency: str) -> str:
    digits = 0 if abs(value) >= 1000 else 2
    if not currency:
        return _decimal(value, digits, language)
    from babel.numbers import format_currency

    pattern = f"{_pattern(digits)}\u00a0¤" if language == "fr" else f"¤{_pattern(digits)}"
    rounded = round(value, digits) + 0.0
    return format_currency(rounded, currency, pattern, locale=_LOCALES[language], currency_digits=False)


def _seconds(value: float, language: Language) -> str:
    if value < 60:
        return f"{_decimal(value, 1, language)} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _bytes(value: float, language: Language) -> str:
    step = 0
    while abs(value) >= 1000 and step < len(_BYTES[language]) - 1:
        value /= 1000
        step += 1
    return f"{_decimal(value, 1 if step and abs(value) < 100 else 0, language)} {_BYTES[language][step]}"
