from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clusters import profile_sums
from engine.clusters.profile_sums import merge_profiles
from engine.clusters.profiles import profiles
from tests.clusters.profile_users import PLAN, sums_of, users


def test_money_is_summed_in_minor_units() -> None:
    frame, labels = users()
    sums = sums_of(frame, labels)
    for label in (0, 1, 2):
        own = frame.filter(labels == label)["spend_minor"]
        assert sums.sums["spend"][label] == (own.len(), own.sum(), (own * own).sum())


def test_an_attribute_that_tells_users_apart_is_left_out_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_sums, "LEVELS", 2)
    frame, labels = users()
    parts = [sums_of(frame[place : place + 1], labels[place : place + 1]) for place in range(20)]
    assert parts[0].levels["country"] is not None
    assert merge_profiles(parts).levels["country"] is None
    assert all(not profile.levels for profile in profiles(merge_profiles([*parts, sums_of(frame, labels)]), PLAN))


@given(st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=20)
def test_buckets_add_up_in_any_cut_and_order(cuts: list[int]) -> None:
    frame, labels = users(60, seed=1)
    edges = [0, *sorted(cuts), 60]
    parts = [sums_of(frame[start:end], labels[start:end]) for start, end in pairwise(edges)]
    expected = profiles(sums_of(frame, labels), PLAN)
    assert profiles(merge_profiles(parts), PLAN) == expected
    assert profiles(merge_profiles(parts[::-1]), PLAN) == expected


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6, 2.0**40])
def test_sums_are_exact_whatever_the_size(size: float) -> None:
    random = np.random.default_rng(3)
    values = np.rint(random.normal(0, size, 500) * 2**20)
    labels = random.integers(0, 3, 500)
    totals = profile_sums._whole_sums(values * values, labels, 3)
    assert totals == [sum(int(value * value) for value in values[labels == label]) for label in range(3)]
    assert profile_sums._whole_sums(values, labels, 3) == [
        sum(int(value) for value in values[labels == label]) for label in range(3)
    ]


def test_places_take_their_ids() -> None:
    frame, labels = users()
    ids = {0: 7, 1: 0, 2: 9}
    named = np.array([ids.get(int(label), int(label)) for label in labels])
    assert profiles(sums_of(frame, labels).renamed(ids), PLAN) == profiles(sums_of(frame, named), PLAN)
