from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from engine.config import Rfm, RfmMethod
from engine.errors import DataError, IntegrityError
from engine.segments.rfm_scores import BinEdges, RfmEdges, learn_edges, rfm_columns, score

METHODS: tuple[RfmMethod, ...] = ("quantile", "rank", "r_rfm")
SCHEMA = {"user_id": pl.Int64, "recency_days": pl.Int64, "frequency": pl.Int64, "monetary_minor": pl.Int64}
SCORES = ["r_score", "f_score", "m_score"]


def same_method(method: RfmMethod, bins: int = 5) -> Rfm:
    published = bins == 5
    own = {} if published else {"segment_map": "own", "others": "all", "bins": bins}
    return Rfm.model_validate({"recency": method, "frequency": method, "monetary": method, **own})


def frame_of(values: list[int], ids: list[int] | None = None) -> pl.DataFrame:
    users = ids or list(range(len(values)))
    columns = [users, values, values, values]
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)


def type_7(values: list[int], k: int, bins: int) -> Fraction:
    ordered = sorted(values)
    at = Fraction((len(ordered) - 1) * k, bins)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def brute_bins(pairs: list[tuple[int, int]], method: RfmMethod, one: int, bins: int) -> list[int]:
    values = [value for value, _ in pairs]
    cuts = range(1, bins)
    match method:
        case "quantile":
            return [1 + sum(value > type_7(values, k, bins) for k in cuts) for value in values]
        case "r_rfm":
            return [1 + sum(value >= type_7(values, k, bins) + one for k in cuts) for value in values]
        case "rank":
            ranks = {pair: rank for rank, pair in enumerate(sorted(pairs), 1)}
            edges = [type_7(list(ranks.values()), k, bins) for k in cuts]
            return [1 + sum(ranks[pair] > edge for edge in edges) for pair in pairs]


value_lists = st.lists(st.integers(-50, 50) | st.integers(-(2**62), 2**62), min_size=1, max_size=40)


@given(values=value_lists, method=st.sampled_from(METHODS), digits=st.integers(0, 3), bins=st.integers(2, 9))
@settings(max_examples=80)
def test_scores_equal_exact_rational_arithmetic(values: list[int], method: RfmMethod, digits: int, bins: int) -> None:
    frame = frame_of(values)
    edges = learn_edges(frame, same_method(method, bins), digits)
    assert edges.bins == bins
    assert RfmEdges.from_json(edges.to_json()) == edges
    scored = score(frame, edges)
    pairs = list(zip(values, range(len(values)), strict=True))
    assert scored["r_score"].to_list() == [bins + 1 - number for number in brute_bins(pairs, method, 1, bins)]
    assert scored["f_score"].to_list() == brute_bins(pairs, method, 1, bins)
    assert scored["m_score"].to_list() == brute_bins(pairs, method, 10**digits, bins)
    assert [scored.schema[name] for name in SCORES] == [pl.Int8] * 3


