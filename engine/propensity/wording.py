"""What a feature's value is called in a sentence. The words of a language are in `engine.propensity.words_<language>`.

Texts have three forms:

    purchase[s]         a count, `1 purchase`, `3 purchases`; after `|` what a missing value means: `no purchase so far`
    an open rate ~of {} a measure and its value; `{#}` is a plain number where `{}` would be a percentage
    one thing|another   a flag (unit `flag`): what 1 and what 0 mean

`[x]` stands in the plural only, `[x/y]` is x in the singular and y in the plural. `{noun}` is the noun of an event type
with its brackets, `{one}` and `{many}` its two forms, `{last}` and `{none}` its singular after these words. The window
follows from the feature and is said at the end; a text with `{w}` says it itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.features.catalogue import catalogue

if TYPE_CHECKING:
    from engine.features.feature import Feature
    from engine.features.spec import EventType, FeatureSpec

Language = Literal["en", "fr"]
_SLOT = re.compile(r"\{([a-z]+)\}")
# Names of event types may hold any letter; those that mean something here pass as letters of private use.
_HIDDEN = {ord(letter): 0xE000 + place for place, letter in enumerate("[]/|~{}#")}
_SHOWN = {hidden: letter for letter, hidden in _HIDDEN.items()}
_BRACKETS = re.compile(r"\[([^\]/]*)(?:/([^\]]*))?\]")


@dataclass(frozen=True)
class Words:
    """The words of one language.

    Attributes:
        roles: Nouns of event types that have a role; after `|` the noun's own forms of `last` and `none`.
        of_types: Features with an event type in their name, `{slug}` for it.
        of_all: Features whose names are fixed, without the window.
        months, weekdays: Their names, from January and Monday on.
        machine: The noun of the events of machines.
        other: The noun of event types without a role.
        last, none: What `{last}` and `{none}` begin with.
        month_share, weekday_share: Shares by month and weekday.
        window, total: When: in a window, in the whole history.
        unknown_measure, unknown_count: A missing value.
        attribute, missing: A contact attribute or another column that the tables do not know.
        quoted: Text of the data.
        units: Values of measures by unit.
        percent, decimal, thousands: How numbers are written.
        raises, lowers: What it does.
        plural_from: Numbers of at least this size take the plural, apart from 1.
        elisions: What becomes of a word before a vowel.
    """

    roles: Mapping[str, str]
    of_types: Mapping[str, str]
    of_all: Mapping[str, str]
    months: tuple[str, ...]
    weekdays: tuple[str, ...]
    machine: str
    other: str
    last: str
    none: str
    month_share: str
    weekday_share: str
    window: str
    total: str
    unknown_measure: str
    unknown_count: str
    attribute: str
    missing: str
    quoted: str
    units: Mapping[str, str]
    percent: str
    decimal: str
    thousands: str
    raises: str
    lowers: str
    plural_from: int
    elisions: Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """How the features of a specification are told in one language.

    Attributes:
        texts: Text of each feature that the tables know.
        features: Every feature of the specification by name.
        digits: Decimals of an amount.
    """

    words: Words
    texts: Mapping[str, str]
    features: Mapping[str, Feature]
    digits: int


def wording(spec: FeatureSpec, language: Language) -> Wording:
    """The texts for the features of a specification."""
    words = _words(language)
    features = {feature.name: feature for feature in catalogue(spec)}
    stems = {**words.of_all, **_calendar(words), **dict(_by_type(spec, words))}
    texts = {name: stems[stem] for name, feature in features.items() if (stem := _stem(feature)) in stems}
    return Wording(words, texts, features, spec.currency_digits)


def _words(language: Language) -> Words:
    if language == "fr":
        from engine.propensity.words_fr import FRENCH

        return FRENCH
    from engine.propensity.words_en import ENGLISH

    return ENGLISH


def _stem(feature: Feature) -> str:
    window = "total" if feature.window_days is None else f"{feature.window_days}d"
    return feature.name.removesuffix(f"_{window}")


def _calendar(words: Words) -> dict[str, str]:
    english = _words("en").weekdays
    return {
        f"{name.lower()}_share": words.weekday_share.replace("{weekday}", own)
        for name, own in zip(english, words.weekdays, strict=True)
    }


def _by_type(spec: FeatureSpec, words: Words) -> Iterator[tuple[str, str]]:
    shares = {
        f"{{slug}}_share_month_{number:02d}": words.month_share.replace("{month}", month)
        for number, month in enumerate(words.months, 1)
    }
    for event_type in spec.types:
        noun, last, none = _noun(event_type, spec, words)
        one = inflect(noun, plural=False)
        forms = {"noun": noun, "one": one, "many": inflect(noun, plural=True), "last": f"{last} {one}"}
        forms["none"] = f"{none} {one}"
        for stem, text in {**words.of_types, **shares}.items():
            filled = elide(_SLOT.sub(lambda match: forms.get(match[1], match[0]), text), words)  # noqa: B023 - at once
            name = event_type.name.translate(_HIDDEN)
            yield stem.replace("{slug}", event_type.slug), filled.replace("{name}", name)


def _noun(event_type: EventType, spec: FeatureSpec, words: Words) -> tuple[str, str, str]:
    """The noun of an event type, and the words for the last one and for none."""
    for role, entry in words.roles.items():
        name = getattr(spec, role, None)
        noun, _, forms = entry.partition("|")
        last, none = forms.split("|") if forms else (words.last, words.none)
        if name == event_type.name:
            return noun, last, none
        if spec.machine(name) == event_type.name:
            return words.machine.replace("{noun}", noun), last, none
    return words.other, words.last, words.none


def elide(text: str, words: Words) -> str:
    """A text with the words before a vowel in their short form."""
    for word, short in words.elisions.items():
        text = re.sub(rf"\b{word}(?=[aeiouyéèê])", short, text)
    return text


def shown(text: str) -> str:
    """A text in which the letters of the data that mean something in the tables are themselves again."""
    return text.translate(_SHOWN)


def inflect(text: str, *, plural: bool) -> str:
    """A text with its brackets resolved."""

    def chosen(match: re.Match[str]) -> str:
        first, second = match.groups()
        if second is None:
            return first if plural else ""
        return second if plural else first

    return _BRACKETS.sub(chosen, text)
