from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rapidfuzz.distance import JaroWinkler

from benchmarks.people import people
from engine.config_contacts import Duplicates
from engine.contacts.duplicates import find
from engine.contacts.duplicates.find import Crowd, Found, attributes_needed, find_pairs
from engine.errors import ConfigError

SCHEMA = {"user_id": pl.String, "email": pl.String, "first": pl.String, "last": pl.String, "zip": pl.String}
SETTINGS = Duplicates(
    exact=("email",), compare={"first": 1, "last": 2}, block=("soundex(last)", "first(first, 2)+zip"), review=0.8
)


def frame(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


def named(found: Found) -> list[tuple[Any, ...]]:
    return found.pairs.select("user_id", "other_id", "kind", "key").rows()


def text_of(value: str | None) -> str | None:
    folded = "" if value is None else " ".join(part for part in value.casefold().replace("é", "e").split())
    return folded or None


def likeness(one: str | None, other: str | None) -> int | None:
    """The formula, one pair at a time."""
    first, second = text_of(one), text_of(other)
    if first is None or second is None:
        return None
    low, high = sorted([first, second])
    letters = round(JaroWinkler.similarity(low, high) * 10_000)
    a, b = set(low.split()), set(high.split())
    words = round(len(a & b) / len(a | b) * 10_000) if len(a) > 1 and len(b) > 1 else 0
    return max(letters, words)


def test_dq03_exact_and_fuzzy_pairs_of_a_small_table() -> None:
    found = find_pairs(
        frame(
            ("10", "A@x.org ", "Jeanne", "Dupont", "75001"),
            ("2", "b@x.org", "Jean", "Dupond", "75001"),
            ("1", "a@x.org", "Jean", "Dupont", "75001"),
            ("3", None, "Zoé", "Durand", "69002"),
            ("4", None, "ZOE", "durand", "13001"),
            ("x", "", "Paul", "Martin", None),
        ),
        SETTINGS,
    )
    assert named(found) == [
        ("1", "2", "fuzzy", "soundex(last)"),
        ("1", "10", "exact", "email"),
        ("2", "10", "fuzzy", "soundex(last)"),
        ("3", "4", "fuzzy", "soundex(last)"),
    ]
    assert (found.contacts, found.compared, found.crowds) == (6, 3, ())
    row = found.pairs.row(3, named=True)
    assert (row["score"], row["compared"], row["similarity_first"], row["group_size"]) == (1.0, 1.0, 1.0, None)
    assert found.pairs.row(1, named=True)["group_size"] == 2


@pytest.mark.parametrize("batch", [1, 7, 1_000_000])
def test_all_pairs_one_by_one_give_the_same(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "BATCH", batch)
    rng = random.Random(3)
    firsts = ["jean", "jean paul", "Paul  Jean", "zoé", "zoe", None, "léa", "lea marie"]
    lasts = ["martin", "marten", "marin", "durand", "durant", "dupont", "de la tour", "tour de la", None]
    rows = [
        (str(number), None, rng.choice(firsts), rng.choice(lasts), rng.choice(["1", "2", None]))
        for number in range(1, 61)
    ]
    settings = Duplicates(compare={"first": 1.5, "last": 2}, block=("zip", "last"), review=0.7)
    found = find_pairs(frame(*rows), settings)
    wanted = {}
    for one, other in combinations(rows, 2):
        shares = (one[4] is not None and one[4] == other[4]) or (
            text_of(one[3]) is not None and text_of(one[3]) == text_of(other[3])
        )
        parts = [(weight, likeness(one[at], other[at])) for weight, at in ((1.5, 2), (2.0, 3))]
        known = [(weight, part) for weight, part in parts if part is not None]
        if not shares or sum(weight for weight, _ in known) < 0.5 * 3.5:
            continue
        score = round(sum(weight * part for weight, part in known) / sum(weight for weight, _ in known))
        if score >= 7_000:
            wanted[one[0], other[0]] = score / 10_000
    told = {(one, other): score for one, other, score in found.pairs.select("user_id", "other_id", "score").rows()}
    assert told == pytest.approx(wanted)
    assert len(wanted) > 100


WORDS = st.text(alphabet="abé ", max_size=5)
ROWS = st.lists(st.tuples(st.none() | WORDS, st.none() | WORDS, st.none() | WORDS, st.none() | WORDS), max_size=14)


@pytest.mark.slow
@given(rows=ROWS, seed=st.integers(0, 99))
def test_each_pair_once_smaller_id_first_and_in_any_order_of_the_rows(rows: list[Any], seed: int) -> None:
    table = frame(*[(str(number), *row) for number, row in enumerate(rows)])
    settings = Duplicates(
        exact=("email",), compare={"first": 1, "last": 1}, block=("first(first, 1)", "zip", "soundex(last)"), review=0.5
    )
    found = find_pairs(table, settings)
    pairs = found.pairs.select("user_id", "other_id").rows()
    assert len(pairs) == len(set(pairs)) == len({frozenset(pair) for pair in pairs})
    assert all(int(one) < int(other) for one, other in pairs)
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed) if table.height else table
    assert_frame_equal(find_pairs(shuffled, settings).pairs, found.pairs)
    # Which of two is the first makes no difference to how alike they are.
    turned = {str(number): str(len(rows) - 1 - number) for number in range(len(rows))}
    other_way = find_pairs(table.with_columns(pl.col("user_id").replace(turned)), settings).pairs
    scores = {frozenset(row[:2]): row[2:] for row in found.pairs.select("user_id", "other_id", "score").rows()}
    for one, other, score in other_way.filter(pl.col("kind") == "fuzzy").select("user_id", "other_id", "score").rows():
        pair = frozenset((turned[one], turned[other]))
        assert scores.get(pair, (score,)) == (score,)


