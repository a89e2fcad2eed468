"""What features, clusters and the program's own terms are called in a language, for `engine.reporting.words.Voice`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from engine.clusters.vocabulary import Vocabulary, vocabulary
from engine.propensity.wording import Wording, elide, inflect, shown, wording
from engine.reporting.words import texts

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from engine.clusters.record import Clustered
    from engine.features.spec import FeatureSpec
    from engine.reporting.numbers import Language

TERMS: Final = ("outcome", "series", "measure", "step", "run_fact", "drift_kind", "quality_metric")
"""Vocabularies whose words stand in the texts, in a table of the vocabulary's name."""

_ARTICLE = re.compile(r"(?:an?|une?|the|le|la) ")
_GUILLEMETS = re.compile(r"«\s*(.*?)\s*»")
_SPACES = re.compile(r" {2,}")
_NUMBERED = re.compile(r"(.*?)( \d+)?")


def learnt_names(bundle: Bundle | None, language: Language) -> dict[tuple[str, str], str]:
    """Words by vocabulary and name: `feature`, `cluster` (of a bundle), and those of `TERMS`."""
    named = {(term, name): text for term in TERMS for name, text in _terms(term, language)}
    if bundle is None:
        return named
    named |= {("feature", name): text for name, text in feature_words(bundle.spec, language).items()}
    if bundle.clusters is not None:
        called = cluster_words(bundle.clusters, bundle.spec, language)
        named |= {("cluster", name): text for name, text in called.items()}
    return named


def feature_words(spec: FeatureSpec, language: Language) -> dict[str, str]:
    """What each feature is, without a value: `Amount in purchases in the last 90 days`."""
    words = wording(spec, language)
    # Names are quoted as a whole in sentences: what is quoted in them gets the inner marks.
    return {name: _GUILLEMETS.sub(r"“\1”", _phrase(name, words)) for name in words.texts}


def cluster_words(clustered: Clustered, spec: FeatureSpec, language: Language) -> dict[str, str]:
    """The names of clusters in another language than theirs; those that a configuration gave stay as they are.

    A name is kept while its cluster lives on, so it is the name that is put into other words: what the cluster is like
    now may have become something else.
    """
    called = clustered.called
    if called.language == language:
        return {}
    own, other = vocabulary(spec, called.language), vocabulary(spec, language)
    first, further = _begins(clustered, own, other), _details(clustered, own, other)
    names = (name for cluster, name in called.names.items() if cluster not in called.given)
    return {name: text for name in names if (text := _translated(name, first, further)) is not None}


def _translated(name: str, first: dict[str, str], further: dict[str, str]) -> str | None:
    found = _NUMBERED.fullmatch(name)
    base, number = (name, "") if found is None else (found[1], found[2] or "")
    begin, *rest = base.split(", ")
    if begin not in first or any(part not in further for part in rest):
        return None
    return ", ".join([first[begin], *(further[part] for part in rest)]) + number


def _begins(clustered: Clustered, own: Vocabulary, other: Vocabulary) -> dict[str, str]:
    pairs = {text: other.words.pairs[pair] for pair, text in own.words.pairs.items() if pair in other.words.pairs}
    singles = {
        own.attribute(feature, high=high)[0]: other.attribute(feature, high=high)[0]
        for feature, high in _sides(clustered)
    }
    return {own.words.average: other.words.average, own.words.apart: other.words.apart, **pairs, **singles}


def _details(clustered: Clustered, own: Vocabulary, other: Vocabulary) -> dict[str, str]:
    return {
        own.attribute(feature, high=high)[1]: other.attribute(feature, high=high)[1]
        for feature, high in _sides(clustered)
    }


def _sides(clustered: Clustered) -> Iterator[tuple[str, bool]]:
    return ((feature, high) for feature in clustered.plan.features for high in (True, False))


def _phrase(name: str, words: Wording) -> str:
    text, feature = words.texts[name], words.features[name]
    when = ""
    if "{w}" not in text and feature.window_days is not None:
        when = " " + inflect(words.words.window, plural=feature.window_days > 1)
    elif name.endswith("_total"):
        when = f" {words.words.total}"
    head, is_measure, tail = (text + when).replace("{w}", str(feature.window_days)).partition("~")
    if is_measure:
        said = f"{_ARTICLE.sub('', head, count=1).rstrip(', ')} {re.split('{#?}', tail, maxsplit=1)[-1].lstrip(', ')}"
    else:
        counted, is_more, _ = text.partition("|")
        said = (counted + when if is_more else head).replace("{w}", str(feature.window_days))
    whole = shown(elide(_SPACES.sub(" ", inflect(said, plural=True)).strip(), words.words))
    # Names of event types are written as they are.
    return whole if "_" in whole.partition(" ")[0] else whole[:1].upper() + whole[1:]


def _terms(term: str, language: Language) -> Iterator[tuple[str, str]]:
    start = f"{term}."
    return ((key.removeprefix(start), text) for key, text in texts(language).items() if key.startswith(start))
