from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.classes import rank_columns, score_cuts

CLASSES = {"very_likely": 5.0, "possible": 1.0, "likely": 3.0}
SCORES = st.lists(st.integers(0, 20).map(lambda step: step / 20), min_size=1, max_size=120)


def spec_of(cuts: tuple[float, ...], base_rate: float = 0.1, classes: dict[str, float] | None = None) -> Any:
    return SimpleNamespace(
        cuts=cuts, base_rate=base_rate, settings=SimpleNamespace(classes=CLASSES if classes is None else classes)
    )


def ranked(scores: list[float | None], spec: Any) -> pl.DataFrame:
    columns = rank_columns("buys", pl.Series("p", scores, dtype=pl.Float64), spec)
    return pl.DataFrame(columns).rename(lambda name: name.removeprefix("propensity_buys_"))


def test_a_hundred_different_users_have_each_percentile_once() -> None:
    scores = [position / 1000 for position in range(100)]
    table = ranked(scores, spec_of(score_cuts(scores[::-1])))
    assert table["percentile"].to_list() == list(range(100))
    assert table["decile"].to_list() == [10 - position // 10 for position in range(100)]


@pytest.mark.parametrize("users", [1, 2, 7, 99, 101, 1000])
def test_the_top_hundredth_of_the_users_of_the_fit_has_99(users: int) -> None:
    scores = [(position + 1) / (users + 1) for position in range(users)]
    percentile = ranked(scores, spec_of(score_cuts(scores)))["percentile"].to_list()
    assert percentile.count(99) == users // 100
    assert percentile == [100 * position // users for position in range(users)]


@given(fit=SCORES, now=SCORES)
def test_a_percentile_is_the_whole_per_cent_of_the_users_of_the_fit_below(fit: list[float], now: list[float]) -> None:
    found = ranked(list(now), spec_of(score_cuts(np.array(fit))))["percentile"].to_list()
    assert found == [min(99, math.floor(100 * sum(s < score for s in fit) / len(fit))) for score in now]


def test_cuts_do_not_depend_on_the_order_and_are_scores_of_users() -> None:
    scores = np.random.default_rng(3).random(733)
    cuts = score_cuts(scores)
    assert cuts == score_cuts(np.flip(scores))
    assert len(cuts) == 99
    assert set(cuts) <= set(scores.tolist())


def test_a_plateau_is_not_parted() -> None:
    scores = [0.1] * 70 + [0.4] * 30
    table = ranked(scores, spec_of(score_cuts(scores)))
    assert table.unique().sort("percentile").select("percentile", "decile").rows() == [(0, 10), (70, 3)]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.0, "unlikely"),
        (0.0999, "unlikely"),
        (0.1, "possible"),
        (0.2999, "possible"),
        (0.1 * 3.0, "likely"),
        (0.5, "very_likely"),
        (1.0, "very_likely"),
        (None, None),
    ],
)
def test_the_class_is_the_highest_one_that_is_reached(score: float | None, expected: str | None) -> None:
    assert ranked([score], spec_of((0.5,) * 99))["class"].to_list() == [expected]


def test_classes_out_of_reach_and_no_classes() -> None:
    assert ranked([1.0], spec_of((), base_rate=0.4))["class"].to_list() == ["possible"]
    assert ranked([1.0], spec_of((), classes={}))["class"].to_list() == ["unlikely"]


def test_a_model_without_cuts_has_classes_alone() -> None:
    assert ranked([0.2, None], spec_of(())).rows() == [(None, None, "possible"), (None, None, None)]


@pytest.mark.parametrize("cuts", [(), tuple(step / 100 for step in range(1, 100))])
@pytest.mark.parametrize("scores", [[], [None], [0.5, None], [0.001, 0.9]])
def test_names_and_types_are_always_the_same(scores: list[float | None], cuts: tuple[float, ...]) -> None:
    columns = rank_columns("buys", pl.Series(scores, dtype=pl.Float64), spec_of(cuts))
    assert [(column.name, column.dtype) for column in columns] == [
        ("propensity_buys_percentile", pl.Int8()),
        ("propensity_buys_decile", pl.Int8()),
        ("propensity_buys_class", pl.String()),
    ]
    assert {len(column) for column in columns} == {len(scores)}
    assert all(column.is_null()[row] for column in columns for row, score in enumerate(scores) if score is None)


def test_no_users_no_cuts() -> None:
    assert score_cuts([]) == ()


@pytest.mark.parametrize("scores", [[0.1, math.nan], [1.1], [-0.1], [math.inf]])
def test_what_is_no_probability_is_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        score_cuts(scores)
