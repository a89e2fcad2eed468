from __future__ import annotations

import json
import math
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from engine.propensity.calibration import (
    IDENTITY,
    Bin,
    Calibration,
    calibrate,
    expected_error,
    fit_calibration,
    reliability,
)
from engine.propensity.metrics import measure

METHODS = ["auto", "isotonic", "platt", "none"]
labelled = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1) | st.integers(0, 8).map(lambda eighth: eighth / 8)),
    min_size=1,
    max_size=120,
)


def overconfident(seed: int, rows: int, mean: float = -3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    log_odds = random.normal(mean, 1.2, rows)
    chance = 1 / (1 + np.exp(-log_odds))
    raw = 1 / (1 + np.exp(-1.8 * log_odds - 1))
    return random.random(rows) < chance, raw, chance


@given(labelled, st.sampled_from(METHODS), st.lists(st.floats(0, 1) | st.just(math.nan), max_size=60))
def test_probabilities_rise_with_the_score_and_stay_in_range(
    rows: list[tuple[bool, float]], method: str, scores: list[float]
) -> None:
    calibration = fit_calibration(*zip(*rows, strict=True), method)
    given_scores = np.array([*scores, 0.0, 1.0, *(score for _, score in rows)])
    found = calibrate(calibration, given_scores)
    assert np.isnan(found).tolist() == np.isnan(given_scores).tolist()
    known = np.argsort(given_scores)[: np.count_nonzero(~np.isnan(given_scores))]
    assert (np.diff(found[known]) >= 0).all()
    assert ((found[known] >= 0) & (found[known] <= 1)).all()
    assert found.tolist() == pytest.approx(
        [float(calibrate(calibration, np.array([s]))[0]) for s in given_scores], rel=0, abs=0, nan_ok=True
    )


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@pytest.mark.parametrize(("rows", "mean"), [(40_000, -3.0), (40_000, 0.0), (40_000, -6.0)])
def test_calibrated_scores_come_near_to_the_chances(method: str, rows: int, mean: float) -> None:
    truth, raw, _ = overconfident(1, rows, mean)
    calibration = fit_calibration(truth, raw, method)
    later, raw_later, chance = overconfident(2, rows, mean)
    found = calibrate(calibration, raw_later)
    before, after = measure(later, raw_later), measure(later, found)
    rate = float(later.mean())
    assert after.ece < max(before.ece / 4, 0.004)
    assert after.ece < 0.2 * rate
    assert after.log_loss < before.log_loss
    assert float(np.abs(found - chance).mean()) < 0.15 * rate
    assert float(found.mean()) == pytest.approx(rate, rel=0.15)
    # The ranking is kept, as finely as the model ranks.
    assert after.auc == pytest.approx(before.auc, abs=1e-6)
    assert len(np.unique(found)) > 0.95 * rows


@pytest.mark.parametrize(
    ("positives", "negatives", "method"),
    [
        (1000, 5000, "isotonic"),
        (999, 5000, "platt"),
        (5000, 1000, "isotonic"),
        (5000, 999, "platt"),
        (0, 9000, "platt"),
    ],
)
def test_auto_follows_the_rarer_class(positives: int, negatives: int, method: str) -> None:
    labels = np.repeat([1, 0], [positives, negatives])
    assert fit_calibration(labels, np.random.default_rng(3).random(labels.size), "auto").method == method


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize("rate", [0.0, 0.002, 0.3, 1.0])
def test_one_score_gets_the_smoothed_rate(method: str, rate: float) -> None:
    rows = 4000
    labels = np.arange(rows) < rate * rows
    positives = int(labels.sum())
    smoothed = (positives * (positives + 1) / (positives + 2) + (rows - positives) / (rows - positives + 2)) / rows
    calibration = fit_calibration(labels, np.full(rows, 0.4), method)
    assert calibrate(calibration, np.array([0.4])) == pytest.approx([smoothed])


def test_isotonic_knots_are_the_pools_of_adjacent_violators() -> None:
    from scipy.optimize import isotonic_regression

    truth, raw, _ = overconfident(4, 9000)
    calibration = fit_calibration(truth, raw, "isotonic")
    order = np.argsort(raw)
    groups = np.arange(9000) * 450 // 9000
    rates = np.bincount(groups, weights=truth[order]) / 20
    blocks = isotonic_regression(rates, weights=np.full(450, 20.0)).blocks
    positives, negatives = int(truth.sum()), int((~truth).sum())
    low, high = 1 / (negatives + 2), (positives + 1) / (positives + 2)
    knots = [float(raw[order][20 * a : 20 * b].mean()) for a, b in pairwise(blocks)]
    values = [float(rates[a:b].mean()) * (high - low) + low for a, b in pairwise(blocks)]
    # scipy keeps pools of equal rates apart where they were never pooled.
    assert len({*values}) == len(values)
    assert calibration.knots == pytest.approx((0.0, *knots, 1.0))
    assert calibration.values == pytest.approx((0.0, *values, min(1.0, values[-1] / knots[-1])))


@pytest.mark.parametrize(
    ("scores", "labels", "knots", "values"),
    [
        ([0.0] * 30, [0, 1, 1] * 10, (0.0, 1.0), (0.664, 0.664)),
        ([1.0] * 30, [0, 1, 1] * 10, (0.0, 1.0), (0.0, 0.664)),
        ([0.2] * 20 + [0.8] * 20, [0] * 20 + [1] * 20, (0.0, 0.2, 0.8, 1.0), (0.0, 1 / 22, 21 / 22, 1.0)),
        ([0.2] * 20 + [0.8] * 20, [1] * 20 + [0] * 20, (0.0, 0.5, 1.0), (0.0, 0.5, 1.0)),
    ],
    ids=["zeros", "ones", "two pools", "reversed"],
)
def test_curves_of_few_scores(
    scores: list[float], labels: list[int], knots: tuple[float, ...], values: tuple[float, ...]
) -> None:
    calibration = fit_calibration(labels, scores, "isotonic")
    assert calibration.knots == pytest.approx(knots)
    assert calibration.values == pytest.approx(values, abs=1e-3)


def test_knots_are_few_and_rise() -> None:
    random = np.random.default_rng(5)
    scores = random.random(60_000)
    calibration = fit_calibration(random.random(60_000) < scores, scores, "isotonic")
    assert 50 < len(calibration.knots) <= 502
    assert (np.diff(calibration.knots) > 0).all()
    assert (np.diff(calibration.values) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_changes_no_bit(method: str) -> None:
    truth, raw, _ = overconfident(6, 3000)
    raw = np.round(raw, 3)
    shuffle = np.random.default_rng(7).permutation(3000)
    assert fit_calibration(truth, raw, method) == fit_calibration(truth[shuffle], raw[shuffle], method)


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_survives_json(method: str) -> None:
    calibration = fit_calibration(*overconfident(8, 3000)[:2], method)
    adapter = TypeAdapter(Calibration)
    assert adapter.validate_json(adapter.dump_json(calibration), strict=True) == calibration
    assert len({calibration, IDENTITY}) == 1 + (method != "none")


def test_no_calibration_is_the_identity() -> None:
    scores = np.array([0.0, 0.3, math.nan, 1.0])
    found = calibrate(IDENTITY, scores)
    assert found.tobytes() == scores.tobytes()
    assert found is not scores


@pytest.mark.parametrize("scores", [[-0.1], [1.1], [0.5, math.inf]])
def test_scores_out_of_range_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(IDENTITY, np.array(scores))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="one label and one score"):
        fit_calibration([], [], "auto")
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_calibration([0, 1], [0.5, math.nan], "platt")
    with pytest.raises(ValueError, match="got 'linear'"):
        fit_calibration([0, 1], [0.5, 0.6], "linear")  # type: ignore[arg-type]


@given(labelled, st.integers(1, 12))
def test_a_reliability_table_holds_every_row_in_order(rows: list[tuple[bool, float]], bins: int) -> None:
    labels, scores = zip(*rows, strict=True)
    table = reliability(labels, scores, bins)
    assert len(table) <= bins
    assert sum(part.rows for part in table) == len(rows)
    assert sum(part.rows * part.rate for part in table) == pytest.approx(sum(labels))
    assert math.fsum(part.rows * part.mean_score for part in table) == pytest.approx(sum(scores))
    # Each bin is the next stretch of the sorted rows, and no score is in two.
    ordered = sorted(scores)
    ends = np.cumsum([part.rows for part in table]).tolist()
    assert all(ordered[end - 1] < ordered[end] for end in ends[:-1])


def test_bins_of_distinct_scores_are_of_equal_count() -> None:
    scores = np.linspace(0, 1, 1003)
    assert {part.rows for part in reliability(scores > 0.5, scores)} == {100, 101}


def test_equal_scores_share_a_bin() -> None:
    table = reliability([0] * 6 + [1] * 4, [0.1] * 6 + [0.6, 0.7, 0.7, 0.9], bins=2)
    assert table == (Bin(rows=6, mean_score=pytest.approx(0.1), rate=0.0), Bin(4, pytest.approx(0.725), 1.0))
    assert expected_error(table) == pytest.approx((6 * 0.1 + 4 * 0.275) / 10)
    assert json.loads(json.dumps([asdict(part) for part in table]))[1]["rows"] == 4


def test_at_least_one_bin() -> None:
    with pytest.raises(ValueError, match="at least one bin"):
        reliability([0, 1], [0.1, 0.2], bins=0)
