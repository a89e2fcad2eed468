from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.propensity import intervals
from engine.propensity.intervals import Difference, Interval, auc_interval, bootstrap, paired_difference
from engine.propensity.metrics import measure

NAMES = {"auc", "average_precision", "log_loss", "brier", "ece", "lift", "base_rate"}
rows = st.lists(st.tuples(st.booleans(), st.integers(0, 8).map(lambda eighth: eighth / 8)), min_size=1, max_size=40)


def simulated(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, their true chances, and a weaker score."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-random.normal(-1.5, 1.2, size)))
    weaker = 1 / (1 + np.exp(-(np.log(chance / (1 - chance)) + random.normal(0, 1.5, size))))
    return random.random(size) < chance, chance, weaker


def as_measured(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    metrics = measure(labels, scores)
    figures = {
        "auc": metrics.auc,
        "average_precision": metrics.average_precision,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier,
        "ece": metrics.ece,
        "lift": metrics.lift_by_decile[0] if metrics.lift_by_decile else None,
        "base_rate": metrics.base_rate,
    }
    return {name: value for name, value in figures.items() if value is not None}


def drawn_one_by_one(labels: np.ndarray, scores: np.ndarray, seed: int, samples: int) -> list[dict[str, float]]:
    order = np.lexsort((labels, -scores))
    labels, scores = labels[order], scores[order]
    random = np.random.Generator(np.random.PCG64(seed))
    draws = (random.integers(0, labels.size, labels.size, dtype=np.int32) for _ in range(samples))
    return [as_measured(labels[drawn], scores[drawn]) for drawn in draws]


@settings(max_examples=40)
@given(rows)
def test_every_draw_is_measured_as_the_metrics_measure_its_rows(rows: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows])
    whole, draws = as_measured(labels, scores), drawn_one_by_one(labels, scores, 5, 9)
    found = bootstrap(labels, scores, seed=5, samples=9)
    expected = {}
    for name, value in whole.items():
        values = [draw[name] for draw in draws if name in draw]
        if values:
            low, high = np.quantile(values, [0.025, 0.975])
            bias = np.mean(values) - value if name == "ece" else 0.0
            expected[name] = (low - bias, high - bias) if name != "ece" else (max(0, low - bias), max(0, high - bias))
    assert {*found} == {*expected}
    for name, (low, high) in expected.items():
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=1e-12), name


def test_the_intervals_of_auc_alone_are_the_same() -> None:
    labels, chance, _ = simulated(1, 400)
    assert auc_interval(labels, chance, seed=3) == bootstrap(labels, chance, seed=3)["auc"]


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(rows: list[tuple[bool, float]], random: object) -> None:
    rows = [*rows, (True, 0.5), (False, 0.5)]
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (tuple(zip(*some, strict=True)) for some in (rows, shuffled))
    assert bootstrap(*first, seed=1, samples=5) == bootstrap(*second, seed=1, samples=5)
    others = [[1 - score if label else score for label, score in some] for some in (rows, shuffled)]
    assert paired_difference(*first, others[0], 1, 20) == paired_difference(*second, others[1], 1, 20)


@pytest.mark.parametrize(
    ("labels", "missing"),
    [([0, 0, 0], {"auc", "average_precision", "lift"}), ([1, 1, 1], {"auc"})],
)
def test_what_one_class_does_not_have_has_no_interval(labels: list[int], missing: set[str]) -> None:
    assert {*bootstrap(labels, [0.1, 0.2, 0.3], seed=1)} == NAMES - missing
    assert auc_interval(labels, [0.1, 0.2, 0.3], seed=1) is None
    with pytest.raises(ValueError, match="both classes"):
        paired_difference(labels, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], seed=1)


def test_the_seed_decides() -> None:
    labels, chance, weaker = simulated(2, 300)
    assert bootstrap(labels, chance, 1) == bootstrap(labels, chance, 1) != bootstrap(labels, chance, 2)
    assert paired_difference(labels, chance, weaker, 1) != paired_difference(labels, chance, weaker, 2)


