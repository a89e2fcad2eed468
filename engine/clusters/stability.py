"""How stable clusters are: whether they are found again in bootstrap samples of the users.

Each sample is drawn with replacement and clustered from starts of its own. It is compared with the clusters of the fit
on the users that were drawn, each counted once: the adjusted Rand index (`engine.clusters.moves`) judges the clustering
as a whole; a cluster is as stable as the mean Jaccard similarity of it and the most similar cluster of each sample.
DBSCAN and HDBSCAN, to which users drawn twice are a dense place, cluster each user that was drawn once, and ask for as
many fewer neighbours as there are fewer users.

Below 0.6 a cluster should not be trusted, from 0.75 on it is there, from 0.85 on it is highly stable.

Source: C. Hennig, "Cluster-wise assessment of cluster stability" (2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from engine.clusters.moves import Moves, count_moves
from engine.clusters.nearest import Labels
from engine.clusters.sampled import Sampled
from engine.clusters.seeding import generator
from engine.clusters.solutions import FINDS_ITS_OWN, Fit, solve
from engine.clusters.weighted import Weighted
from engine.config_learning import Clusters
from engine.tables import disk

_DRAWN_AT_MOST: Final = {"kmeans": 20_000, "mixture": 20_000, "ward": 4000}
"""Users of one bootstrap sample. Density-based clusters need all: fewer users would be less dense."""
_LOW_QUANTILE: Final = 0.05
_LARGEST_SEED: Final = 2**63
# Draws of bootstrap samples must not meet those of the fit.
_PATH: Final = 1_000_002


@dataclass(frozen=True, eq=False)
class Labelled:
    """Users and their clusters: `labels` (n,), one per distinct row, -1 for none."""

    users: Weighted
    labels: Labels


@dataclass(frozen=True, eq=False)
class ResampleTask:
    """One bootstrap sample of users, in memory or in a file of `write_labelled`, and how it is clustered.

    `clusters` is the number of clusters of the fit: labels are below it. `index` tells the samples of one seed apart.
    """

    labelled: Labelled | Path
    clusters: int
    settings: Clusters
    seed: int
    index: int
    threads: int = 1


@dataclass(frozen=True)
class Resampled:
    """How far a bootstrap sample's clustering agrees with that of the fit.

    `ari` is the adjusted Rand index; `jaccards` the similarity of each cluster to the most similar one of the sample,
    None where none of its users were drawn.
    """

    ari: float
    jaccards: tuple[float | None, ...]


@dataclass(frozen=True)
class Stability:
    """Stability of a clustering over bootstrap samples.

    `ari` is the mean adjusted Rand index and `ari_low` its 5 % quantile. `jaccards` has the mean Jaccard similarity of
    each cluster, by its label, None where no sample had any of its users; `unstable` the labels of clusters below the
    limit, ascending.
    """

    resamples: int
    ari: float
    ari_low: float
    jaccards: tuple[float | None, ...]
    unstable: tuple[int, ...]


def write_labelled(labelled: Labelled, path: Path) -> Path:
    """Write users and their clusters to a file, whole or not at all, for tasks that may run elsewhere."""
    with disk.replacing(path) as file:
        np.savez(file, rows=labelled.users.rows, counts=labelled.users.counts, labels=labelled.labels)
    return path


def resample_tasks(
    labelled: Labelled | Path, fit: Fit, settings: Clusters, seed: int, threads: int = 1
) -> list[ResampleTask]:
    """A task of `resample` for each of `settings.resamples` bootstrap samples.

    Args:
        labelled: Users and the clusters that the fit gives them.
        fit: What is judged. The radius that DBSCAN found is that of the samples too.
        settings: Those of the fit.
        seed: Same seed, same samples.
        threads: Threads of one task.
    """
    if isinstance(fit, Sampled) and fit.radius is not None:
        settings = settings.model_copy(update={"radius": fit.radius})
    clusters = len(fit.sizes)
    return [ResampleTask(labelled, clusters, settings, seed, index, threads) for index in range(settings.resamples)]


def resample(task: ResampleTask) -> Resampled:
    """Draw a bootstrap sample, cluster it and compare; the result depends on the task alone.

    Raises:
        DataError: The sample's users are all equal, or the algorithm finds no cluster among them.
    """
    labelled = task.labelled if isinstance(task.labelled, Labelled) else _read_labelled(task.labelled)
    random = generator(task.seed, _PATH, task.index)
    drawn, times, once = _draw(labelled.users, task.settings, random)
    seed = int(random.integers(_LARGEST_SEED))
    settings = task.settings
    if settings.algorithm in FINDS_ITS_OWN:
        times = once
        neighbours = round(settings.neighbours * int(once.sum()) / labelled.users.users)
        settings = settings.model_copy(update={"neighbours": max(1, neighbours)})
    users = Weighted(np.asfortranarray(labelled.users.rows[drawn]), times)
    (solution,) = solve(users, [min(task.clusters, len(drawn))], settings, seed, threads=task.threads)
    moves = count_moves(labelled.labels[drawn], solution.labels, once)
    return Resampled(moves.ari, best_jaccards(moves, task.clusters))


def summarise(resampled: Sequence[Resampled], stable_at: float) -> Stability:
    """The stability over all bootstrap samples, in whatever order they come.

    Args:
        resampled: At least one.
        stable_at: Clusters of a lower mean Jaccard similarity are unstable.
    """
    aris = sorted(each.ari for each in resampled)
    jaccards = tuple(_mean(column) for column in zip(*(each.jaccards for each in resampled), strict=True))
    unstable = tuple(label for label, mean in enumerate(jaccards) if mean is not None and mean < stable_at)
    return Stability(
        len(aris), math.fsum(aris) / len(aris), float(np.quantile(aris, _LOW_QUANTILE)), jaccards, unstable
    )


def best_jaccards(moves: Moves, clusters: int) -> tuple[float | None, ...]:
    """For each old cluster the Jaccard similarity of the most similar new one; noise is no cluster, old or new.

    Args:
        moves: From the old labels to the new ones.
        clusters: Number of old clusters.

    Returns:
        A share per old label from 0, None for those without users.
    """
    old, new = moves.old_sizes, moves.new_sizes
    best = dict.fromkeys(old, 0.0)
    for before, after, both in moves.counts:
        if after >= 0:
            best[before] = max(best[before], both / (old[before] + new[after] - both))
    return tuple(best.get(label) for label in range(clusters))


def _draw(users: Weighted, settings: Clusters, random: np.random.Generator) -> tuple[Labels, Labels, Labels]:
    """Places of the rows that were drawn, ascending, how often each was, and how many different users have it."""
    total = users.users
    size = min(total, _DRAWN_AT_MOST.get(settings.algorithm, total))
    persons, times = np.unique(random.integers(total, size=size), return_counts=True)
    places = np.searchsorted(np.cumsum(users.counts), persons, side="right")
    drawn, firsts, once = np.unique(places, return_index=True, return_counts=True)
    return drawn, np.add.reduceat(times, firsts), once


def _mean(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return math.fsum(known) / len(known) if known else None


def _read_labelled(path: Path) -> Labelled:
    with np.load(path, allow_pickle=False) as stored:
        return Labelled(Weighted(stored["rows"], stored["counts"]), stored["labels"])
