from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from engine.propensity import baseline as module
from engine.propensity.baseline import baseline_scores, fit_baseline
from engine.propensity.boosting import Rows

COEFFICIENTS = np.array([1.0, -2.0, 0.5])


def linear_rows(seed: int, rows: int) -> Rows:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, 3))
    log_odds = (matrix * COEFFICIENTS).sum(axis=1) - 1
    return Rows(matrix, (generator.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8))


def test_the_coefficients_of_a_linear_world_come_out() -> None:
    rows = linear_rows(1, 50_000)
    fitted = fit_baseline(rows, [None] * 3)
    assert not any(number.on_log_scale for number in fitted.numbers)
    slopes = [number.slope / number.deviation for number in fitted.numbers]
    assert slopes == pytest.approx(COEFFICIENTS, abs=0.06)


def test_scores_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(2)
    rows = linear_rows(1, 2000)
    matrix = np.column_stack([rows.matrix, generator.integers(0, 4, 2000)])
    matrix[generator.random(2000) < 0.2, 1] = np.nan
    matrix[generator.random(2000) < 0.1, 3] = np.nan
    fitted = fit_baseline(Rows(matrix, rows.labels), [None, None, None, 4])

    missing = np.isnan(matrix[:, 1])
    median = np.sort(matrix[~missing, 1])[(np.count_nonzero(~missing) - 1) // 2]
    filled = np.column_stack([matrix[:, 0], np.where(missing, median, matrix[:, 1]), matrix[:, 2]])
    scaled = (filled - filled.mean(axis=0)) / filled.std(axis=0)
    design = np.column_stack([scaled, missing, *(matrix[:, 3] == code for code in range(4))])
    reference = LogisticRegression(max_iter=1000, tol=1e-8).fit(design, rows.labels).predict_proba(design)[:, 1]
    assert baseline_scores(fitted, matrix) == pytest.approx(reference, abs=1e-3)


def test_what_is_skewed_enters_on_a_log_scale() -> None:
    generator = np.random.default_rng(3)
    money, share = generator.lognormal(5, 2, 4000), generator.random(4000)
    rare = (generator.random(4000) < 0.01) * 1.0
    log_odds = np.log(money) - 5 + 4 * share - 2
    labels = (generator.random(4000) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    matrix = np.column_stack([money, -money, share, rare])
    fitted = fit_baseline(Rows(matrix, labels), [None] * 4)
    assert [number.on_log_scale for number in fitted.numbers] == [True, True, False, False]
    assert roc_auc_score(labels, baseline_scores(fitted, matrix)) > 0.99 * roc_auc_score(labels, log_odds)


def test_what_says_nothing_is_left_out_and_gaps_count() -> None:
    generator = np.random.default_rng(4)
    labels = (np.arange(400) % 4 == 0).astype(np.int8)
    gaps = np.where(labels == 1, np.nan, 7.0)
    constant, nothing, empty = np.full(400, 3.0), np.full(400, np.nan), np.full(400, np.nan)
    fitted = fit_baseline(Rows(np.column_stack([constant, nothing, gaps, empty]), labels), [None, None, None, 0])
    assert [number.position for number in fitted.numbers] == [2]
    assert fitted.categories == ()
    rows = np.column_stack([generator.normal(size=(2, 2)), [np.nan, 9.0], [np.nan, np.nan]])
    scores = baseline_scores(fitted, rows)
    assert scores[0] > 0.9
    assert scores[1] < 0.1


def test_without_any_column_every_row_has_the_base_rate() -> None:
    labels = (np.arange(400) % 4 == 0).astype(np.int8)
    fitted = fit_baseline(Rows(np.ones((400, 1)), labels), [None])
    assert baseline_scores(fitted, np.ones((3, 1))) == pytest.approx([0.25] * 3, abs=1e-5)


def test_an_unknown_category_has_no_effect() -> None:
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 3, 3000).astype(float)
    labels = (generator.random(3000) < np.array([0.1, 0.3, 0.7])[codes.astype(int)]).astype(np.int8)
    fitted = fit_baseline(Rows(codes[:, np.newaxis], labels), [3])
    scores = baseline_scores(fitted, np.array([[0.0], [1.0], [2.0], [np.nan]]))
    assert scores[:3] == pytest.approx([0.1, 0.3, 0.7], abs=0.04)
    assert scores[3] == pytest.approx(1 / (1 + np.exp(-fitted.intercept)))


def test_a_score_does_not_depend_on_other_rows_or_on_extremes() -> None:
    rows = linear_rows(1, 1000)
    fitted = fit_baseline(rows, [None] * 3)
    scores = baseline_scores(fitted, rows.matrix)
    parts = [baseline_scores(fitted, part) for part in np.array_split(rows.matrix, 7)]
    assert np.concatenate(parts).tobytes() == scores.tobytes()
    far = np.array([[1e308, 0.0, 0.0], [-1e308, 0.0, 0.0]])
    low, high = sorted(baseline_scores(fitted, far))
    assert 0 < low < 1e-9 < 1 - 1e-9 < high < 1
    again = fit_baseline(Rows(np.vstack([rows.matrix, far]), np.append(rows.labels, [1, 0])), [None] * 3)
    assert np.isfinite(baseline_scores(again, far)).all()


def test_of_many_rows_as_many_are_taken_at_equal_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = linear_rows(1, 5000)
    whole = fit_baseline(rows, [None] * 3)
    monkeypatch.setattr(module, "MAX_ROWS", 2000)
    taken = np.arange(2000) * 5000 // 2000
    assert fit_baseline(rows, [None] * 3) == fit_baseline(Rows(rows.matrix[taken], rows.labels[taken]), [None] * 3)
    assert fit_baseline(rows, [None] * 3) != whole
    assert roc_auc_score(rows.labels, baseline_scores(fit_baseline(rows, [None] * 3), rows.matrix)) > 0.85
