from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from sklearn.metrics import log_loss

from engine.config import Model
from engine.propensity.boosting import Boosted, Rows, at_odds, best_odds, boost, mean_log_loss, useful_threads
from engine.propensity.model_text import parse_model_text


def rows_of(seed: int, rows: int, features: int = 3, intercept: float = -1.0) -> Rows:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, features))
    matrix[generator.random(matrix.shape) < 0.1] = np.nan
    log_odds = intercept + 1.5 * np.nan_to_num(matrix[:, 0]) + np.where(matrix[:, 1] > 0, 1.0, -1.0)
    return Rows(matrix, (generator.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8))


def boosted(train: Rows, valid: Rows, settings: Model, threads: int = 1) -> Boosted:
    names = [f"feature {number}" for number in range(train.matrix.shape[1])]
    return boost(train, valid, names, [False] * len(names), settings, 1, threads)


def scores_of(found: Boosted, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(lightgbm.Booster(model_str=found.text).predict(matrix, num_threads=1))


def test_two_threads_give_the_text_and_loss_of_one_on_rows_of_uneven_weight() -> None:
    generator = np.random.default_rng(5)
    shape = (60_000, 6)
    matrix = generator.lognormal(size=shape) * (generator.random(shape) < 0.3)
    labels = (generator.random(shape[0]) < 1 / (1 + np.exp(6 - 3 * matrix[:, 0]))).astype(np.int8)
    # So many values are learned on two threads.
    matrix = np.hstack([matrix] * 7)
    assert useful_threads(matrix[:50_000], 2) == 2
    train, valid = Rows(matrix[:50_000], labels[:50_000]), Rows(matrix[50_000:], labels[50_000:])
    settings = Model(trees=6, leaves=8, learning_rate=0.3, monotone={"feature 0": "increasing"}, feature_share=0.8)
    assert boosted(train, valid, settings, 1) == boosted(train, valid, settings, 2)


@pytest.mark.parametrize(("rows", "expected"), [(0, 1), (19_999, 1), (20_000, 2), (40_000, 4), (10**6, 4)])
def test_small_data_is_learned_on_fewer_threads(rows: int, expected: int) -> None:
    assert useful_threads(np.broadcast_to(np.float64(0), (rows, 100)), threads=4) == expected


def test_the_trees_kept_are_those_of_the_least_loss_on_validation_rows() -> None:
    train, valid = rows_of(1, 1000), rows_of(2, 2000)
    settings = Model(trees=100, early_stopping_rounds=100, learning_rate=0.1, calibration="none")
    found = boosted(train, valid, settings)
    assert 5 < found.trees < 100
    assert len(parse_model_text(found.text, [False] * 3)) == found.trees
    losses = []
    whole = lightgbm.Booster(
        model_str=boosted(train, valid, settings.model_copy(update={"early_stopping_rounds": 0})).text
    )
    for trees in range(1, 101):
        scores = np.asarray(whole.predict(valid.matrix, num_iteration=trees, num_threads=1))
        losses.append(log_loss(valid.labels, scores))
    assert np.argmin(losses) + 1 == found.trees
    assert found.loss == pytest.approx(min(losses), abs=1e-12)
    assert found.loss == mean_log_loss(valid.labels, scores_of(found, valid.matrix))
    assert boosted(train, valid, settings.model_copy(update={"early_stopping_rounds": 10})).trees <= found.trees


def test_without_early_stopping_every_tree_is_kept() -> None:
    settings = Model(trees=60, early_stopping_rounds=0, learning_rate=0.3)
    assert boosted(rows_of(1, 500), rows_of(2, 500), settings).trees == 60


def test_another_base_rate_of_the_validation_rows_does_not_stop_the_training() -> None:
    train, shifted = rows_of(1, 3000, intercept=-3.0), rows_of(2, 3000, intercept=1.0)
    settings = Model(trees=100, early_stopping_rounds=20)
    same, other = boosted(train, rows_of(2, 3000, intercept=-3.0), settings), boosted(train, shifted, settings)
    assert same.trees > 20
    assert other.trees > 20
    scores = scores_of(other, shifted.matrix)
    assert other.loss < mean_log_loss(shifted.labels, scores) - 0.2
    # Without a calibration that takes the shift up, the loss of the scores as they are decides.
    plain = boosted(train, shifted, settings.model_copy(update={"calibration": "none"}))
    assert plain.loss == mean_log_loss(shifted.labels, scores_of(plain, shifted.matrix))


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("rate", [0.001, 0.3, 0.9])
def test_the_best_odds_bring_the_mean_to_the_rate(start: float, rate: float) -> None:
    generator = np.random.default_rng(3)
    scores = generator.beta(1, 20, 5000)
    labels = (np.arange(5000) < rate * 5000).astype(np.int8)
    factor = best_odds(labels, scores, start)
    moved = at_odds(scores, factor)
    assert moved.mean() == pytest.approx(rate, rel=1e-5)
    assert moved / (1 - moved) == pytest.approx(factor * scores / (1 - scores))
    least = mean_log_loss(labels, moved)
    assert all(mean_log_loss(labels, at_odds(scores, factor * other)) > least for other in (0.9, 1.1))


def test_the_mean_log_loss_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(4)
    labels = (generator.random(1000) < 0.2).astype(np.int8)
    scores = np.concatenate([generator.random(996), [0.0, 1.0, 0.0, 1.0]])
    assert mean_log_loss(labels, scores) == pytest.approx(log_loss(labels, scores), rel=1e-12)


@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_a_monotone_feature_moves_every_score_in_one_direction(direction: str) -> None:
    generator = np.random.default_rng(6)
    matrix = generator.normal(size=(3000, 3))
    sign = 1 if direction == "increasing" else -1
    # What the rows say turns round in the middle: without the constraint, the trees follow.
    log_odds = sign * (matrix[:, 0] + 3 * np.sin(2 * matrix[:, 0])) + matrix[:, 1]
    labels = (generator.random(3000) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    train, valid = Rows(matrix[:2000], labels[:2000]), Rows(matrix[2000:], labels[2000:])
    grid = np.linspace(-3, 3, 61)
    settings = Model(trees=60, leaves=15, min_rows_per_leaf=20)

    def smallest_step(constrained: Model) -> float:
        found = boosted(train, valid, constrained)
        rows = np.repeat(matrix[:50], grid.size, axis=0)
        rows[:, 0] = np.tile(grid, 50)
        scores = scores_of(found, rows).reshape(50, grid.size)
        assert np.ptp(scores, axis=1).min() > 0.1
        return float((sign * np.diff(scores, axis=1)).min())

    assert smallest_step(settings) < -0.02
    assert smallest_step(settings.model_validate({**settings.model_dump(), "monotone": {"feature 0": direction}})) >= 0


def test_a_share_of_the_features_and_a_penalty_change_the_trees() -> None:
    train, valid = rows_of(1, 1000), rows_of(2, 500)
    settings = Model(trees=10)
    texts = {
        boosted(train, valid, settings.model_copy(update=change)).text
        for change in ({}, {"feature_share": 0.5}, {"l2": 50.0})
    }
    assert len(texts) == 3


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_features_that_say_nothing_leave_one_tree(share: float) -> None:
    rows = Rows(np.ones((400, 2)), (np.arange(400) % 4 == 0).astype(np.int8))
    found = boosted(rows, rows, Model(trees=50, feature_share=share))
    assert found.trees == 1
    assert found.gains == (0.0, 0.0)
    assert scores_of(found, rows.matrix) == pytest.approx(np.full(400, 0.25))
