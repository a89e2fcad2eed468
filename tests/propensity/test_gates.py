from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from engine.propensity.gates import Verdict, judge
from engine.propensity.intervals import paired_difference

ROWS = 3000


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(1).random(ROWS) < CHANCE


def noisy(noise: float, seed: int = 2) -> np.ndarray:
    log_odds = np.log(CHANCE / (1 - CHANCE)) + np.random.default_rng(seed).normal(0, noise, ROWS)
    return 1 / (1 + np.exp(-log_odds))


CHANCE = 1 / (1 + np.exp(-np.random.default_rng(0).normal(-2, 1.2, ROWS)))
GOOD, LIKE_GOOD, WORSE, CHANCE_ONLY = noisy(0.0), noisy(0.05), noisy(2.0), np.random.default_rng(3).random(ROWS)


@pytest.mark.parametrize(
    ("scores", "baseline", "incumbent", "failed"),
    [
        (GOOD, WORSE, None, []),
        (GOOD, WORSE, WORSE, []),
        (LIKE_GOOD, GOOD, GOOD, []),
        (GOOD, GOOD, GOOD, []),
        (WORSE, GOOD, None, [2]),
        (WORSE, GOOD, GOOD, [2, 3]),
        (WORSE, CHANCE_ONLY, GOOD, [3]),
        (CHANCE_ONLY, CHANCE_ONLY, None, [0]),
        (1 - GOOD, CHANCE_ONLY, CHANCE_ONLY, [0, 1, 2, 3]),
        (np.full(ROWS, 0.2), np.full(ROWS, 0.2), None, [0, 1]),
    ],
    ids=[
        "better",
        "better than both",
        "a tie",
        "the same",
        "worse than the baseline",
        "worse than both",
        "worse than the model in use",
        "chance",
        "reversed",
        "constant",
    ],
)
def test_what_is_promoted(
    labels: np.ndarray, scores: np.ndarray, baseline: np.ndarray, incumbent: np.ndarray | None, failed: list[int]
) -> None:
    verdict = judge(labels, scores, baseline, incumbent, seed=4)
    assert verdict.promoted == (not failed)
    assert len(verdict.reasons) == (3 if incumbent is None else 4)
    refused = [position for position, reason in enumerate(verdict.reasons) if reason.startswith("no: ")]
    if failed == [0]:
        # The average precision of chance is the base rate but for chance.
        refused = [position for position in refused if position != 1]
    assert refused == failed
    assert all(reason.startswith(("yes: ", "no: ")) for reason in verdict.reasons)
    assert (verdict.incumbent is None) == (incumbent is None)
    assert verdict.baseline == paired_difference(labels, scores, baseline, seed=4)


@pytest.mark.parametrize(("label", "positives"), [(0, 0), (1, ROWS)])
def test_one_class_is_no_ground_to_judge(label: int, positives: int) -> None:
    verdict = judge(np.full(ROWS, label), GOOD, WORSE, GOOD, seed=1)
    reason = f"no: {positives} of {ROWS} test rows are positive; both classes are needed to judge"
    assert verdict == Verdict(promoted=False, reasons=(reason,), baseline=None, incumbent=None)


def test_reasons_say_the_numbers() -> None:
    labels = [0, 1] * 50
    good = [0.2, 0.7] * 45 + [0.6, 0.3] * 5
    verdict = judge(labels, good, [0.5] * 100, good, seed=1)
    assert verdict.reasons[0].startswith("yes: AUC 0.990 (0.9")
    assert verdict.reasons[0].endswith(") against 0.5 of chance")
    assert verdict.reasons[1] == "yes: average precision 0.9909 against the base rate of 0.5000"
    assert " against 0.500 of the logistic baseline: difference +0.490 (+0.4" in verdict.reasons[2]
    assert verdict.reasons[3].endswith(" against 0.990 of the model in use: difference +0.000 (+0.000 to +0.000)")


def test_two_equally_good_models_of_few_rows_both_pass() -> None:
    random = np.random.default_rng(8)
    held = 0
    for seed in range(20):
        chance = random.random(300) ** 2
        labels = random.random(300) < chance
        one, other = (np.clip(chance + random.normal(0, 0.05, 300), 0, 1) for _ in range(2))
        held += not judge(labels, one, other, other, seed).promoted
    assert held <= 2


def test_a_verdict_survives_json() -> None:
    verdict = judge([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4], None, seed=1)
    adapter = TypeAdapter(Verdict)
    assert adapter.validate_json(adapter.dump_json(verdict), strict=True) == verdict


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        judge([0, 1], [0.1, 1.9], [0.1, 0.9], None, seed=1)
    with pytest.raises(ValueError, match="one label and one score"):
        judge([0, 1], [0.1, 0.9], [0.1, 0.9], [0.5], seed=1)
