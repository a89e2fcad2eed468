"""The maximum of a likelihood over positive parameters, found on their logarithms and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.stable_math import exp, log

Floats = NDArray[np.float64]
Objective = Callable[[Floats], tuple[float, Floats]]
"""From the parameters to the mean log-likelihood of a customer, and its derivative by each parameter."""

# Digits of a parameter that are kept: the optimum is known to more, and what the last bits are is left to no library.
_DIGITS: Final = 9
_NEWTON_STEPS: Final = 12
# Step of the differences that give the second derivatives, and the step (in logarithms) at which Newton's method ends.
_DIFFERENCE: Final = 1e-4
_AT_REST: Final = 1e-9
# A parameter this near a bound (in logarithms) has run to it.
_NEAR: Final = 1e-3


@dataclass(frozen=True)
class Range:
    """A parameter's name and the values it may take."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Optimum:
    """Where the search ended.

    Attributes:
        values: The parameters, rounded to nine significant digits.
        mean: Mean log-likelihood of a customer there.
        problem: Why it is no maximum to work with; None when it is one.
    """

    values: tuple[float, ...]
    mean: float
    problem: str | None


def maximise(objective: Objective, ranges: Sequence[Range], starts: Sequence[Sequence[float]]) -> Optimum:
    """The best of the maxima that L-BFGS-B (scipy) reaches from several starts, polished by Newton's method.

    Args:
        objective: What is maximised.
        ranges: The parameters, in the order of the objective's.
        starts: Values of the parameters to search from.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    low = log([one.low for one in ranges])
    high = log([one.high for one in ranges])

    def downhill(theta: Floats) -> tuple[float, Floats]:
        values = exp(theta)
        mean, slope = objective(values)
        return -mean, -slope * values

    best, best_value = low, np.inf
    with threadpool_limits(1):
        for start in starts:
            found = minimize(
                downhill,
                np.clip(log(start), low, high),
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low, high, strict=True)),
                options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
            )
            if np.isfinite(found.fun) and found.fun < best_value:
                best, best_value = np.asarray(found.x), float(found.fun)
        at_bound = _at_bound(best, ranges, low, high)
        problem = at_bound
        if problem is None:
            best, problem = _polish(downhill, best, low, high)
    values = tuple(float(f"{value:.{_DIGITS}g}") for value in exp(best))
    return Optimum(values, objective(np.array(values))[0], problem)


def total_of(values: NDArray[np.float64]) -> float:
    """The sum, one after the other: in an order that no processor and no thread changes."""
    return float(np.cumsum(values)[-1]) if values.size else 0.0


def _polish(downhill: Objective, theta: Floats, low: Floats, high: Floats) -> tuple[Floats, str | None]:
    """Newton's method on the slope: a function that no longer falls in its last digit still has a slope."""
    longest = np.inf
    for _ in range(_NEWTON_STEPS):
        slope = downhill(theta)[1]
        curvature = _curvature(downhill, theta)
        if not np.isfinite(curvature).all() or np.linalg.eigvalsh(curvature)[0] <= 0:
            return theta, "the likelihood has no single maximum near the best parameters"
        step = np.linalg.solve(curvature, slope)
        longest = float(np.abs(step).max())
        theta = np.asarray(np.clip(theta - step / max(1.0, longest), low, high))
        if longest < _AT_REST:
            return theta, None
    return (
        theta,
        f"the search did not come to rest in {_NEWTON_STEPS} steps (the last one was {longest:.1e})",
    )


def _curvature(downhill: Objective, theta: Floats) -> Floats:
    rows = []
    for index in range(theta.size):
        shift = np.zeros_like(theta)
        shift[index] = _DIFFERENCE
        rows.append((downhill(theta + shift)[1] - downhill(theta - shift)[1]) / (2 * _DIFFERENCE))
    matrix = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)


def _at_bound(theta: Floats, ranges: Sequence[Range], low: Floats, high: Floats) -> str | None:
    reached = [
        f"{one.name} runs to {one.low if below else one.high:g}"
        for one, below, above in zip(ranges, theta - low < _NEAR, high - theta < _NEAR, strict=True)
        if below or above
    ]
    return ", ".join(reached) or None