@given(
    values=value_lists,
    methods=st.tuples(*[st.sampled_from(METHODS)] * 3),
    order=st.randoms(use_true_random=False),
    text=st.booleans(),
)
@settings(max_examples=40)
def test_the_order_of_rows_and_the_company_of_a_user_do_not_matter(
    values: list[int], methods: tuple[RfmMethod, RfmMethod, RfmMethod], order: object, text: bool
) -> None:
    frame = frame_of(values).with_columns(frequency=pl.col("frequency") // 7, monetary_minor=-pl.col("monetary_minor"))
    if text:
        frame = frame.with_columns(pl.format("é{}", "user_id").alias("user_id"))
    rows = list(range(len(values)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    rfm = Rfm(recency=methods[0], frequency=methods[1], monetary=methods[2])
    edges = learn_edges(frame, rfm, 2)
    assert learn_edges(frame[rows], rfm, 2).to_json() == edges.to_json()
    whole = score(frame, edges)
    alone = pl.concat([score(frame[[row]].lazy(), edges).collect() for row in range(len(values))])
    assert_frame_equal(alone, whole)


CUTS = {"recency": [7, 30, 90], "frequency": [1, 2, 10], "monetary": [-0.01, 0.29, 1234.5]}


@pytest.mark.parametrize(
    ("days", "orders", "cents", "scores"),
    [
        (0, 1, -100, (4, 1, 1)),
        (7, 2, -1, (4, 2, 1)),
        (8, 3, 0, (3, 3, 2)),
        (30, 10, 29, (3, 3, 2)),  # 0.29 · 100 is 28.999999999999996 in floating point
        (31, 11, 30, (2, 4, 3)),
        (90, 11, 123_450, (2, 4, 3)),
        (91, 1, 123_451, (1, 1, 4)),
        (10**9, 10**9, 10**18, (1, 4, 4)),
    ],
)
def test_a_value_at_a_cut_point_belongs_to_the_lower_bin(
    days: int, orders: int, cents: int, scores: tuple[int, int, int]
) -> None:
    rfm = Rfm.model_validate({"bins": 4, "segment_map": "quartile_6", "cuts": CUTS})
    users = pl.DataFrame([[1], [days], [orders], [cents]], schema=SCHEMA)
    # Nobody is needed to learn from when all cut points are given.
    edges = learn_edges(users.clear(), rfm, 2)
    assert RfmEdges.from_json(edges.to_json()) == edges
    assert score(users, edges).select(SCORES).rows() == [scores]


@pytest.mark.parametrize(("digits", "edge"), [(0, 12), (1, 123), (2, 1234), (3, 12345), (6, 12_345_000)])
def test_cut_points_of_money_are_in_major_units(digits: int, edge: int) -> None:
    rfm = Rfm.model_validate({"bins": 2, "segment_map": "own", "others": "all", "cuts": {"monetary": [12.345]}})
    edges = learn_edges(frame_of([1, 2, 3]), rfm, digits)
    assert edges.monetary == BinEdges("cuts", (edge,))
    assert edges.recency == edges.frequency == BinEdges("quantile", (2,))  # learnt by their method


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"cuts": {"recency": [1, 2, 3]}},
            "cuts.recency: expected 4 ascending numbers for 5 bins, got [1.0",
        ),
        ({"cuts": {"recency": [1, 2, 2, 3]}}, "cuts.recency: expected 4 ascending numbers"),
        ({"cuts": {"monetary": [4, 3, 2, 1]}}, "cuts.monetary: expected 4 ascending numbers"),
        ({"cuts": {"frequency": [1, 2, 3.5, 4]}}, "cuts.frequency: expected whole numbers of at least 0"),
        ({"cuts": {"recency": [-1, 2, 3, 4]}}, "cuts.recency: expected whole numbers of at least 0"),
        ({"bins": 4}, "segment_map 'rf_10' is made of scores 1 to 5, got bins = 4"),
        ({"bins": 5, "segment_map": "quartile_6"}, "segment_map 'quartile_6' is made of scores 1 to 4, got bins = 5"),
    ],
)
def test_cut_points_and_bins_that_cannot_be(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Rfm.model_validate(changes)
    assert problem in str(caught.value)


@pytest.mark.parametrize(("changes", "bins"), [({}, 5), ({"segment_map": "quartile_names"}, 4), ({"bins": 5}, 5)])
def test_bins_are_what_the_map_needs(changes: dict[str, object], bins: int) -> None:
    assert Rfm.model_validate(changes).bin_count == bins


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 7, 9, 10, 11, 23, 4338])
def test_rank_bins_differ_by_at_most_one(size: int) -> None:
    frame = frame_of([1] * size, ids=[(7919 * n) % 100_003 for n in range(size)])
    scored = score(frame, learn_edges(frame, same_method("rank"), 2))
    counts = scored["f_score"].value_counts()["count"].to_list() + [0] * max(0, 5 - size)
    assert max(counts) - min(counts) <= 1
    assert scored.sort("user_id")["f_score"].is_sorted()


