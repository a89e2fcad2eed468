"""What the users of each cluster are like, beside all users. Medians are those of a sample, see `profile_sums`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import polars as pl

from engine.clusters.moves import APART
from engine.clusters.profile_sums import LABEL, Moments, ProfilePlan, ProfileSums, total

TOP_LEVELS: Final = 5
"""Values of an attribute that are shown, the most frequent ones among all users."""


@dataclass(frozen=True)
class Figure:
    """One numeric feature of one cluster, beside all users; None where nobody has a value.

    Attributes:
        known: Share of the cluster's users with a value.
        mean: Of those with a value.
        median: Of those of the sample with a value.
        base: Mean of all users with a value.
        z_score: `mean` less `base`, in standard deviations of all users; 0 for a feature that is the same for all.
    """

    name: str
    known: float
    mean: float | None
    median: float | None
    base: float | None
    z_score: float | None


@dataclass(frozen=True)
class LevelShare:
    """Share of a cluster's users, and of all users, with one value of a text attribute.

    `known` is the share of the cluster's users with any value of it.
    """

    attribute: str
    level: str
    share: float
    base: float
    known: float


@dataclass(frozen=True)
class Profile:
    """What the users of one cluster are like.

    Attributes:
        cluster: Its id; `APART` for users in no cluster.
        users: Their number, and `share` their share of all users, those apart included.
        value_minor: What they are worth together (minor units), and `value_share` their share of everybody's worth;
            None without a column of values.
        figures: Numeric features, those the clusters are made of first.
        levels: Values of text attributes, most frequent among all users first.
    """

    cluster: int
    users: int
    share: float
    value_minor: int | None
    value_share: float | None
    figures: tuple[Figure, ...]
    levels: tuple[LevelShare, ...]


def profiles(sums: ProfileSums, plan: ProfilePlan) -> tuple[Profile, ...]:
    """The profile of every cluster by id, those apart first if there are any.

    All users, whom a cluster is compared with, are those in a cluster: the few who were set apart, as they are like
    nobody, would make everybody else look alike.
    """
    medians = _medians(sums.sample, plan.features)
    inside = [label for label in sums.users if label != APART] or list(sums.users)
    whole = {name: total(found[label] for label in inside) for name, found in sums.sums.items()}
    everyone, worth = sum(sums.users.values()), sum(sums.value.values())
    return tuple(
        Profile(
            cluster=label,
            users=users,
            share=users / everyone,
            value_minor=None if plan.value is None else sums.value[label],
            value_share=None if plan.value is None or not worth else sums.value[label] / worth,
            figures=tuple(
                _figure(name, users, sums.sums[name][label], whole[name], medians.get((label, name)), plan.units(name))
                for name in plan.features
            ),
            levels=tuple(_shares(label, users, sums, inside)),
        )
        for label, users in sorted(sums.users.items())
    )


def profile_table(found: Sequence[Profile], names: Mapping[int, str], plan: ProfilePlan) -> pl.DataFrame:
    """The table `cluster_profiles`; grain: cluster, feature and level, where `level` is null but for text attributes.

    Args:
        found: The profiles.
        names: Name of each cluster by id.
        plan: What was looked at.

    Returns:
        Of the cluster `cluster` (Int32), `cluster_name`, `users` (Int64), `user_share`, `value` and `value_per_user`
        (major units) and `value_share`; of the row `feature`, `level`, `is_clustered` (whether clusters are made of
        it) and `known_share`; of a number `mean`, `median`, `base_mean` and `z_score`; of a level `level_share` and
        `base_share`.
    """
    digits = 10**plan.currency_digits
    rows: list[dict[str, Any]] = []
    for profile in found:
        of_cluster = {
            "cluster": profile.cluster,
            "cluster_name": names[profile.cluster],
            "users": profile.users,
            "user_share": profile.share,
            "value": None if profile.value_minor is None else profile.value_minor / digits,
            "value_per_user": None if profile.value_minor is None else profile.value_minor / digits / profile.users,
            "value_share": profile.value_share,
        }
        for figure in profile.figures:
            numbers = {"mean": figure.mean, "median": figure.median, "base_mean": figure.base}
            numbers |= {"known_share": figure.known, "z_score": figure.z_score}
            rows.append(
                {**of_cluster, "feature": figure.name, "is_clustered": figure.name in plan.clustered, **numbers}
            )
        for one in profile.levels:
            shares: dict[str, Any] = {"level": one.level, "level_share": one.share, "base_share": one.base}
            shares |= {"known_share": one.known}
            rows.append({**of_cluster, "feature": one.attribute, "is_clustered": False, **shares})
    return pl.DataFrame(rows, schema=TABLE)


TABLE: Final = pl.Schema(
    {
        "cluster": pl.Int32,
        "cluster_name": pl.String,
        "users": pl.Int64,
        "user_share": pl.Float64,
        "value": pl.Float64,
        "value_per_user": pl.Float64,
        "value_share": pl.Float64,
        "feature": pl.String,
        "level": pl.String,
        "is_clustered": pl.Boolean,
        "known_share": pl.Float64,
        "mean": pl.Float64,
        "median": pl.Float64,
        "base_mean": pl.Float64,
        "z_score": pl.Float64,
        "level_share": pl.Float64,
        "base_share": pl.Float64,
    }
)
"""Columns of `cluster_profiles`."""


def _figure(name: str, users: int, own: Moments, everyone: Moments, median: float | None, units: int) -> Figure:
    (count, added, _), (all_count, all_added, squares) = own, everyone
    if not count or not all_count:
        base = all_added / (all_count * units) if all_count else None
        return Figure(name, count / users, None, None, base, None)
    difference = Fraction(added, count) - Fraction(all_added, all_count)
    variance = Fraction(all_count * squares - all_added * all_added, all_count * all_count)
    return Figure(
        name=name,
        known=count / users,
        mean=added / (count * units),
        median=median,
        base=all_added / (all_count * units),
        z_score=float(difference) / math.sqrt(variance) if variance > 0 else 0.0,
    )


def _medians(sample: pl.DataFrame, features: Sequence[str]) -> dict[tuple[int, str], float]:
    found = sample.group_by(LABEL).agg(pl.col(name).median() for name in features)
    return {
        (row[LABEL], name): row[name]
        for row in found.iter_rows(named=True)
        for name in features
        if row[name] is not None
    }


def _shares(label: int, users: int, sums: ProfileSums, inside: Sequence[int]) -> Iterator[LevelShare]:
    everyone = sum(sums.users[other] for other in inside)
    for attribute, found in sums.levels.items():
        if found is None:
            continue
        whole: Counter[str] = Counter()
        for (other, level), count in found.items():
            if level is not None and other in inside:
                whole[level] += count
        known = 1 - found.get((label, None), 0) / users
        for level, count in sorted(whole.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP_LEVELS]:
            yield LevelShare(attribute, level, found.get((label, level), 0) / users, count / everyone, known)
