from __future__ import annotations

import math
from collections import Counter

import polars as pl
import pytest
from scipy.stats import chi2_contingency

from engine.segments.composition import (
    COMPOSITION_SCHEMA,
    LEAST_USERS,
    OTHER,
    composition_shift,
    named_counts,
    segment_composition,
)
from tests.segments.counted import counted, holds_of, users_of

SHARES = {"half": 0.5, "nobody": 0.0, "everyone": 1.0}


def test_bins_stand_beside_those_of_all_users() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    table = segment_composition(counted(users, holds))
    assert table.schema == COMPOSITION_SCHEMA
    country = table.filter(segment="half", column="country")
    assert country["bin"].to_list() == ["BE", "CH", "FR", "Île", None]
    inside, all_of_them = users.filter(holds["half"])["country"], users["country"]
    for row in country.to_dicts():
        assert row["users"] == Counter(inside.to_list())[row["bin"]]
        assert row["share"] == row["users"] / len(inside)
        assert row["base_share"] == Counter(all_of_them.to_list())[row["bin"]] / 300
    assert table.select(pl.struct("segment", "column", "bin").is_duplicated().any()).item() is False
    assert "mail" not in table["column"]


def test_psi_and_chi_square_are_those_of_the_formulas() -> None:
    users, holds = users_of(300), holds_of(300, SHARES)
    table = segment_composition(counted(users, holds))
    for column in ("country", "cluster", "tenure_days"):
        rows = table.filter(segment="half", column=column)
        pairs = list(zip(rows["share"], rows["base_share"], strict=True))
        assert rows["psi"][0] == pytest.approx(sum((a - b) * math.log(a / b) for a, b in pairs))
        inside = rows["users"].to_list()
        base = [round(share * 300) for share in rows["base_share"]]
        expected = chi2_contingency([inside, [b - a for a, b in zip(inside, base, strict=True)]], correction=False)
        assert rows["chi_square"][0] == pytest.approx(expected.statistic)
        assert rows["degrees_of_freedom"][0] == expected.dof
        assert rows.select("psi", "psi_chance", "chi_square").unique().height == 1


def test_nobody_and_everybody_have_no_chi_square() -> None:
    table = segment_composition(counted(users_of(300), holds_of(300, SHARES)))
    everyone, nobody = table.filter(segment="everyone"), table.filter(segment="nobody")
    assert everyone["psi"].unique().to_list() == [0]
    assert everyone["chi_square"].null_count() == everyone.height
    assert nobody.select("share", "psi", "chi_square").null_count().row(0) == (nobody.height,) * 3


def test_numbers_are_in_their_order_and_ranges_in_theirs() -> None:
    table = segment_composition(counted(users_of(300), holds_of(300, SHARES))).filter(segment="half")
    assert table.filter(column="cluster")["bin"].to_list() == ["-1", "2", "10"]
    assert table.filter(column="tenure_days")["bin"].to_list() == [
        *("[0, 30)", "[30, 90)", "[90, 180)", "[365, 730)", "[730, ∞)")
    ]


def test_rare_values_are_put_together() -> None:
    values = [f"v{number:02}" for number in range(30)] * 6 + ["v29"] * 19 + [None]
    users = users_of(200).with_columns(country=pl.Series(values))
    table = segment_composition(counted(users, holds_of(200, {"everyone": 1.0}))).filter(column="country")
    bins = table["bin"].to_list()
    assert bins == [*(f"v{number:02}" for number in range(19)), "v29", OTHER, None]
    assert dict(zip(bins, table["users"], strict=True))[OTHER] == 60
    assert table["users"].sum() == 200


def test_values_of_few_users_name_nobody() -> None:
    values = ["Paris"] * 89 + [f"{number} rue des Lilas" for number in range(3)] * 2 + ["Lyon"] * LEAST_USERS
    users = users_of(100).with_columns(country=pl.Series(values))
    table = segment_composition(counted(users, holds_of(100, {"everyone": 1.0}))).filter(column="country")
    assert dict(table.select("bin", "users").iter_rows()) == {"Lyon": LEAST_USERS, "Paris": 89, OTHER: 6}


@pytest.mark.parametrize("shared", ["family@example.org", "+33 1 44 55 66 77", "700000007"])
def test_an_address_that_many_users_share_is_not_named(shared: str) -> None:
    users = users_of(100).with_columns(country=pl.Series([shared] * 60 + ["Paris"] * 40))
    table = segment_composition(counted(users, holds_of(100, {"everyone": 1.0}))).filter(column="country")
    assert dict(table.select("bin", "users").iter_rows()) == {"Paris": 40, OTHER: 60}


def test_a_value_that_is_called_other_is_among_the_others() -> None:
    values = [OTHER] * 40 + [f"v{number:02}" for number in range(30)] * 5
    users = users_of(190).with_columns(country=pl.Series(values))
    table = segment_composition(counted(users, holds_of(190, {"everyone": 1.0}))).filter(column="country")
    assert table["bin"].to_list() == [*(f"v{number:02}" for number in range(20)), OTHER]
    assert table["users"].to_list()[-1] == 90


def test_what_guards_compare_is_what_the_table_says() -> None:
    stats = counted(users_of(300), holds_of(300, SHARES))
    table = segment_composition(stats)
    for segment, columns in named_counts(stats).items():
        for column, bins in columns.items():
            rows = table.filter(segment=segment, column=column)
            told = dict(zip(rows["bin"], rows["users"], strict=True))
            assert told == {name: told.get(name, 0) for name, _ in bins if name in told}
            assert sum(count for name, count in bins if name not in told) == 0


@pytest.mark.parametrize(
    ("then", "now", "same_as"),
    [
        ([("a", 50), ("b", 50)], [("a", 50), ("b", 50)], ((50, 50), (50, 50))),
        ([("a", 50), ("b", 50)], [("a", 90), ("b", 10)], ((50, 50), (90, 10))),
        ([("a", 50)], [("a", 20), ("b", 30)], ((50, 0), (20, 30))),
        ([("a", 50), (OTHER, 50)], [("a", 20), ("b", 30), (OTHER, 50)], ((50, 50), (20, 80))),
        ([("a", 50), ("b", 20), (OTHER, 30)], [("a", 60), ("c", 40)], ((50, 50), (60, 40))),
        ([("a", 50), (OTHER, 50)], [("a", 20), (OTHER, 20), (None, 60)], ((50, 50, 0), (20, 20, 60))),
    ],
)
def test_bins_of_two_runs_are_put_side_by_side(
    then: list[tuple[str | None, int]], now: list[tuple[str | None, int]], same_as: tuple[tuple[int, ...], ...]
) -> None:
    shares = [[max(count, 0.5) / sum(side) for count in side] for side in same_as]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(*shares, strict=True))
    psi, chance = composition_shift(then, now)
    assert psi == pytest.approx(expected, abs=1e-12)
    assert chance is not None


def test_nobody_then_or_now_tells_nothing() -> None:
    assert composition_shift([], [("a", 5)]) == (None, None)
    assert composition_shift([("a", 5)], [("a", 0)]) == (None, None)
