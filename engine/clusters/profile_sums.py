"""Whole sums of what the users of each cluster are like; they add up over buckets in any cut.

Medians need the users themselves: a sample of each cluster is kept, those with the smallest keys, `SAMPLED` of them,
which is everybody in a cluster that is not larger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import polars as pl

from engine.clusters.nearest import Floats, Labels

SAMPLED: Final = 500
"""Users of each cluster of whom medians are taken."""
LEVELS: Final = 1000
"""A text attribute with more values than this is left out: it tells users apart, not clusters."""
LABEL: Final = "cluster"
"""Column of the sample with the label of each user."""

_KEY: Final = "user_key"
# What is no money is rounded to a millionth, about.
_UNITS: Final = 2**20
# Numbers above count as this; their squares are below 2¹²⁰, which four limbs hold.
_MOST: Final = 2.0**60
_LIMBS: Final = (96, 64, 32, 0)
# Sums of so many limbs of 32 bits are exact in floats.
_CHUNK_ROWS: Final = 2**20

_Key = TypeVar("_Key")
Moments = tuple[int, int, int]
"""Users with a value, the sum of their values in the feature's units, and that of the squares."""


@dataclass(frozen=True)
class ProfilePlan:
    """What is looked at.

    Attributes:
        clustered: Features the clusters are made of.
        further: Other numeric features.
        money: Those of both in major units of money; their sums are those of whole minor units.
        categories: Text attributes.
        value: Column of what each user is worth in whole minor units, such as what was spent; None without one.
        currency_digits: Decimals of the minor unit.
    """

    clustered: tuple[str, ...]
    further: tuple[str, ...] = ()
    money: frozenset[str] = frozenset()
    categories: tuple[str, ...] = ()
    value: str | None = None
    currency_digits: int = 2

    @property
    def features(self) -> tuple[str, ...]:
        """All numeric features, those the clusters are made of first."""
        return tuple(dict.fromkeys([*self.clustered, *self.further]))

    def units(self, name: str) -> int:
        """Whole units per 1.0 in which a feature is summed."""
        return 10**self.currency_digits if name in self.money else _UNITS


@dataclass(frozen=True, eq=False)
class ProfileSums:
    """What is known of the users of one or more buckets.

    Attributes:
        users: By label.
        value: Minor units by label.
        sums: By feature and label: users with a value, sum and sum of squares in its units.
        levels: By attribute: users by label and level, None where it is missing; None with too many levels.
        sample: `cluster`, `user_key` and the features of the users with the smallest keys, by label and key.
    """

    users: Mapping[int, int]
    value: Mapping[int, int]
    sums: Mapping[str, Mapping[int, Moments]]
    levels: Mapping[str, Mapping[tuple[int, str | None], int] | None]
    sample: pl.DataFrame

    def renamed(self, ids: Mapping[int, int]) -> ProfileSums:
        """The same sums with ids for labels; labels without one, such as `APART`, stay what they are."""

        def named(label: int) -> int:
            return ids.get(label, label)

        return ProfileSums(
            {named(label): users for label, users in self.users.items()},
            {named(label): value for label, value in self.value.items()},
            {name: {named(label): sums for label, sums in found.items()} for name, found in self.sums.items()},
            {
                name: None
                if found is None
                else {(named(label), level): users for (label, level), users in found.items()}
                for name, found in self.levels.items()
            },
            _smallest(self.sample.with_columns(pl.col(LABEL).replace(dict(ids)))),
        )


