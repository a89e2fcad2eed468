"""Whether a model may be used: it must beat chance, and must not lose to the baseline or to the model in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.propensity.intervals import Difference, auc_interval, paired_difference
from engine.propensity.metrics import Metrics, measure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Verdict:
    """The judgement of a model on test rows."""

    promoted: bool
    reasons: tuple[str, ...]
    """One line per check, whether it passed and by which numbers."""
    baseline: Difference | None
    """AUC of the model less that of the logistic baseline; None with one class only."""
    incumbent: Difference | None
    """AUC of the model less that of the model in use; None without one."""


def judge(
    labels: ArrayLike, scores: ArrayLike, baseline_scores: ArrayLike, incumbent_scores: ArrayLike | None, seed: int
) -> Verdict:
    """Judge a model on test rows, on which the baseline and the model in use are measured too.

    It is promoted if

    - the interval of its AUC lies above 0.5, and its average precision above the base rate,
    - its AUC is not significantly below that of the logistic baseline,
    - nor significantly below that of the model in use, if there is one.

    "Significantly below" is a 95 % interval of the paired difference that lies below 0. A tie is not a loss: on a small
    test set two equally good models differ by chance, and a rule that asks for the greater point estimate would refuse
    one of two such models at random, week by week.

    Args:
        labels: One per row, false or true (0 or 1).
        scores: The model's probability of each row.
        baseline_scores: The logistic baseline's.
        incumbent_scores: Those of the model in use, if there is one that can score these rows.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: No rows, different lengths, labels other than 0 and 1, or scores outside `[0, 1]`.
    """
    metrics = measure(labels, scores)
    baseline = measure(labels, baseline_scores)
    interval = auc_interval(labels, scores, seed)
    if metrics.auc is None or interval is None:
        reason = f"no: {metrics.positives} of {metrics.rows} test rows are positive; both classes are needed to judge"
        return Verdict(promoted=False, reasons=(reason,), baseline=None, incumbent=None)
    auc = f"AUC {metrics.auc:.3f} ({interval.low:.3f} to {interval.high:.3f})"
    against_baseline = paired_difference(labels, scores, baseline_scores, seed)
    checks = [
        (interval.low > 0.5, f"{auc} against 0.5 of chance"),
        _precision_check(metrics),
        _difference_check(auc, baseline, "the logistic baseline", against_baseline),
    ]
    against_incumbent = None
    if incumbent_scores is not None:
        against_incumbent = paired_difference(labels, scores, incumbent_scores, seed)
        incumbent = measure(labels, incumbent_scores)
        checks.append(_difference_check(auc, incumbent, "the model in use", against_incumbent))
    return Verdict(
        promoted=all(passed for passed, _ in checks),
        reasons=tuple(f"{'yes' if passed else 'no'}: {text}" for passed, text in checks),
        baseline=against_baseline,
        incumbent=against_incumbent,
    )


def _precision_check(metrics: Metrics) -> tuple[bool, str]:
    precision = metrics.average_precision or 0.0
    text = f"average precision {precision:.4f} against the base rate of {metrics.base_rate:.4f}"
    return precision > metrics.base_rate, text


def _difference_check(auc: str, other: Metrics, whose: str, difference: Difference) -> tuple[bool, str]:
    text = (
        f"{auc} against {other.auc:.3f} of {whose}: "
        f"difference {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
    )
    return difference.high >= 0, text