def test_quantile_edges_collapse_and_equal_values_stay_together(reference_data: Path) -> None:
    orders = pl.read_parquet(reference_data / "cdnow_master.parquet")
    frame = orders.group_by(user_id="customer_id").agg(frequency=pl.col("date").n_unique().cast(pl.Int64))
    frame = frame.with_columns(recency_days=pl.lit(1, pl.Int64), monetary_minor=pl.lit(0, pl.Int64))
    edges = learn_edges(frame, same_method("quantile"), 2)
    assert edges.frequency.upper[:2] == (1, 1)
    scored = score(frame, edges)
    assert scored.group_by("frequency").agg(pl.col("f_score").n_unique())["f_score"].max() == 1
    sizes = scored.group_by("f_score").agg(pl.len(), pl.col("frequency").min())
    assert sizes.filter(pl.col("f_score") == 1)["len"].item() > len(frame) / 2
    assert scored["r_score"].unique().to_list() == [5]
    assert scored["m_score"].unique().to_list() == [1]


def test_users_without_purchases_are_left_out_and_get_no_score() -> None:
    frame = pl.DataFrame(
        {"user_id": [1, 2, 3], "recency_days": [None, 4, 9], "frequency": [0, 2, 1], "monetary_minor": [0, 500, 1]},
        schema=SCHEMA,
    )
    edges = learn_edges(frame, Rfm(), 2)
    assert edges == learn_edges(frame.filter(pl.col("user_id") > 1), Rfm(), 2)
    assert score(frame, edges).select(SCORES).rows() == [(None, None, None), (5, 5, 5), (1, 1, 1)]


def test_nobody_has_bought() -> None:
    with pytest.raises(DataError, match="there is none") as caught:
        learn_edges(frame_of([1]).with_columns(recency_days=pl.lit(None, pl.Int64)), Rfm(), 2)
    assert caught.value.code == "rfm-no-buyers"
    assert caught.value.hint


@pytest.mark.parametrize("user", [7, -(2**63), "Zoë/1"])
def test_edges_survive_json(user: int | str) -> None:
    rank = BinEdges("rank", (1, 1, 2, 2**63 - 1), (user,) * 4)
    edges = RfmEdges(rank, rank, BinEdges("quantile", (-5, 0, 0, 9)))
    assert RfmEdges.from_json(edges.to_json()) == edges


QUANTILE = '{"method": "quantile", "upper": [1, 2, 3, 4], "users": []}'


@pytest.mark.parametrize(
    "recency",
    [
        "{}",
        QUANTILE.replace("quantile", "jenks"),
        QUANTILE.replace("4]", "4.5]"),
        QUANTILE.replace(", 4", ""),  # fewer than in the other dimensions
        QUANTILE.replace("1, 2, 3, 4", ""),
        QUANTILE.replace("4", "4, 5, 6, 7, 8, 9"),
        QUANTILE.replace("[1", "[9"),
        QUANTILE.replace("quantile", "rank"),
    ],
)
def test_broken_edges_are_refused(recency: str) -> None:
    text = f'{{"recency": {recency}, "frequency": {QUANTILE}, "monetary": {QUANTILE}}}'
    with pytest.raises(IntegrityError, match=r"edges|recency") as caught:
        RfmEdges.from_json(text)
    assert caught.value.code == "bundle-rfm-edges"


def test_the_columns_are_those_of_the_feature_table_under_other_names() -> None:
    features = pl.DataFrame(
        {
            "rfm_monetary_minor": [5],
            "rfm_frequency": [2],
            "user_id": ["a"],
            "rfm_recency_days": [9],
            "tenure_days": [90],
        }
    )
    assert rfm_columns(features).to_dicts() == [
        {"user_id": "a", "recency_days": 9, "frequency": 2, "monetary_minor": 5}
    ]


@pytest.mark.parametrize("learned", ["int", "text"])
def test_user_ids_of_another_type_are_refused(learned: Literal["int", "text"]) -> None:
    numbers = frame_of([1, 2, 3])
    texts = numbers.with_columns(pl.col("user_id").cast(pl.String))
    first, second = (numbers, texts) if learned == "int" else (texts, numbers)
    edges = learn_edges(first, Rfm(frequency="rank"), 2)
    with pytest.raises(IntegrityError, match="user ids") as caught:
        score(second, edges)
    assert caught.value.code == "bundle-user-id-type"
