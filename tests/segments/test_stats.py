from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.segments.stats import MOST_PAIRED, add
from tests.segments.counted import SPEC, counted, holds_of, users_of

SHARES = {"vip": 0.1, "everyone": 1.0, "nobody": 0.0, "half": 0.5, "Île": 0.3}


def test_sizes_and_pairs_are_those_of_the_sets() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    stats = counted(users, holds)
    sets = {name: set(holds[name].arg_true().to_list()) for name in holds.columns}
    names = list(sets)
    assert stats.users == 300
    assert dict(zip(stats.segments, stats.sizes, strict=True)) == {name: len(some) for name, some in sets.items()}
    assert stats.shared == tuple(
        tuple(len(sets[a] & sets[b]) for b in names[place + 1 :]) for place, a in enumerate(names)
    )


def test_sums_are_those_of_a_loop_over_users() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    rows = users.to_dicts()
    per_user = {
        "sent": lambda u: u["sent_count_30d"],
        "delivered": lambda u: max(u["sent_count_30d"] - u["bounced_count_30d"], 0),
        "opens": lambda u: u["opened_count_30d"] + u["opened_machine_count_30d"],
        "opens_human": lambda u: u["opened_count_30d"],
        "clicks": lambda u: u["clicked_count_30d"],
        "clicks_human": lambda u: u["clicked_count_30d"],
        "replies": lambda u: u["answered_count_30d"],
        "unsubscribes": lambda u: u["opted_out_count_30d"],
        "complaints": lambda u: u["spam_count_30d"],
        "orders": lambda u: u["bought_count_30d"],
        "buyers": lambda u: u["bought_count_30d"] > 0,
        "first_buyers": lambda u: u["bought_count_30d"] == u["bought_count_total"] > 0,
        "revenue": lambda u: round(u["bought_amount_30d"] * 100),
        "value": lambda u: u["rfm_monetary_minor"] or 0,
        "categories": lambda u: u["distinct_categories_30d"],
        "clv_users": lambda u: u["value_clv"] is not None,
        "clv": lambda u: round((u["value_clv"] or 0) * 100),
        "reactivated": lambda u: (u["days_since_reactivation"] or 99) <= 30,
        "inactive": lambda u: (u["days_since_reactivation"] or 99) <= 30 or u["days_since_last_event"] >= 90,
    }
    expected = {
        name: (
            sum(map(value, rows)),
            *(sum(value(row) for row, inside in zip(rows, holds[s], strict=True) if inside) for s in holds.columns),
        )
        for name, value in per_user.items()
    }
    assert dict(counted(users, holds).sums) == expected


def test_histograms_count_every_user_once() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    found = {histogram.column: histogram for histogram in counted(users, holds).histograms}
    assert list(found) == [
        *("engagement_score", "tenure_days", "r_score", "cluster", "points_value_class", "country", "member", "mail")
    ]
    assert found["mail"].bins is None
    assert found["country"].bins == ("BE", "CH", "FR", "Île", None)
    for column in ("country", "member", "r_score", "cluster"):
        texts = users[column].cast(pl.String).to_list()
        assert found[column].bins is not None
        for row, segment in zip(found[column].counts, [None, *holds.columns], strict=True):
            inside = [True] * 300 if segment is None else holds[segment]
            expected = Counter(text for text, one in zip(texts, inside, strict=True) if one)
            assert dict(zip(found[column].bins, row, strict=True)) == {name: expected[name] for name in set(texts)}


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [
        ("tenure_days", 0, "[0, 30)"),
        ("tenure_days", 29, "[0, 30)"),
        ("tenure_days", 30, "[30, 90)"),
        ("tenure_days", 729, "[365, 730)"),
        ("tenure_days", 730, "[730, ∞)"),
        ("engagement_score", 0.0, "[0, 10)"),
        ("engagement_score", 9.99, "[0, 10)"),
        ("engagement_score", 10.0, "[10, 20)"),
        ("engagement_score", 100.0, "[90, ∞)"),
        ("engagement_score", None, None),
    ],
)
def test_ranges_are_closed_below(column: str, value: float | None, label: str | None) -> None:
    users = users_of(1).with_columns(pl.lit(value, users_of(1).schema[column]).alias(column))
    histogram = next(h for h in counted(users, holds_of(1, {})).histograms if h.column == column)
    assert histogram.bins is not None
    assert {name for name, count in zip(histogram.bins, histogram.counts[0], strict=True) if count} == {label}


@given(st.lists(st.integers(0, 260), max_size=4), st.integers(0, 3))
def test_any_cut_into_buckets_adds_up_to_the_whole(cuts: list[int], seed: int) -> None:
    users, holds = users_of(260, seed), holds_of(260, SHARES, seed)
    ends = [0, *sorted(cuts), 260]
    parts = [counted(users.slice(low, high - low), holds.slice(low, high - low)) for low, high in pairwise(ends)]
    assert reduce(add, parts) == counted(users, holds)


def test_too_many_values_are_left_out_however_they_are_cut() -> None:
    values = [f"v{number:03}" for number in range(201)]
    users = users_of(201).with_columns(country=pl.Series(values))
    holds = holds_of(201, SHARES)
    parts = [counted(users.head(150), holds.head(150)), counted(users.tail(51), holds.tail(51))]
    whole = counted(users, holds)
    assert next(h for h in whole.histograms if h.column == "country").bins is None
    assert reduce(add, parts) == whole
    enough = counted(users.head(200), holds.head(200))
    assert next(h for h in enough.histograms if h.column == "country").bins == tuple(values[:200])


def test_many_segments_are_not_compared_in_pairs() -> None:
    shares = {f"s{number}": 0.5 for number in range(MOST_PAIRED + 1)}
    stats = counted(users_of(5), holds_of(5, shares))
    assert stats.shared is None
    assert add(stats, stats).shared is None
    assert counted(users_of(5), holds_of(5, dict(list(shares.items())[1:]))).shared is not None


def test_roles_that_are_missing_have_no_sums() -> None:
    bare = replace(SPEC, send=None, bounce=None, open=None, click=None, purchase=None, complaint=None, reply=None)
    users = users_of(5).drop("days_since_reactivation", "value_clv")
    assert [name for name, _ in counted(users, holds_of(5, {"a": 1.0}), spec=bare).sums] == ["unsubscribes"]


def test_sent_is_delivered_without_a_bounce_role() -> None:
    users = users_of(50)
    sums = dict(counted(users, holds_of(50, {}), spec=replace(SPEC, bounce=None)).sums)
    assert sums["delivered"] == sums["sent"] == (users["sent_count_30d"].sum(),)


def test_it_survives_a_process_border() -> None:
    stats = counted(users_of(20), holds_of(20, SHARES))
    assert pickle.loads(pickle.dumps(stats)) == stats  # noqa: S301


def test_users_of_rules_add_up() -> None:
    parts = [counted(users_of(3), holds_of(3, {"a": 1.0}), matched={"a": number}) for number in (2, 5)]
    assert add(*parts).matched == (("a", 7),)
    with pytest.raises(ValueError, match="rules"):
        add(parts[0], counted(users_of(3), holds_of(3, {"a": 1.0})))


def test_other_segments_are_not_added() -> None:
    users = users_of(5)
    with pytest.raises(ValueError, match="the same segments"):
        add(counted(users, holds_of(5, {"a": 1.0})), counted(users, holds_of(5, {"b": 1.0})))
