from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.groups import group_by_score, labelled_scores, twice_ordered_pairs

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 6).map(lambda sixth: sixth / 6)), min_size=1)


@given(rows)
def test_groups_hold_every_row_once_from_the_highest_score_down(rows: list[tuple[bool, float]]) -> None:
    groups = group_by_score(*labelled_scores(*zip(*rows, strict=True)))
    scores = sorted({score for _, score in rows}, reverse=True)
    assert groups.scores.tolist() == scores
    assert groups.rows.tolist() == [sum(score == wanted for _, score in rows) for wanted in scores]
    assert groups.positives.tolist() == [sum(label and score == wanted for label, score in rows) for wanted in scores]


@given(rows)
def test_ordered_pairs_are_counted_one_by_one(rows: list[tuple[bool, float]]) -> None:
    groups = group_by_score(*labelled_scores(*zip(*rows, strict=True)))
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    expected = sum(2 * (high > low) + (high == low) for high in positives for low in negatives)
    assert twice_ordered_pairs(groups.positives, groups.rows - groups.positives) == expected


@pytest.mark.parametrize(
    ("labels", "scores", "problem"),
    [
        ([], [], "one label and one score"),
        ([1, 0], [0.5], "one label and one score"),
        ([[1, 0]], [[0.5, 0.5]], "one label and one score"),
        ([2, 0], [0.5, 0.5], "labels 0 and 1"),
        ([None, True], [0.5, 0.5], "labels 0 and 1"),
        ([1, 0], [0.5, float("nan")], "between 0 and 1"),
        ([1, 0], [0.5, float("inf")], "between 0 and 1"),
        ([1, 0], [0.5, -1e-9], "between 0 and 1"),
    ],
)
def test_what_is_not_labels_and_scores_is_refused(labels: list[int], scores: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        labelled_scores(labels, scores)


def test_labels_come_as_booleans_of_any_kind() -> None:
    for labels in ([1, 0], [True, False], np.array([1.0, 0.0]), np.array([1, 0], dtype=np.int8)):
        truth, scores = labelled_scores(labels, [1, 0])
        assert truth.dtype == np.bool_
        assert truth.tolist() == [True, False]
        assert scores.tolist() == [1.0, 0.0]