def test_intervals_hold_the_truth_in_about_95_of_100_simulations() -> None:
    labels, chance, weaker = simulated(99, 400_000)
    true_auc = measure(labels, weaker).auc
    true_difference = measure(labels, chance).auc - true_auc
    true_rate = float(chance.mean())
    held = {"auc": 0, "base_rate": 0, "brier": 0, "difference": 0}
    for seed in range(100):
        labels, chance, weaker = simulated(seed, 500)
        found = bootstrap(labels, weaker, seed, samples=60)
        truth = {
            "auc": true_auc,
            "base_rate": true_rate,
            "brier": float(((1 - weaker) ** 2 * chance + weaker**2 * (1 - chance)).mean()),
        }
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
        difference = paired_difference(labels, chance, weaker, seed, samples=60)
        held["difference"] += difference.low <= true_difference <= difference.high
    assert all(count >= 86 for count in held.values()), held
    assert held["auc"] < 100
    assert held["base_rate"] < 100


def test_an_interval_narrows_with_the_root_of_the_rows() -> None:
    widths = []
    for size in (500, 8000):
        labels, chance, _ = simulated(4, size)
        interval = bootstrap(labels, chance, 1)["auc"]
        assert interval.low < measure(labels, chance).auc < interval.high
        widths.append(interval.high - interval.low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)


def test_the_interval_of_the_calibration_error_holds_it() -> None:
    for seed in range(5):
        labels, chance, weaker = simulated(seed, 2000)
        for scores in (chance, weaker):
            interval = bootstrap(labels, scores, 1)["ece"]
            assert 0 <= interval.low <= measure(labels, scores).ece <= interval.high


def test_models_are_compared_row_by_row() -> None:
    labels, chance, weaker = simulated(5, 2000)
    found = paired_difference(labels, chance, weaker, seed=1)
    assert found.value == pytest.approx(measure(labels, chance).auc - measure(labels, weaker).auc)
    assert 0 < found.low < found.value < found.high
    back = paired_difference(labels, weaker, chance, seed=1)
    assert back.value == -found.value
    assert back.high < 0
    # Half as wide as the intervals of two models on rows of their own would make it.
    alone = bootstrap(labels, chance, 1)["auc"]
    nearly = paired_difference(labels, chance, np.round(chance, 2), seed=1)
    assert nearly.high - nearly.low < (alone.high - alone.low) / 5


def test_a_model_does_not_differ_from_itself() -> None:
    labels, chance, _ = simulated(6, 500)
    assert paired_difference(labels, chance, chance, seed=1) == Difference(value=0.0, low=0.0, high=0.0)
    assert paired_difference(labels, chance, chance / 2, seed=1) == Difference(value=0.0, low=0.0, high=0.0)


@pytest.mark.parametrize("rate", [0.002, 0.3])
def test_neighbours_taken_together_change_next_to_nothing(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    scores = random.random(60_000) ** 2
    labels = random.random(60_000) < np.minimum(1, scores * 3 * rate)

    exact = bootstrap(labels, scores, 1, samples=5)
    monkeypatch.setattr(intervals, "_GROUPS", 4096)
    for name, interval in bootstrap(labels, scores, 1, samples=5).items():
        assert (interval.low, interval.high) == pytest.approx((exact[name].low, exact[name].high), rel=2e-3), name


def test_intervals_are_plain() -> None:
    found = bootstrap([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.5], 1)
    assert all(type(value) is float for interval in found.values() for value in (interval.low, interval.high))
    assert all(interval.low <= interval.high for interval in found.values())
    assert isinstance(found["auc"], Interval)


@pytest.mark.parametrize(
    ("labels", "scores", "samples", "problem"),
    [
        ([], [], 5, "one label and one score"),
        ([0, 2], [0.5, 0.5], 5, "labels 0 and 1"),
        ([0, 1], [0.5, float("nan")], 5, "between 0 and 1"),
        ([0, 1], [0.5, 0.6], 0, "at least one sample"),
    ],
)
def test_wrong_input_is_refused(labels: list[int], scores: list[float], samples: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        bootstrap(labels, scores, 1, samples)
    with pytest.raises(ValueError, match=problem):
        paired_difference(labels, scores, scores, 1, samples)
