"""Eigenvectors of a symmetric matrix whose bits depend on that matrix alone.

LAPACK's depend on the library that is installed, on its threads and on the processor. Jacobi's rotations are made of
additions, multiplications, divisions and square roots, which IEEE 754 rounds in one way everywhere, and for the few
dozen features that users are clustered by they are fast enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clusters.nearest import Floats

Indices = NDArray[np.intp]

# Convergence is quadratic: eight sweeps or so are enough.
_MAX_SWEEPS: Final = 60


def eigen(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues from high to low, and unit eigenvectors as columns; their signs are left as they come.

    Cyclic Jacobi in a round-robin order, whose rotations of one round touch different rows and are done at once
    (Golub and Van Loan, Matrix Computations, 4th edition, sections 8.5.2 and 8.5.6). It ends when no entry beside the
    diagonal is greater than rounding leaves.

    Args:
        matrix: Shape (d, d), symmetric and finite; left as it is.
    """
    size = len(matrix)
    turned, vectors = matrix.astype(np.float64), np.eye(size)
    beside = ~np.eye(size, dtype=np.bool_)
    noise = size * np.finfo(np.float64).eps
    rounds = list(_rounds(size))
    for _ in range(_MAX_SWEEPS):
        greatest = np.abs(turned)
        if greatest.max(where=beside, initial=0.0) <= noise * greatest.max():
            break
        for first, second in rounds:
            cosine, sine = _rotation(turned, first, second)
            _turn(turned, first, second, cosine, sine)
            _turn(turned.T, first, second, cosine, sine)
            turned[first, second] = turned[second, first] = 0.0
            _turn(vectors.T, first, second, cosine, sine)
    values = turned.diagonal()
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def product(left: Floats, right: Floats) -> Floats:
    """The matrix product of (n, d) and (d, m), its terms added in the order of d."""
    total = np.zeros((len(left), right.shape[1]))
    for index in range(len(right)):
        total += left[:, index, np.newaxis] * right[index]
    return total


def _rounds(size: int) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of indices in rounds of which each has an index at most once, and all together every pair once."""
    players = list(range(size + size % 2))
    for _ in range(len(players) - 1):
        halves = zip(players[: len(players) // 2], reversed(players), strict=False)
        pairs = [(min(pair), max(pair)) for pair in halves if max(pair) < size]
        yield np.array([pair[0] for pair in pairs], dtype=np.intp), np.array([pair[1] for pair in pairs], dtype=np.intp)
        players = [players[0], players[-1], *players[1:-1]]


def _rotation(matrix: Floats, first: Indices, second: Indices) -> tuple[Floats, Floats]:
    """Cosine and sine, as columns, of the smaller of the two angles that make each pair's entry zero."""
    entry = 2.0 * matrix[first, second]
    gap = matrix[second, second] - matrix[first, first]
    length = np.abs(gap) + np.sqrt(gap * gap + entry * entry)
    nothing = length == 0.0
    tangent = np.where(gap < 0.0, -entry, entry) / np.where(nothing, 1.0, length)
    tangent[nothing] = 0.0
    cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
    return cosine[:, np.newaxis], (tangent * cosine)[:, np.newaxis]


def _turn(rows: Floats, first: Indices, second: Indices, cosine: Floats, sine: Floats) -> None:
    one, other = rows[first], rows[second]
    rows[first] = cosine * one - sine * other
    rows[second] = sine * one + cosine * other