def count_profiles(frame: pl.DataFrame, labels: Labels, keys: pl.Series, plan: ProfilePlan) -> ProfileSums:
    """The sums of one bucket of users.

    Args:
        frame: One row per user with the columns of the plan. Null and NaN are missing values; others are finite and
            at most 2⁴⁰ in size; larger ones count as that.
        labels: Shape (n,): the cluster of each, an id or a place, `APART` for none.
        keys: User keys (UInt64), all different.
        plan: What is looked at.
    """
    found, places = np.unique(labels, return_inverse=True)
    names = [int(label) for label in found]
    values = [0] * len(names)
    if plan.value is not None:
        values = _whole_sums(frame[plan.value].cast(pl.Float64).fill_null(0).to_numpy(), places, len(names))
    return ProfileSums(
        users=dict(zip(names, np.bincount(places, minlength=len(names)).tolist(), strict=True)),
        value=dict(zip(names, values, strict=True)),
        sums={
            name: dict(zip(names, _moments(_column(frame, name), places, len(names), plan.units(name)), strict=True))
            for name in plan.features
        },
        levels={name: _levels(frame[name], labels) for name in plan.categories},
        sample=_smallest(
            frame.select(pl.col(name).cast(pl.Float64).fill_nan(None) for name in plan.features).with_columns(
                pl.Series(LABEL, labels, pl.Int32), pl.Series(_KEY, keys, pl.UInt64)
            )
        ),
    )


def merge_profiles(parts: Iterable[ProfileSums]) -> ProfileSums:
    """The sums of all buckets together, in whatever order they come; at least one. Parts may be merged as they come."""
    merged, *others = parts
    for part in others:
        merged = ProfileSums(
            users=_added(merged.users, part.users),
            value=_added(merged.value, part.value),
            sums={name: _added_moments(found, part.sums[name]) for name, found in merged.sums.items()},
            levels={name: _added_levels(found, part.levels[name]) for name, found in merged.levels.items()},
            sample=_smallest(pl.concat([merged.sample, part.sample])),
        )
    return merged


def total(parts: Iterable[Moments]) -> Moments:
    """The moments of several groups of users together."""
    users, added, squares = 0, 0, 0
    for count, one, square in parts:
        users, added, squares = users + count, added + one, squares + square
    return users, added, squares


def _column(frame: pl.DataFrame, name: str) -> Floats:
    values: Floats = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values


def _moments(values: Floats, places: Labels, k: int, units: int) -> list[Moments]:
    known = ~np.isnan(values)
    where = places[known]
    whole = np.clip(np.rint(values[known] * units), -_MOST, _MOST)
    counts = np.bincount(where, minlength=k).tolist()
    return list(zip(counts, _whole_sums(whole, where, k), _whole_sums(whole * whole, where, k), strict=True))


def _whole_sums(whole: Floats, places: Labels, k: int) -> list[int]:
    """Exact sums of whole numbers below 2¹²⁸ by place, limb by limb of 32 bits."""
    totals, rest = [0] * k, whole
    largest = float(np.abs(whole).max(initial=0.0))
    for bits in _LIMBS:
        scale = 2.0**bits
        if largest < scale:
            continue
        limb = np.trunc(rest / scale)
        rest = rest - limb * scale
        for start in range(0, len(limb), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            found = np.bincount(places[part], weights=limb[part], minlength=k).tolist()
            totals = [total + (int(new) << bits) for total, new in zip(totals, found, strict=True)]
    return totals


def _levels(values: pl.Series, labels: Labels) -> dict[tuple[int, str | None], int] | None:
    frame = pl.DataFrame({"label": pl.Series(labels, dtype=pl.Int32), "level": values.cast(pl.String)})
    counted = frame.group_by("label", "level").len().sort("label", "level")
    return _few({(label, level): users for label, level, users in counted.iter_rows()})


def _few(found: dict[tuple[int, str | None], int]) -> dict[tuple[int, str | None], int] | None:
    return found if len({level for _, level in found}) <= LEVELS else None


def _added(one: Mapping[_Key, int], other: Mapping[_Key, int]) -> dict[_Key, int]:
    total = Counter(one)
    total.update(other)
    return dict(total)


def _added_moments(one: Mapping[int, Moments], other: Mapping[int, Moments]) -> dict[int, Moments]:
    return {label: total(found[label] for found in (one, other) if label in found) for label in {**one, **other}}


def _added_levels(
    one: Mapping[tuple[int, str | None], int] | None, other: Mapping[tuple[int, str | None], int] | None
) -> dict[tuple[int, str | None], int] | None:
    return None if one is None or other is None else _few(_added(one, other))


def _smallest(sample: pl.DataFrame) -> pl.DataFrame:
    ordered = sample.sort(LABEL, _KEY)
    return ordered.filter(pl.int_range(pl.len()).over(LABEL) < SAMPLED)
