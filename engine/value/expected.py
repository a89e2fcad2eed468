"""Expected purchases under BG/NBD of a customer who is alive at T (Fader, Hardie and Lee 2005, equation 10).

The equation reads C / (a − 1) · [1 − (1 − z)^(r + x) ₂F₁(r + x, b + x; C; z)] with C = a + b + x − 1 and
z = t / (alpha + T + t). As it stands it overflows for customers with many purchases, is 0 / 0 at a = 1, and fails where
C is 0 or negative. Here Euler's transformation takes x out of the exponents and the poles are divided out; where the
series would be long or would lose digits, the integral that the equation stands for is computed instead.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.stable_math import exp, log, log1p
from engine.value.bgnbd import DAYS_PER_WEEK, BgNbd, Integers
from engine.value.optimum import Floats

# Where the series is used: up to this z it is short, and with these parameters its terms hardly cancel.
_SERIES_Z: Final = 0.93
_SERIES_EXCESS: Final = 4.0
_SERIES_A: Final = 20.0
_SERIES_SHAPES: Final = 1e3
_PRECISION: Final = 1e-17
# Terms between two looks at who is done.
_STRIDE: Final = 8
# The integral: the step in log-odds, how many e-foldings of the weight count, and where the steps begin to grow.
_STEP: Final = 0.3
_FOLDS: Final = 44.0
_LINEAR: Final = 20.0
# Log-odds below which a probability is as good as none.
_NEVER: Final = -600.0
_ROWS: Final = 1024


def purchases_if_alive(model: BgNbd, frequency: Integers, t_days: Integers, horizons: Integers) -> Floats:
    """Expected purchases in the `horizons` days after T, given that the customer is alive at T.

    A value depends on its own x, T and horizon alone. Relative errors are below 1e-9.

    Args:
        model: The parameters.
        frequency: Repeat purchase days x, one per row.
        t_days: Days from the first purchase day to the end of the observation, T, one per row.
        horizons: Days ahead, each at least 1; one per column.

    Returns:
        One row per customer, one column per horizon.
    """
    shape = (frequency.size, horizons.size)
    x = np.repeat(frequency.astype(np.float64), horizons.size)
    ahead = np.tile(horizons / DAYS_PER_WEEK, frequency.size)
    elapsed = model.alpha + np.repeat(t_days / DAYS_PER_WEEK, horizons.size)
    z = ahead / (elapsed + ahead)
    shapes = model.a + model.b
    tame = model.r - shapes <= _SERIES_EXCESS and model.a <= _SERIES_A and shapes <= _SERIES_SHAPES
    short = (z <= _SERIES_Z) & tame
    expected = np.empty(x.size)
    expected[short] = by_series(model, x[short], elapsed[short], ahead[short])
    expected[~short] = by_integral(model, x[~short], elapsed[~short], ahead[~short])
    return expected.reshape(shape)


def by_series(model: BgNbd, x: Floats, elapsed: Floats, ahead: Floats) -> Floats:
    """Equation 10 for a living customer by the hypergeometric series, after Euler's transformation.

    With e = a − 1 and A = a + b − 1 − r it is −[C h + g (1 − z)^e], where h = ((1 − z)^e − 1) / e and
    g = Σ A⋯(A + n − 1) · a⋯(a + n − 2) / ((C + 1)⋯(C + n − 1) · n!) · zⁿ over n ≥ 1: finite for every a and C.

    Args:
        model: The parameters.
        x: Repeat purchases.
        elapsed: alpha + T, in weeks.
        ahead: The horizon t, in weeks.
    """
    r, _, a, b = model.values
    z = ahead / (elapsed + ahead)
    shape = a + b + x
    series = _series(a + b - 1.0 - r, a, shape, z)
    excess = a - 1.0
    survived = log(elapsed / (elapsed + ahead))
    power = _expm1(excess * survived) / excess if excess else survived
    return -((shape - 1.0) * power + series * exp(excess * survived))


def by_integral(model: BgNbd, x: Floats, elapsed: Floats, ahead: Floats) -> Floats:
    """The same as E[(1 − (1 + p t / (alpha + T))^−(r + x)) / p] over the drop-out probability p ~ Beta(a, b + x).

    All terms are positive: nothing cancels, whatever the parameters. The trapezoidal rule in the log-odds of p, whose
    error falls exponentially with the number of nodes as the integrand is analytic and vanishes at both ends.

    Args:
        model: The parameters.
        x: Repeat purchases.
        elapsed: alpha + T, in weeks.
        ahead: The horizon t, in weeks.
    """
    expected = np.empty(x.size)
    for frequency in np.unique(x):
        leaves, weights = _nodes(model.a, model.b + float(frequency))
        rows = np.flatnonzero(x == frequency)
        for start in range(0, rows.size, _ROWS):
            part = rows[start : start + _ROWS]
            growth = log1p((ahead[part] / elapsed[part])[:, None] * leaves)
            bought = -_expm1(-(model.r + frequency) * growth) / leaves
            expected[part] = np.cumsum(bought * weights, axis=1)[:, -1]
    return expected


def _series(first: float, second: float, third: Floats, z: Floats) -> Floats:
    total = np.empty(z.size)
    place = np.arange(z.size)
    term = first * z
    so_far = term.copy()
    order = 1
    while place.size:
        ratio = np.empty_like(z)
        for _ in range(_STRIDE):
            ratio = (first + order) * (second + (order - 1)) / ((third + (order - 1)) * (order + 1)) * z
            term = term * ratio
            so_far = so_far + term
            order += 1
        # What is left is at most a geometric series of the greater of this ratio and the last one, z.
        bound = np.maximum(np.abs(ratio), z)
        done = (bound < 1) & (np.abs(term) * bound <= _PRECISION * (1 - bound) * np.abs(so_far))
        total[place[done]] = so_far[done]
        place = place[~done]
        term, so_far, third, z = (values[~done] for values in (term, so_far, third, z))
    return total


def _nodes(a: float, b: float) -> tuple[Floats, Floats]:
    """Probabilities and weights, which sum to 1, of the rule for Beta(a, b)."""
    width = np.sqrt(1.0 / a + 1.0 / b)
    step = min(_STEP, 0.4 * width)
    below, above = (_FOLDS / shape + 9.0 * width for shape in (a, b))
    left, right = (int(np.ceil(_grown(reach) / step)) for reach in (below, above))
    at = np.arange(-left, right + 1) * step / _LINEAR
    rising, falling = exp(at), exp(-at)
    odds = float(log(a / b)) + _LINEAR * (rising - falling) / 2.0
    # ln p and ln(1 − p), neither of which may cancel.
    tail = log1p(exp(-np.abs(odds)))
    log_leaves = np.minimum(odds, 0.0) - tail
    height = a * log_leaves + b * (np.minimum(-odds, 0.0) - tail)
    weights = exp(height - height.max()) * (rising + falling)
    kept = weights > _PRECISION * weights.max()
    weights = weights[kept]
    return exp(np.maximum(log_leaves[kept], _NEVER)), weights / np.cumsum(weights)[-1]


def _grown(reach: float) -> float:
    """Where the nodes, which are even near the centre and grow away from it, are `reach` from it."""
    ratio = reach / _LINEAR
    return _LINEAR * float(log(ratio + np.sqrt(ratio * ratio + 1.0)))


def _expm1(values: Floats) -> Floats:
    """e^x − 1 without loss near 0 (Kahan), for x below 700."""
    within = np.maximum(values, -40.0)
    power = exp(within)
    off = power - 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(off == 0, within, off * within / log(power))
