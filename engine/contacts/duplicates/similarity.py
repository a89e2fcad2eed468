"""How alike two contacts are: letter by letter and word by word, attribute by attribute.

Similarities are whole ten-thousandths from 0 to 10,000, so that their sums have the same bits everywhere; -1 says that
one of the two contacts does not have the attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.contacts.duplicates.values import Rows, Values
from engine.contacts.extra import missing_extra

ONE: Final = 10_000
LEAST_COMPARED: Final = 0.5
"""Share of the weight that both contacts must have: two rows that have but a town in common are not alike."""
_PORTION: Final = 250_000
_SLACK: Final = 1e-6

Alike = npt.NDArray[np.int32]
"""Similarities in ten-thousandths; -1 where they are not known."""


@dataclass(frozen=True, eq=False)
class Attribute:
    """The values of an attribute.

    Attributes:
        name: Its name.
        weight: What it counts.
        numbers: The value of each contact as a position in `texts`; -1 for none.
        texts: The distinct values, folded, sorted.
        words: The distinct words of each value, as numbers.
        several: Whether a value has two words or more.
    """

    name: str
    weight: float
    numbers: Rows
    texts: npt.NDArray[np.object_]
    words: pl.Series
    several: npt.NDArray[np.bool_]


def attribute(name: str, weight: float, values: Values) -> Attribute:
    """The attribute of folded values."""
    texts = values.texts
    split = texts.str.split(" ")
    each = split.explode(empty_as_null=True) if texts.len() else texts
    known = each.unique().sort()
    coded = each.to_frame("word").join(
        known.to_frame("word").with_row_index("code"), on="word", how="left", maintain_order="left"
    )
    place = np.repeat(np.arange(texts.len(), dtype=np.int32), split.list.len().to_numpy())
    words = (
        coded.select("code", place=pl.Series(place))
        .unique()
        .sort("place", "code")
        .group_by("place", maintain_order=True)
        .agg("code")["code"]
    )
    return Attribute(
        name,
        weight,
        values.numbers,
        np.array(texts.to_list(), dtype=object),
        words,
        (words.list.len() >= 2).to_numpy(),
    )


def alike(values: Attribute, first: Rows, second: Rows) -> Alike:
    """The similarity of contacts in one attribute; each pair of distinct values is compared once.

    It is the Jaro-Winkler similarity (Winkler 1990: the common prefix of at most four letters counts a tenth each where
    the Jaro similarity is above 0.7) of the values, or where both have several words the Jaccard similarity of their
    sets of words (Jaccard 1901) if that is larger: then words in another order are the same.

    Args:
        values: The attribute.
        first: Contacts.
        second: As many others.
    """
    left, right = values.numbers[first], values.numbers[second]
    found = np.full(left.size, -1, np.int32)
    found[(left == right) & (left >= 0)] = ONE
    rest = np.flatnonzero((left >= 0) & (right >= 0) & (left != right))
    if not rest.size:
        return found
    # Which of two texts comes first may change what the algorithm finds: it is always the smaller.
    low, high = np.minimum(left[rest], right[rest]), np.maximum(left[rest], right[rest])
    span = values.texts.size
    distinct, places = np.unique(low.astype(np.int64) * span + high, return_inverse=True)
    compared = np.concatenate(
        [
            _compared(values, portion // span, portion % span)
            for portion in np.array_split(distinct, -(-distinct.size // _PORTION))
        ]
    )
    found[rest] = compared[places]
    return found


def _compared(values: Attribute, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> Alike:
    from rapidfuzz.distance import JaroWinkler
    from rapidfuzz.process import cpdist

    letters = cpdist(
        values.texts[low].tolist(),
        values.texts[high].tolist(),
        scorer=JaroWinkler.similarity,
        dtype=np.float64,
        workers=1,
    )
    best: Alike = np.rint(letters * ONE).astype(np.int32)
    both = np.flatnonzero(values.several[low] & values.several[high])
    if both.size:
        words = pl.DataFrame({"a": values.words.gather(low[both]), "b": values.words.gather(high[both])})
        common = words.select(pl.col("a").list.set_intersection("b").list.len()).to_series().to_numpy().astype(float)
        total = words.select(pl.col("a").list.len() + pl.col("b").list.len()).to_series().to_numpy() - common
        best[both] = np.maximum(best[both], np.rint(common / total * ONE).astype(np.int32))
    return best


@dataclass(frozen=True, eq=False)
class Scored:
    """Pairs with their scores.

    Attributes:
        first: The earlier contact of each pair.
        second: The later one.
        score: In ten-thousandths; -1 where no attribute can be compared.
        compared: Share of the weight of the attributes that both have.
        parts: The similarity in each attribute, in their order.
    """

    first: Rows
    second: Rows
    score: Alike
    compared: npt.NDArray[np.float64]
    parts: tuple[Alike, ...]


def score_all(attributes: Sequence[Attribute], first: Rows, second: Rows) -> Scored:
    """Score pairs: Σ weight · similarity / Σ weight over the attributes that both contacts have."""
    parts = tuple(alike(values, first, second) for values in attributes)
    return _scored(attributes, first, second, parts)


def score_above(attributes: Sequence[Attribute], first: Rows, second: Rows, least: int) -> Scored:
    """As `score_all`, of the pairs alone that reach a score and have enough in common to tell.

    After each attribute, pairs that could not reach it were they equal in all others are given up.

    Args:
        attributes: The attributes.
        first: Contacts.
        second: As many others.
        least: The score, in ten-thousandths.
    """
    order = sorted(range(len(attributes)), key=lambda place: -attributes[place].weight)
    left = sum(one.weight for one in attributes)
    parts: dict[int, Alike] = {}
    reached, known = np.zeros(first.size), np.zeros(first.size)
    for place in order:
        values = attributes[place]
        found = alike(values, first, second)
        parts[place] = found
        left -= values.weight
        reached += np.where(found >= 0, found * values.weight, 0.0)
        known += np.where(found >= 0, values.weight, 0.0)
        hopeful = reached + left * ONE + _SLACK >= (least - 0.5) * (known + left) - _SLACK * ONE
        if not hopeful.all():
            first, second, reached, known = first[hopeful], second[hopeful], reached[hopeful], known[hopeful]
            parts = {name: part[hopeful] for name, part in parts.items()}
    scored = _scored(attributes, first, second, tuple(parts[place] for place in range(len(attributes))))
    good = (scored.score >= least) & (scored.compared >= LEAST_COMPARED)
    return Scored(
        scored.first[good],
        scored.second[good],
        scored.score[good],
        scored.compared[good],
        tuple(part[good] for part in scored.parts),
    )


def _scored(attributes: Sequence[Attribute], first: Rows, second: Rows, parts: tuple[Alike, ...]) -> Scored:
    reached, known = np.zeros(first.size), np.zeros(first.size)
    for values, part in zip(attributes, parts, strict=True):
        reached += np.where(part >= 0, part * values.weight, 0.0)
        known += np.where(part >= 0, values.weight, 0.0)
    whole = sum(values.weight for values in attributes)
    score = np.rint(reached / np.where(known > 0, known, 1.0))
    score = np.where(known > 0, score, -1).astype(np.int32)
    return Scored(first, second, score, known / whole if whole else known, parts)


def require_rapidfuzz() -> None:
    """Stop where the package is not installed that compares texts.

    Raises:
        ConfigError: It is not.
    """
    from importlib.util import find_spec

    if find_spec("rapidfuzz") is None:
        raise missing_extra("rapidfuzz", "contacts.duplicates.compare")
