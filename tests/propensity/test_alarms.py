from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity import alarms
from engine.propensity.alarms import (
    empty_features,
    feature_alarms,
    identifier_alarm,
    rate_alarm,
    score_alarm,
    shift_alarm,
)

ROWS = 4000
LABELS = np.random.default_rng(1).random(ROWS) < 0.05


def column(kind: str) -> np.ndarray:
    random = np.random.default_rng(2)
    noise = random.random(ROWS)
    columns = {
        "noise": noise,
        "the label": LABELS.astype(float),
        "the inverse": LABELS * -3.0,
        "orders of the window": np.where(LABELS, 1 + (noise * 4).astype(int), 0.0),
        "nearly": np.where(random.random(ROWS) < 0.01, noise > 0.5, LABELS).astype(float),
        "strong": LABELS + random.normal(0, 0.6, ROWS),
        "value where positive": np.where(LABELS, noise, math.nan),
        "value where negative": np.where(LABELS, math.nan, noise),
        "above where known": np.where(noise < 0.9, math.nan, LABELS * 10 + noise),
        "all missing": np.full(ROWS, math.nan),
        "constant": np.full(ROWS, 7.0),
        "infinite": np.where(LABELS, math.inf, -math.inf),
        "leaking code": np.where(LABELS, 3.0, (noise * 7).astype(int) + (noise > 3 / 7)),
        "code of each row": random.permutation(ROWS).astype(float),
        "rare codes": (noise * 200).astype(int).astype(float),
    }
    return columns[kind]


@pytest.mark.parametrize(
    ("kind", "categorical", "alarm"),
    [
        ("noise", False, False),
        ("the label", False, True),
        ("the inverse", False, True),
        ("orders of the window", False, True),
        ("nearly", False, True),
        ("strong", False, False),
        ("value where positive", False, True),
        ("value where negative", False, True),
        ("above where known", False, False),
        ("all missing", False, False),
        ("constant", False, False),
        ("infinite", False, True),
        ("leaking code", False, False),
        ("leaking code", True, True),
        ("value where negative", True, True),
        ("code of each row", True, False),
        ("rare codes", True, False),
        ("all missing", True, False),
    ],
)
def test_what_alone_tells_the_label(kind: str, categorical: bool, alarm: bool) -> None:
    matrix = np.column_stack([column("noise"), column(kind), column("constant")])
    found = feature_alarms(matrix, LABELS, ["a", "b", "c"], 0.98, categorical=["b"] if categorical else [])
    assert len(found) == alarm
    assert all(text.startswith("feature 'b' alone tells the label: AUC ") for text in found)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5) | st.just(math.nan)), min_size=2, max_size=40))
def test_the_auc_of_a_feature_is_the_best_share_of_pairs_in_order(rows: list[tuple[bool, float]]) -> None:
    truth, values = np.array([label for label, _ in rows]), np.array([value for _, value in rows], dtype=float)
    if truth.all() or not truth.any():
        return
    shares = []
    for missing in (-math.inf, math.inf):
        placed = np.where(np.isnan(values), missing, values)
        pairs = [(p > n) + (p == n) / 2 for p in placed[truth] for n in placed[~truth]]
        shares += [float(np.mean(pairs)), 1 - float(np.mean(pairs))]
    assert alarms._ordered_auc(values, truth) == pytest.approx(max(shares))


def test_many_rows_are_thinned_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "_ROWS_PER_CLASS", 100)
    matrix = np.column_stack([column("noise"), column("orders of the window"), column("leaking code")])
    found = feature_alarms(matrix, LABELS, ["noise", "orders", "code"], 0.98, categorical=["code"])
    assert [text.split("'")[1] for text in found] == ["orders", "code"]
    assert alarms._thinned(np.arange(1000)).tolist() == list(range(0, 1000, 10))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_raises_no_alarm(label: int) -> None:
    assert feature_alarms(np.zeros((3, 1)), [label] * 3, ["a"], 0.6) == ()


@pytest.mark.parametrize(
    ("matrix", "labels", "features"),
    [(np.zeros((2, 1)), [0, 1, 0], ["a"]), (np.zeros((2, 1)), [0, 1], ["a", "b"]), (np.zeros((2, 1)), [0, 2], ["a"])],
)
def test_wrong_input_is_refused(matrix: np.ndarray, labels: list[int], features: list[str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        feature_alarms(matrix, labels, features, 0.98)


def test_features_without_values_are_listed() -> None:
    matrix = np.column_stack([column("noise"), column("all missing"), column("value where positive")])
    assert empty_features(matrix, ["a", "b", "c"]) == ("b",)


@pytest.mark.parametrize(
    ("scores", "alarm"),
    [
        ([0.1] * 5, True),
        ([0.1, math.nan, 0.1], True),
        ([0.1, 0.1, 0.1 + 1e-12], False),
        ([], False),
        ([0.1], False),
        ([math.nan] * 3, False),
    ],
)
def test_a_constant_score(scores: list[float], alarm: bool) -> None:
    found = score_alarm(np.array(scores))
    assert (found is not None) == alarm
    assert found is None or "get the score 0.1:" in found


@pytest.mark.parametrize(
    ("counts", "alarm"),
    [
        ((5000, 0, 8000), True),
        ((100, 0, 100), True),
        ((5000, 49, 8000), True),
        ((5000, 50, 8000), False),
        ((99, 0, 8000), False),
        ((5000, 0, 99), False),
        ((5000, 4000, 8000), False),
    ],
)
def test_identifiers_that_do_not_match(counts: tuple[int, int, int], alarm: bool) -> None:
    found = identifier_alarm("buys", *counts)
    assert (found is not None) == alarm
    assert found is None or f"'buys': of {counts[0]} users with its event only {counts[1]} have" in found


@pytest.mark.parametrize(
    ("counts", "alarm"),
    [
        ((500, 10_000, 800, 10_000), True),
        ((800, 10_000, 500, 10_000), True),
        ((500, 10_000, 740, 10_000), False),
        ((5, 100, 8, 100), False),
        ((0, 10_000, 100, 10_000), True),
        ((0, 10_000, 0, 10_000), False),
        ((0, 0, 10, 100), False),
        ((10_000, 10_000, 10_000, 10_000), False),
    ],
)
def test_a_shift_of_the_base_rate(counts: tuple[int, int, int, int], alarm: bool) -> None:
    assert (shift_alarm("buys", *counts) is not None) == alarm


def test_a_shift_is_told_with_its_numbers() -> None:
    assert shift_alarm("buys", 500, 10_000, 800, 10_000) == (
        "target 'buys': the base rate has shifted: 5 % (500 of 10000) in the rows learned from, 8 % (800 of 10000) in "
        "the later test rows; probabilities may be off by as much"
    )


@pytest.mark.parametrize(
    ("predicted", "positives", "rows", "alarm"),
    [
        (0.05, 1000, 10_000, True),
        (0.05, 250, 10_000, True),
        (0.05, 990, 10_000, False),
        (0.05, 0, 10_000, True),
        (0.05, 10, 100, False),
        (0.0, 1, 100, True),
        (0.0, 0, 100, False),
        (0.5, 0, 0, False),
        (1.0, 3, 10, True),
    ],
)
def test_a_rate_that_was_not_predicted(predicted: float, positives: int, rows: int, alarm: bool) -> None:
    found = rate_alarm("buys", predicted, positives, rows)
    assert (found is not None) == alarm
    assert found is None or f"{100 * predicted:.3g} % was predicted" in found
