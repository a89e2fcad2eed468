"""How many clusters: every k of a range is fitted to the sample and judged, and a rule chooses (`rules`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.clusters.gap import Gap, gaps
from engine.clusters.kmeans import KMeansFit
from engine.clusters.nearest import Floats, Labels
from engine.clusters.quality import Quality, assess
from engine.clusters.rules import CurvePoint, chosen
from engine.clusters.solutions import FINDS_ITS_OWN, Fit, Solution, readable, solve
from engine.clusters.weighted import Weighted, distinct_rows
from engine.config_learning import Clusters
from engine.errors import DataError


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen number of clusters, its solution, and the figures of every k tried, ascending.

    `users` are the rows that the figures are about: the sample's, or fewer where the algorithm reads no more; `labels`
    (n,) are those of the solution, -1 for none. `quality` has the figures of the chosen k, also by cluster; None where
    only one has rows. `notes` are sentences for the report.
    """

    k: int
    fit: Fit
    curve: tuple[CurvePoint, ...]
    users: Weighted
    labels: Labels
    quality: Quality | None
    notes: tuple[str, ...] = ()


def choose_k(
    rows: Floats, settings: Clusters, seed: int, *, n_init: int = 4, start_rows: int = 20_000, threads: int = 1
) -> Choice:
    """Fits every k from `k_min` to `k_max` and chooses one.

    Equal rows are counted once with their number as weight, in sorted order, so the result depends on the set of rows
    and not on their order. No k above the number of distinct rows is tried. DBSCAN and HDBSCAN find k themselves: the
    curve then has one point.

    Args:
        rows: Shape (n, d), prepared: one row per user, in whole units.
        settings: The algorithm, the range of k, the rule and its limits.
        seed: Same seed, same set of rows: same bits.
        n_init: Starts per k.
        start_rows: As in `engine.clusters.kmeans.kmeans`.
        threads: Threads that may be used.

    Raises:
        DataError: All rows are equal, fewer of them are distinct than `k_min`, or no cluster was found at all.
    """
    everyone = distinct_rows(rows)
    finds_k = settings.algorithm in FINDS_ITS_OWN
    _refuse_too_few(len(rows), len(everyone.rows), 2 if finds_k else settings.k_min)
    users = readable(everyone, settings, seed)
    ks = range(settings.k_min, min(settings.k_max, len(users.rows)) + 1)
    # A sample that an algorithm reads may have fewer distinct rows than all users have.
    _refuse_too_few(users.users, len(users.rows), 2 if finds_k else settings.k_min)
    solutions = list(solve(users, ks, settings, seed, n_init=n_init, start_rows=start_rows, threads=threads))
    qualities = [_quality(users, solution) for solution in solutions]
    known = {} if finds_k else dict(zip(ks, gaps(users, ks, seed, threads=threads), strict=True))
    curve = tuple(
        _point(users, solution, quality, known.get(solution.k, Gap(math.nan, math.nan)))
        for solution, quality in zip(solutions, qualities, strict=True)
    )
    k, notes = chosen(curve, settings)
    place = [point.k for point in curve].index(k)
    if not finds_k and len(users.rows) < settings.k_max:
        notes = (*notes, f"more than {len(users.rows)} clusters were not tried: there are no more different users")
    return Choice(k, solutions[place].fit, curve, users, solutions[place].labels, qualities[place], notes)


def _quality(users: Weighted, solution: Solution) -> Quality | None:
    clusters = len(np.unique(solution.labels[solution.labels >= 0]))
    return assess(users.rows, solution.labels, users.counts) if clusters > 1 else None


def _point(users: Weighted, solution: Solution, quality: Quality | None, gap: Gap) -> CurvePoint:
    if isinstance(solution.fit, KMeansFit):
        inertia = solution.fit.inertia
    else:
        inertia = quality.within if quality is not None else _within_one(users, solution.labels)
    return CurvePoint(
        k=solution.k,
        silhouette=None if quality is None else quality.silhouette,
        inertia=inertia,
        smallest_share=1.0 if quality is None else quality.smallest_share,
        calinski_harabasz=None if quality is None else quality.calinski_harabasz,
        davies_bouldin=None if quality is None else quality.davies_bouldin,
        iterations=solution.iterations,
        converged=solution.converged,
        gap=None if math.isnan(gap.gap) else gap.gap,
        gap_error=None if math.isnan(gap.error) else gap.error,
        bic=solution.bic,
    )


def _within_one(users: Weighted, labels: Labels) -> float:
    """The sum of squared distances to the mean of those in the only cluster."""
    rows, counts = users.rows[labels >= 0], users.counts[labels >= 0]
    total = 0.0
    for feature in range(rows.shape[1]):
        mean = math.fsum((rows[:, feature] * counts).tolist()) / int(counts.sum())
        total += math.fsum((np.square(rows[:, feature] - mean) * counts).tolist())
    return total


def _refuse_too_few(users: int, distinct: int, k_min: int) -> None:
    if distinct >= max(k_min, 2):
        return
    if distinct == 1:
        raise DataError(
            f"all {users} users are equal in every clustering feature, so there is nothing to tell apart",
            code="clusters-all-equal",
            hint="Set clusters.enabled = false, or give clusters.features in which users differ.",
        )
    raise DataError(
        f"clusters.k_min is {k_min}, but {users} users have only {distinct} different feature values",
        code="clusters-too-few-rows",
        hint="Lower clusters.k_min, give clusters.features that tell users apart, or set clusters.enabled = false.",
    )
