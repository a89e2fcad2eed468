"""Where k-means starts: seeded, weighted, greedy k-means++.

Source: D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding" (SODA 2007), section 2.2; of
several candidates per step the one that lowers the cost most is kept, as scikit-learn does (2 + ⌊ln k⌋ candidates).
"""

from __future__ import annotations

import math

import numpy as np

from engine.clusters.kernel import nearest
from engine.clusters.nearest import Floats, Labels
from engine.clusters.units import Whole
from engine.errors import DataError


def generator(seed: int, *path: int) -> np.random.Generator:
    """A random generator of its own for each `(seed, path)`, whatever else was drawn before."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=path)))


def plus_plus(
    rows: Floats, k: int, random: np.random.Generator, weights: Floats | Whole | None = None, threads: int = 1
) -> Floats:
    """Different rows, each drawn in proportion to its weight times its squared distance to those drawn before.

    Args:
        rows: Shape (n, d), finite.
        k: Number of rows to draw.
        random: Source of the draws.
        weights: How many times each row counts, ≥ 0; once when None.
        threads: Threads that may be used.

    Returns:
        Centroids of shape (k, d).

    Raises:
        DataError: There are fewer than k distinct rows.
    """
    mass = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    trials = 2 + int(math.log(k))
    chosen = [int(_draw(mass, random.random(1))[0])]
    closest = nearest(rows, rows[chosen], threads)[1]
    while len(chosen) < k:
        potential = closest * mass
        if not potential.any():
            raise DataError(
                f"{k} clusters need at least {k} distinct rows, got {len(chosen)}",
                code="clusters-too-few-rows",
                hint="Lower clusters.k_min, or give clusters.features that tell users apart.",
            )
        candidates = _draw(potential, random.random(trials)).tolist()
        options = [np.minimum(closest, nearest(rows, rows[[candidate]], threads)[1]) for candidate in candidates]
        best = int(np.argmin([np.add.reduce(option * mass) for option in options]))
        chosen.append(candidates[best])
        closest = options[best]
    return rows[chosen]


def _draw(mass: Floats, uniform: Floats) -> Labels:
    cumulative = np.cumsum(mass)
    drawn = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    # Rounding can lift a draw to the total itself; the last row that has any mass is meant then.
    return np.asarray(np.minimum(drawn, np.flatnonzero(mass)[-1]), dtype=np.intp)
