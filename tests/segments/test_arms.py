from __future__ import annotations

import hashlib

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.segments.arms import PLACES, arm_bounds, places


def test_places_are_golden() -> None:
    assert places(pl.Series(["alice", "Évry", "7"]), "été 2026").to_list() == [2006889374, 301901718, 2270884151]


@pytest.mark.parametrize(
    "ids", [pl.Series([7, 0, -3, 2**62]), pl.Series(["7", "a:b", "", "Évry"]), pl.Series([], dtype=pl.Int64)]
)
def test_any_engine_can_repeat_the_places(ids: pl.Series) -> None:
    found = places(ids, "clé").to_list()
    texts = ids.cast(pl.String).to_list()
    assert found == [int(hashlib.sha256(f"clé:{text}".encode()).hexdigest()[:8], 16) for text in texts]
    sql = "SELECT ('0x' || left(sha256('clé:' || $id), 8))::BIGINT"
    assert found == [duckdb.execute(sql, {"id": text}).fetchall()[0][0] for text in texts]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12))
def test_arms_cover_all_places_by_their_weights(weights: list[float]) -> None:
    bounds = list(arm_bounds({f"a{index}": weight for index, weight in enumerate(weights)}).values())
    assert [low for low, _ in bounds] == [0, *(high for _, high in bounds[:-1])]
    assert bounds[-1][1] == PLACES
    for weight, (low, high) in zip(weights, bounds, strict=True):
        assert abs((high - low) - PLACES * weight / sum(weights)) <= 1.001


def test_a_larger_first_arm_keeps_its_users_and_another_key_draws_anew() -> None:
    users = pl.Series(range(2000))
    small, large = (arm_bounds({"control": share, "offer": 100 - share})["control"][1] for share in (10, 20))
    here, other = places(users, "a"), places(users, "b")
    assert ((here < small) <= (here < large)).all()
    assert 150 < (here < small).sum() < 250
    assert 0 < ((here < small) & (other < small)).sum() < 45