def test_a_group_of_equal_values_has_one_pair_less_than_contacts_and_a_crowd_is_told() -> None:
    rows = [(str(number), "shop@x.org", None, None, None) for number in range(30_000)]
    rows += [(f"a{number}", "a@x.org", None, None, None) for number in range(4)]
    found = find_pairs(frame(*rows), SETTINGS)
    assert found.pairs.height == 29_999 + 3
    assert found.crowds == (Crowd("exact", "email", 30_000),)
    assert set(found.pairs["user_id"]) == {"0", "a0"}
    assert found.pairs["score"].null_count() == found.pairs.height
    assert found.pairs.filter(pl.col("user_id") == "a0")["group_size"].to_list() == [4, 4, 4]


def test_a_block_that_is_too_large_is_told_and_not_compared() -> None:
    rows = [(str(number), None, f"n{number}", "martin", None) for number in range(60)]
    rows += [("80", None, "anne", "dupont", None), ("81", None, "anna", "dupont", None)]
    settings = SETTINGS.model_copy(update={"largest_block": 50})
    found = find_pairs(frame(*rows), settings)
    assert found.crowds == (Crowd("block", "soundex(last)", 60),)
    assert named(found) == [("80", "81", "fuzzy", "soundex(last)")]
    # The other key still brings two of them together.
    near = frame(*[(*row[:4], "1" if row[0] in {"3", "30"} else None) for row in rows])
    other = settings.model_copy(update={"block": ("soundex(last)", "zip")})
    assert named(find_pairs(near, other)) == [("3", "30", "fuzzy", "zip"), ("80", "81", "fuzzy", "soundex(last)")]


def test_what_one_of_two_does_not_have_lowers_nothing_and_too_little_in_common_is_no_pair() -> None:
    rows = [("1", None, "anne", "martin", "1"), ("2", None, None, "martin", "1"), ("3", None, "anne", None, "1")]
    settings = Duplicates(compare={"first": 1, "last": 2}, block=("zip",), review=0.5)
    found = find_pairs(frame(*rows), settings).pairs
    assert found.select("user_id", "other_id", "score", "compared").rows() == [("1", "2", 1.0, 0.6667)]


@pytest.mark.slow
def test_planted_duplicates_are_found() -> None:
    table = people(4_000, seed=5)
    settings = Duplicates(
        exact=("email",),
        compare={"last_name": 3, "first_name": 2, "street": 2, "postcode": 1},
        block=("soundex(last_name)+postcode", "birth_date+first(last_name, 2)", "digits(phone, 8)"),
        review=0.9,
    )
    found = find_pairs(table.drop("person"), settings).pairs
    person = dict(table.select("user_id", "person").rows())
    right = sum(person[one] == person[other] for one, other in found.select("user_id", "other_id").rows())
    sizes = table.group_by("person").len()["len"]
    planted = int((sizes * (sizes - 1) // 2).sum())
    assert right / planted > 0.9
    assert right / found.height > 0.97


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"exact": (), "compare": {}, "block": ()}, "duplicates-nothing", "neither"),
        ({"exact": ("mail",)}, "duplicates-attributes", "exact: no attribute 'mail' (did you mean 'email'?)"),
        ({"compare": {"tags": 1.0}}, "duplicates-attributes", "compare: 'tags' is a List(String)"),
        ({"block": ("soundx(last)",)}, "duplicates-block", "soundx is none of soundex, first, digits"),
        ({"block": ("first(last)",)}, "duplicates-block", "first expects how many characters"),
        ({"block": ("soundex(last, 4)",)}, "duplicates-block", "soundex expects an attribute alone"),
        ({"block": ("last+",)}, "duplicates-block", "nothing beside a +"),
        ({"block": ("digits(name, 2)", "lst")}, "duplicates-block", "'lst': no attribute 'lst' (did you mean 'last'"),
    ],
)
def test_mistakes_in_the_section_are_told(changes: dict[str, Any], code: str, told: str) -> None:
    schema: dict[str, pl.DataType] = {name: pl.String() for name in SCHEMA} | {"tags": pl.List(pl.String())}
    with pytest.raises(ConfigError) as raised:
        attributes_needed(SETTINGS.model_copy(update=changes), schema)
    assert raised.value.code == code
    assert told in raised.value.message


def test_without_the_package_that_compares_only_equal_values_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    schema: dict[str, pl.DataType] = {name: pl.String() for name in SCHEMA}
    with pytest.raises(ConfigError) as raised:
        attributes_needed(SETTINGS, schema)
    assert raised.value.code == "contacts-extra-missing"
    exact = SETTINGS.model_copy(update={"compare": {}, "block": ()})
    assert attributes_needed(exact, schema) == ["email"]


def test_the_attributes_that_are_needed() -> None:
    schema: dict[str, pl.DataType] = {name: pl.String() for name in SCHEMA}
    assert attributes_needed(SETTINGS, schema) == ["email", "first", "last", "zip"]


def test_numbers_and_days_are_compared_by_their_text() -> None:
    table = pl.DataFrame({"user_id": ["1", "2"], "born": [pl.date(1980, 1, 2)] * 2, "n": [12, 12]}, strict=False)
    table = table.with_columns(born=pl.date(1980, 1, 2))
    found = find_pairs(table, Duplicates(exact=("n",), compare={"born": 1}, block=("born",), review=0.5))
    assert found.pairs.select("kind", "score").rows() == [("exact", 1.0)]
