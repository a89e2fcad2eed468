"""Readable, distinct names of clusters, made from what their users are like and kept while the cluster lives on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.clusters.moves import APART
from engine.clusters.vocabulary import words_of

if TYPE_CHECKING:
    from engine.clusters.profiles import Profile
    from engine.clusters.vocabulary import Language, Vocabulary

NOTABLE: Final = 0.5
"""Standard deviations from the mean of all users at which an attribute is worth a place in the name."""
SLIGHT: Final = 0.1
"""Those at which it may still tell two clusters apart that would have one name."""
_USUAL, _MOST = 2, 4


@dataclass(frozen=True)
class ClusterNames:
    """The names of all clusters, as the bundle keeps them.

    Attributes:
        language: Of the names that were made.
        names: By id, `APART` among them.
        given: Ids whose names are the configuration's.
    """

    language: Language
    names: Mapping[int, str]
    given: frozenset[int] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """Names by id as text, so that JSON can hold them."""
        names = {str(cluster): name for cluster, name in sorted(self.names.items())}
        return {"language": self.language, "names": names, "given": sorted(self.given)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClusterNames:
        """What `to_json` made."""
        names = {int(cluster): str(name) for cluster, name in data["names"].items()}
        return cls(data["language"], names, frozenset(map(int, data["given"])))


@dataclass(frozen=True)
class Attribute:
    """A feature by which a cluster differs from all users, and how far (`z_score`)."""

    feature: str
    z_score: float

    @property
    def high(self) -> bool:
        """Whether its users have more of it than all users have."""
        return self.z_score > 0


def dominant(profile: Profile, clustered: Collection[str], words: Vocabulary) -> tuple[Attribute, ...]:
    """The attributes of a cluster, strongest first: one of each theme, then the others, at least `SLIGHT` all of them.

    Args:
        profile: The profile.
        clustered: The features that clusters are made of; no others are looked at.
        words: The vocabulary, which knows themes and which features have no scale.
    """
    found = [
        Attribute(figure.name, figure.z_score)
        for figure in profile.figures
        if figure.name in clustered
        and figure.z_score is not None
        and abs(figure.z_score) >= SLIGHT
        and words.has_scale(figure.name)
    ]
    found.sort(key=lambda attribute: -abs(attribute.z_score))
    themes: dict[str, Attribute] = {}
    for attribute in found:
        themes.setdefault(words.theme(attribute.feature), attribute)
    first = list(themes.values())
    # Features of one kind have one name: what was said of the first need not be said of the second.
    said = {words.kind(attribute.feature) for attribute in first}
    others: dict[str, Attribute] = {}
    for attribute in found:
        if words.kind(attribute.feature) not in said:
            others.setdefault(words.kind(attribute.feature), attribute)
    return (*first, *others.values())


def name_clusters(
    profiles: Sequence[Profile],
    clustered: Collection[str],
    words: Vocabulary,
    language: Language,
    given: Mapping[str, str],
    before: ClusterNames | None = None,
) -> tuple[ClusterNames, tuple[str, ...]]:
    """A name for every cluster, no two alike, and what to warn of.

    Names of the configuration come first. A cluster that was there before keeps its name, unless the language changed
    or the name was the configuration's. The others are named, by id, after the two attributes of different themes that
    stand out most (at least `NOTABLE`); where the name is taken, the next attributes are added, then a number.

    Args:
        profiles: Those of all clusters, with or without `APART`, which gets its name in any case.
        clustered: The features that clusters are made of.
        words: The vocabulary of the language.
        language: Language of the names.
        given: `clusters.names`: names by id.
        before: The names of the bundle before; ids are the same clusters there.
    """
    ids = sorted({profile.cluster for profile in profiles} | {APART})
    own, warnings = _given(given, ids)
    taken: dict[int, str] = {}
    for cluster, name in own.items():
        taken[cluster] = _numbered(name, taken)
        if taken[cluster] != name:
            warnings.append(f"clusters.names: {name!r} is taken; cluster {cluster} is called {taken[cluster]!r}")
    if APART not in taken:
        taken[APART] = _numbered(words_of(language).apart, taken)
    if before is not None and before.language == language:
        for cluster in ids:
            name = before.names.get(cluster, "")
            if name and cluster not in taken and cluster not in before.given and _is_free(name, taken):
                taken[cluster] = name
    for profile in sorted(profiles, key=lambda profile: profile.cluster):
        if profile.cluster not in taken:
            names = list(_candidates(dominant(profile, clustered, words), words))
            free = next((name for name in names if _is_free(name, taken)), None)
            taken[profile.cluster] = free or _numbered(names[0], taken)
    return ClusterNames(language, dict(sorted(taken.items())), frozenset(own)), tuple(warnings)


def _given(given: Mapping[str, str], ids: Sequence[int]) -> tuple[dict[int, str], list[str]]:
    known = {str(cluster): cluster for cluster in ids}
    own: dict[int, str] = {}
    warnings = []
    for key, name in given.items():
        if key.strip() not in known:
            there = ", ".join(str(cluster) for cluster in ids if cluster != APART)
            warnings.append(f"clusters.names: there is no cluster {key!r}; there are {there}")
        elif not name.strip():
            warnings.append(f"clusters.names: the name of cluster {key} is empty; one is made for it")
        else:
            own[known[key.strip()]] = name.strip()
    return dict(sorted(own.items())), warnings


def _candidates(attributes: Sequence[Attribute], words: Vocabulary) -> Iterator[str]:
    """The usual name first, then longer ones."""
    notable = sum(abs(attribute.z_score) >= NOTABLE for attribute in attributes[:_USUAL])
    for length in range(notable, min(len(attributes), _MOST) + 1):
        yield _phrase(attributes[:length], words, is_average=not notable)


def _phrase(attributes: Sequence[Attribute], words: Vocabulary, *, is_average: bool) -> str:
    if is_average:
        return ", ".join([words.words.average, *_details(attributes, words)])
    first, *others = attributes
    if others:
        pair = words.pair((first.feature, first.high), (others[0].feature, others[0].high))
        if pair is not None:
            return ", ".join([pair, *_details(others[1:], words)])
    return ", ".join([words.attribute(first.feature, high=first.high)[0], *_details(others, words)])


def _details(attributes: Sequence[Attribute], words: Vocabulary) -> Iterator[str]:
    return (words.attribute(attribute.feature, high=attribute.high)[1] for attribute in attributes)


def _numbered(name: str, taken: Mapping[int, str]) -> str:
    number = 1
    while not _is_free(numbered := name if number == 1 else f"{name} {number}", taken):
        number += 1
    return numbered


def _is_free(name: str, taken: Mapping[int, str]) -> bool:
    return name.casefold() not in {other.casefold() for other in taken.values()}
