from __future__ import annotations

import json
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.metrics import measure

tied_rows = st.lists(st.tuples(st.booleans(), st.integers(0, 8).map(lambda eighth: eighth / 8)), min_size=1)
free_rows = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1)


@given(st.one_of(tied_rows, free_rows))
def test_measures_agree_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    from sklearn import metrics as oracle

    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    result = measure(labels, scores)

    assert result.log_loss == pytest.approx(oracle.log_loss(labels, scores, labels=[False, True]), rel=1e-9, abs=1e-12)
    assert result.brier == pytest.approx(oracle.brier_score_loss(labels, scores, labels=[0, 1], pos_label=1))
    if labels.any():
        assert result.average_precision == pytest.approx(oracle.average_precision_score(labels, scores))
    if 0 < labels.sum() < labels.size:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert result.auc == pytest.approx(oracle.roc_auc_score(labels, scores))


@given(tied_rows)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[bool, float]]) -> None:
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    result = measure(*zip(*rows, strict=True))
    if not positives or not negatives:
        assert result.auc is None
        return
    wins = sum(Fraction(p > n) + Fraction(p == n, 2) for p in positives for n in negatives)
    assert result.auc == float(wins / (len(positives) * len(negatives)))


def spread_lift(rows: list[tuple[bool, float]]) -> list[float]:
    # Every row is cut into ten parts, which carry an equal share of the positives of its score.
    by_score: dict[float, list[bool]] = {}
    for label, score in rows:
        by_score.setdefault(score, []).append(label)
    parts = [
        Fraction(sum(labels), len(labels) * 10)
        for _, labels in sorted(by_score.items(), reverse=True)
        for _ in range(len(labels) * 10)
    ]
    size = len(rows)
    positives = sum(label for label, _ in rows)
    return [float(sum(parts[size * d : size * (d + 1)]) * 10 / positives) for d in range(10)]


@given(tied_rows)
def test_lift_of_tenths_agrees_with_spreading_every_row(rows: list[tuple[bool, float]]) -> None:
    result = measure(*zip(*rows, strict=True))
    if not any(label for label, _ in rows):
        assert result.lift_by_decile == ()
        return
    assert list(result.lift_by_decile) == spread_lift(rows)
    assert sum(result.lift_by_decile) == pytest.approx(10)


@given(st.one_of(tied_rows, free_rows), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_figure(rows: list[tuple[bool, float]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure(*zip(*rows, strict=True)) == measure(*zip(*shuffled, strict=True))


@pytest.mark.parametrize("positives", [1, 3, 7])
def test_a_constant_at_the_base_rate_gets_the_base_figures(positives: int) -> None:
    labels = [1] * positives + [0] * (16 - positives)
    result = measure(labels, [positives / 16] * 16)
    assert result.auc == 0.5
    assert result.average_precision == result.base_rate == positives / 16
    assert result.log_loss == pytest.approx(result.base_log_loss, rel=1e-14)
    assert result.brier == pytest.approx(result.base_brier, rel=1e-14)
    assert result.lift_by_decile == (1.0,) * 10


def test_a_perfect_ranking_has_all_positives_in_the_first_tenths() -> None:
    labels = [1] * 4 + [0] * 16
    result = measure(labels, np.linspace(0.99, 0.01, 20))
    assert result.auc == result.average_precision == 1.0
    assert result.lift_by_decile == (5.0, 5.0) + (0.0,) * 8


@pytest.mark.parametrize(
    ("labels", "average_precision", "lift"), [([0, 0, 0], None, ()), ([1, 1, 1], 1.0, (1.0,) * 10)]
)
def test_one_class_has_no_auc(labels: list[int], average_precision: float | None, lift: tuple[float, ...]) -> None:
    result = measure(labels, [0.25, 0.5, 0.5])
    assert result.auc is None
    assert result.average_precision == average_precision
    assert result.lift_by_decile == lift
    assert len(result.gain_by_decile) == len(lift)
    assert result.base_log_loss == result.base_brier == 0.0


def test_a_log_loss_is_the_mean_of_its_rows() -> None:
    scores = [0.1, 0.25, 0.999]
    expected = -(math.log(0.1) + math.log(0.75) + math.log(0.999)) / 3
    assert measure([1, 0, 1], scores).log_loss == pytest.approx(expected, rel=1e-15)


def test_certain_and_wrong_is_finite() -> None:
    assert measure([1, 0], [0.0, 1.0]).log_loss == pytest.approx(-math.log(np.finfo(np.float64).eps), rel=1e-3)


@given(st.one_of(tied_rows, free_rows))
def test_gain_is_the_running_share_of_the_positives(rows: list[tuple[bool, float]]) -> None:
    result = measure(*zip(*rows, strict=True))
    if not result.positives:
        assert result.gain_by_decile == ()
        return
    assert result.gain_by_decile == pytest.approx(np.cumsum(result.lift_by_decile) / 10)
    assert result.gain_by_decile[-1] == 1.0


@given(tied_rows)
def test_precision_of_the_first_rows_agrees_with_cutting_every_row(rows: list[tuple[bool, float]]) -> None:
    # Every row is cut into a hundred parts, which carry an equal share of the positives of its score.
    rates = {
        s: Fraction(sum(y for y, other in rows if other == s), sum(other == s for _, other in rows)) for _, s in rows
    }
    parts = [rates[score] for score in sorted((score for _, score in rows), reverse=True) for _ in range(100)]
    expected = [float(sum(parts[: len(rows) * share]) / (len(rows) * share)) for share in (1, 5, 10, 20)]
    result = measure(*zip(*rows, strict=True))
    assert result.precision_at == tuple(zip((0.01, 0.05, 0.1, 0.2), expected, strict=True))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, unique_by=lambda row: row[1]))
def test_calibration_error_of_distinct_scores_is_that_of_equal_cuts(rows: list[tuple[bool, float]]) -> None:
    ordered = sorted(rows, key=lambda row: row[1])
    bins: dict[int, list[tuple[bool, float]]] = {}
    for position, row in enumerate(ordered):
        bins.setdefault((2 * position + 1) * 10 // (2 * len(rows)), []).append(row)
    expected = sum(abs(sum(score - label for label, score in part)) for part in bins.values()) / len(rows)
    assert measure(*zip(*rows, strict=True)).ece == pytest.approx(expected, abs=1e-12)


def test_rates_as_predicted_have_no_calibration_error() -> None:
    labels = [1, 0, 0, 0] * 10 + [1, 1, 1, 0] * 10
    assert measure(labels, [0.25] * 40 + [0.75] * 40).ece == 0.0
    assert measure(labels, [0.75] * 40 + [0.25] * 40).ece == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "problem"),
    [
        ([], [], "one label and one score"),
        ([2, 0], [0.5, 0.5], "labels 0 and 1"),
        ([1, 0], [0.5, 1.5], "between 0 and 1"),
    ],
)
def test_what_is_not_labels_and_probabilities_is_refused(labels: list[int], scores: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        measure(labels, scores)


def test_the_figures_are_json() -> None:
    figures = measure([1, 0, 0], [0.9, 0.5, 0.1]).to_dict()
    assert json.loads(json.dumps(figures)) == figures
    assert list(figures)[:4] == ["rows", "positives", "base_rate", "auc"]
