"""What a feature's value does to a probability, in words: `3 purchases in the last 30 days raise the probability`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.propensity.wording import Wording, Words, elide, inflect, shown

if TYPE_CHECKING:
    from engine.features.feature import Feature

Value = str | int | float | bool | None
_MAX_DECIMALS = 2


def sentence(name: str, value: Value, wording: Wording, *, raises: bool) -> str:
    """The sentence for one feature of one user.

    Args:
        name: The column: a feature, or a contact attribute.
        value: The user's value; None when it is missing.
        wording: From `engine.propensity.wording.wording`.
        raises: Whether it raises the probability; else it lowers it.
    """
    words = wording.words
    said, plural = _subject(name, value, wording)
    verb = inflect(words.raises if raises else words.lowers, plural=plural)
    whole = shown(f"{said} {verb}")
    return whole[:1].upper() + whole[1:]


def plain_value(value: Value) -> str | None:
    """A value as text that is the same in every language: whole numbers as such, others with four decimals."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return None if value is None else str(value)


def _subject(name: str, value: Value, wording: Wording) -> tuple[str, bool]:
    """What is said of a value, and whether it is a plural."""
    words, text, feature = wording.words, wording.texts.get(name), wording.features.get(name)
    if text is None or feature is None or isinstance(value, str | bool):
        return _attribute(name, value, words), False
    when = _when(feature, text, words)
    text = text.replace("{w}", str(feature.window_days))
    if feature.unit == "flag":
        yes, _, no = text.partition("|")
        return f"{yes if value else no}{when}", False
    if "~" in text:
        return f"{_measure(text, value, feature, wording)}{when}", False
    counted, _, never = text.partition("|")
    if value is None:
        unknown = words.unknown_count.replace("{many}", inflect(counted, plural=True))
        return never or f"{elide(unknown, words)}{when}", False
    plural = _is_plural(value, words)
    return f"{_number(value, words)} {inflect(counted, plural=plural)}{when}", plural


def _attribute(name: str, value: Value, words: Words) -> str:
    if value is None:
        return words.missing.format(name=name)
    if isinstance(value, str | bool):
        return words.attribute.format(name=name, value=words.quoted.format(text=plain_value(value)))
    return words.attribute.format(name=name, value=_number(value, words))


def _when(feature: Feature, text: str, words: Words) -> str:
    if "{w}" in text:
        return ""
    if feature.window_days is None:
        return f" {words.total}" if feature.name.endswith("_total") else ""
    window = inflect(words.window, plural=feature.window_days > 1)
    return f" {window.replace('{w}', str(feature.window_days))}"


def _measure(text: str, value: float | None, feature: Feature, wording: Wording) -> str:
    words = wording.words
    head, _, tail = text.partition("~")
    if value is None:
        known = words.unknown_measure.replace("{head}", head.rstrip(" ,"))
        return f"{known}e" if head.startswith("une ") else known
    if "{#}" in tail:
        return head + tail.replace("{#}", _number(value, words))
    return head + tail.replace("{}", _with_unit(value, feature.unit, wording))


def _with_unit(value: float, unit: str, wording: Wording) -> str:
    words = wording.words
    match unit:
        case "ratio":
            return words.percent.replace("{}", _number(value * 100, words, decimals=1))
        case "money":
            return _number(value, words, decimals=wording.digits, fixed=True)
        case "month":
            return words.months[int(value) - 1]
        case "weekday":
            return words.weekdays[int(value) - 1]
        case "ms":
            value = value / 1000
    template = words.units.get(unit, "{}")
    return inflect(template, plural=_is_plural(value, words)).replace("{}", _number(value, words))


def _is_plural(value: float, words: Words) -> bool:
    return value != 1 and abs(value) >= words.plural_from


def _number(value: float, words: Words, *, decimals: int = _MAX_DECIMALS, fixed: bool = False) -> str:
    """A number with separators of thousands; without trailing zeros unless `fixed`."""
    if not math.isfinite(value):
        return str(value)
    text = f"{abs(value):,.{decimals}f}"
    if not fixed and "." in text:
        text = text.rstrip("0").rstrip(".")
    sign = "−" if value < 0 and text.strip("0.") else ""
    separators = str.maketrans({",": words.thousands, ".": words.decimal})
    return sign + text.translate(separators)
