from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from engine.clusters import profile_sums
from engine.clusters.moves import APART
from engine.clusters.profile_sums import ProfilePlan, count_profiles, merge_profiles
from engine.clusters.profiles import TABLE, Figure, Profile, profile_table, profiles
from tests.clusters.profile_users import PLAN, sums_of, users


def figure(profile: Profile, name: str) -> Figure:
    return next(figure for figure in profile.figures if figure.name == name)


def test_a_profile_is_what_plain_arithmetic_says() -> None:
    frame, labels = users()
    found = profiles(sums_of(frame, labels), PLAN)
    assert [profile.cluster for profile in found] == [APART, 0, 1, 2]
    inside = frame.filter(labels != APART)
    for profile in found:
        own = frame.filter(labels == profile.cluster)
        assert (profile.users, profile.share) == (own.height, own.height / frame.height)
        assert profile.value_minor == int(own["spend_minor"].sum())
        assert profile.value_share == profile.value_minor / int(frame["spend_minor"].sum())
        assert [figure.name for figure in profile.figures] == ["orders", "spend", "rate", "constant"]
        for name in ("orders", "spend", "rate"):
            one = figure(profile, name)
            values, base = own[name].drop_nulls().to_numpy(), inside[name].drop_nulls().to_numpy()
            assert one.known == len(values) / own.height
            assert one.mean == pytest.approx(values.mean(), rel=1e-6)
            assert one.base == pytest.approx(base.mean(), rel=1e-6)
            assert one.median == pytest.approx(np.median(values), rel=1e-12)
            assert one.z_score == pytest.approx((values.mean() - base.mean()) / base.std(), rel=1e-4, abs=1e-5)
        assert figure(profile, "constant").z_score == 0.0


def test_shares_of_text_attributes() -> None:
    frame, labels = users()
    profile = profiles(sums_of(frame, labels), PLAN)[2]
    own, inside = frame.filter(labels == 1), frame.filter(labels != APART)
    counts = inside["country"].drop_nulls().value_counts().sort(["count", "country"], descending=[True, False])
    assert [level.level for level in profile.levels] == counts["country"].to_list()
    for level in profile.levels:
        assert level.share == (own["country"] == level.level).sum() / own.height
        assert level.base == (inside["country"] == level.level).sum() / inside.height
        assert level.known == pytest.approx(1 - own["country"].null_count() / own.height)


def test_medians_are_those_of_the_users_with_the_smallest_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_sums, "SAMPLED", 20)
    frame, labels = users(seed=2)
    whole = profiles(sums_of(frame, labels), PLAN)
    merged = merge_profiles([sums_of(frame[250:], labels[250:]), sums_of(frame[:250], labels[:250])])
    assert profiles(merged, PLAN) == whole
    for profile in whole:
        sampled = frame.filter(labels == profile.cluster).sort("user_key").head(20)
        assert figure(profile, "orders").median == sampled["orders"].median()


def test_a_cluster_without_any_value() -> None:
    frame = pl.DataFrame({"user_key": [1, 2, 3], "orders": [None, math.nan, 4.0]})
    plan = ProfilePlan(("orders",))
    found = profiles(count_profiles(frame, np.array([0, 0, 1]), frame["user_key"], plan), plan)
    assert found[0].figures == (Figure("orders", 0.0, None, None, 4.0, None),)
    assert found[1].figures == (Figure("orders", 1.0, 4.0, 4.0, 4.0, 0.0),)
    assert (found[0].value_minor, found[0].value_share) == (None, None)


def test_the_table_has_a_row_per_cluster_feature_and_level() -> None:
    frame, labels = users()
    found = profiles(sums_of(frame, labels), PLAN)
    names = {-1: "Apart", 0: "A", 1: "B", 2: "C"}
    table = profile_table(found, names, PLAN)
    assert table.schema == TABLE
    assert table.height == 4 * (4 + 3)
    assert table.select("cluster", "feature", "level").is_duplicated().sum() == 0
    first = table.row(0, named=True)
    assert (first["cluster"], first["cluster_name"], first["feature"], first["is_clustered"]) == (
        -1,
        "Apart",
        "orders",
        True,
    )
    own = frame.filter(labels == 1)["spend_minor"]
    row = table.filter(pl.col("cluster") == 1).row(0, named=True)
    assert row["value"] == int(own.sum()) / 100
    assert row["value_per_user"] == pytest.approx(int(own.sum()) / own.len() / 100)
    assert table.filter(pl.col("level").is_not_null())["feature"].unique().to_list() == ["country"]


def test_no_users_at_all() -> None:
    frame, labels = users()
    empty = sums_of(frame[:0], labels[:0])
    assert profiles(empty, PLAN) == ()
    assert profiles(merge_profiles([empty, sums_of(frame, labels)]), PLAN) == profiles(sums_of(frame, labels), PLAN)
