from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Exclude
from engine.contacts.duplicates.decisions import (
    Act,
    Kind,
    changing,
    decisions_file,
    merged_pairs,
    merges_digest,
    pair_of,
    read_decisions,
    standing,
    without_people,
    write_decisions,
)
from engine.contacts.duplicates.groups import group_links
from engine.contacts.duplicates.links import fill_merged, joined_links, merged_links, with_exclusions, with_merges
from engine.contacts.duplicates.order import order_of
from engine.errors import IntegrityError
from engine.privacy.ids import IdRules

DAY = date(2026, 3, 1)
PAIR = {"user_id": pl.String, "other_id": pl.String}
INTEGERS = pl.Int64()


def act(kind: Kind, one: str, other: str) -> Act:
    return Act(kind, pair_of(one, other), DAY)


def decided(out: Path, *acts: Act) -> Path:
    write_decisions(acts, out)
    return out


def pairs(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, PAIR, orient="row")


def linked(*rows: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"from_id": pl.Int64, "to_id": pl.Int64}, orient="row")


def test_decisions_are_kept_in_order_and_the_last_one_counts(tmp_path: Path) -> None:
    acts = (
        act("merge", "10", "9"),
        Act("merge", ("a", "é"), DAY, "score"),
        act("undo", "9", "10"),
        act("refuse", "1", "2"),
    )
    assert read_decisions(decided(tmp_path, *acts)) == acts
    assert acts[0].pair == ("9", "10")
    assert merged_pairs(acts).rows() == [("a", "é")]
    assert standing(acts)["9", "10"].kind == "undo"
    with changing(tmp_path) as found:
        write_decisions((*found, act("merge", "9", "10")), tmp_path)
    assert len(read_decisions(tmp_path)) == 5
    assert (decisions_file(tmp_path).stat().st_mode & 0o777) == 0o600
    assert without_people(acts, ["é", "2"]) == (acts[0], acts[2])
    write_decisions((), tmp_path)
    assert not decisions_file(tmp_path).exists()
    assert read_decisions(tmp_path) == ()


def test_the_digest_tells_what_is_merged_and_not_how_it_came(tmp_path: Path) -> None:
    assert merges_digest(tmp_path) is None
    first = merges_digest(decided(tmp_path, act("merge", "1", "2"), act("merge", "2", "3")))
    other = merges_digest(
        decided(
            tmp_path, act("refuse", "7", "8"), act("merge", "3", "2"), act("undo", "3", "2"), act("merge", "2", "1")
        )
    )
    assert None is not first != other
    assert (
        merges_digest(decided(tmp_path, act("merge", "2", "3"), Act("merge", ("1", "2"), date(2020, 1, 1), "exact")))
        == first
    )
    assert merges_digest(decided(tmp_path, act("merge", "2", "3"), act("undo", "2", "3"))) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "acts": []}',
        '{"format": 1}',
        '{"format": 1, "acts": [{"on": "x", "act": "merge", "by": "person", "user_id": "1", "other_id": "2"}]}',
        '{"format": 1, "acts": [{"on": "2026-01-01", "act": "join", "by": "person", "user_id": "1", "other_id": "2"}]}',
        '{"format": 1, "acts": [{"on": "2026-01-01", "act": "merge", "by": "person", "user_id": 1, "other_id": "2"}]}',
    ],
)
def test_a_damaged_file_stops_the_run_and_is_not_quoted(tmp_path: Path, content: str) -> None:
    path = decisions_file(tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(IntegrityError) as raised:
        read_decisions(tmp_path)
    assert raised.value.code == "decisions-damaged"


@given(edges=st.lists(st.tuples(st.sampled_from("1 2 3 10 a b c".split()), st.sampled_from("1 2 3 10 a b c".split()))))
def test_a_group_keeps_its_first_id_whatever_joins_it(edges: list[tuple[str, str]]) -> None:
    people: dict[str, set[str]] = {}
    for one, other in edges:
        group = people.get(one, {one}) | people.get(other, {other})
        people |= dict.fromkeys(group, group)
    wanted = {name: min(group, key=order_of) for name, group in people.items()}
    found = dict(group_links(pairs(*edges)).rows())
    assert found == {name: kept for name, kept in wanted.items() if name != kept}
    assert list(found) == sorted(found)


def test_merges_and_links_are_one_set_of_links(tmp_path: Path) -> None:
    assert with_merges(None, tmp_path, INTEGERS) is None
    identity = linked((12, 4), (20, 4))
    assert with_merges(identity, tmp_path, INTEGERS) is identity
    # 12 is 4 by the table: to merge 12 and 7 is to merge 4 and 7.
    assert joined_links(identity, pairs(("7", "12")), INTEGERS).rows() == [(7, 4), (12, 4), (20, 4)]
    assert joined_links(identity, pairs(("2", "12")), INTEGERS).rows() == [(4, 2), (12, 2), (20, 2)]
    # An id that no event can have joins two that events have.
    assert joined_links(None, pairs(("5", "x"), ("x", "3")), INTEGERS).rows() == [(5, 3)]
    # The user 7 is nobody's contact here, and two are one also where the id that the contacts keep is no user's.
    assert joined_links(None, pairs(("007", "12"), ("12", "3")), INTEGERS).rows() == [(12, 3)]
    large = 2**62
    assert joined_links(None, pairs(("!", str(large)), ("!", str(large + 1))), INTEGERS).rows() == [(large + 1, large)]
    # Circles are no matter.
    assert joined_links(identity, pairs(("4", "20"), ("1", "2"), ("2", "3"), ("1", "3")), INTEGERS).rows() == [
        (2, 1),
        (3, 1),
        (12, 4),
        (20, 4),
    ]
    texts = joined_links(None, pairs(("9", "10"), ("b", "10")), pl.String())
    assert texts.rows() == [("10", "9"), ("b", "9")]


def test_links_of_pseudonyms_say_who_is_excluded() -> None:
    links = pl.DataFrame({"from_id": ["b", "c"], "to_id": ["a", "a"]})
    known = pl.DataFrame({"from_id": ["c"], "to_id": ["a"], "to_excluded": [True], "from_excluded": [False]})
    assert with_exclusions(known, None, IdRules(), Exclude()) is known
    assert with_exclusions(links, known, IdRules(), Exclude(user_ids=("b",))).rows() == [
        ("b", "a", True, True),
        ("c", "a", True, False),
    ]
    assert with_exclusions(links, None, IdRules(), Exclude()).rows() == [
        ("b", "a", False, False),
        ("c", "a", False, False),
    ]


def test_only_contacts_that_were_merged_are_one(tmp_path: Path) -> None:
    assert merged_links(None, None, tmp_path) is None
    out = decided(tmp_path, act("merge", "7", "12"))
    identity = linked((12, 4), (20, 4))
    links = with_merges(identity, out, INTEGERS)
    found = merged_links(links, identity, out)
    assert found is not None
    assert found.rows() == [("12", "4"), ("7", "4")]
    # Who was 4 until now, by way of 12, is 2 from now on; of 20 nothing was decided.
    out = decided(tmp_path / "other", act("merge", "2", "12"))
    found = merged_links(with_merges(identity, out, INTEGERS), identity, out)
    assert found is not None
    assert found.rows() == [("12", "2"), ("4", "2")]


def test_the_contact_that_stays_is_filled_in_the_order_of_ids() -> None:
    contacts = pl.DataFrame(
        {
            "user_id": ["10", "9", "2", "5", "30"],
            "name": ["ten", None, None, "five", "thirty"],
            "town": ["T", "N", None, "F", None],
            "flag": [True, False, None, None, None],
        }
    )
    links = pl.DataFrame({"from_id": ["10", "30", "9"], "to_id": ["2", "4", "2"]})
    assert fill_merged(contacts, None) is contacts
    assert fill_merged(contacts, links).rows() == [
        ("5", "five", "F", None),
        ("2", "ten", "N", False),
        # Of 4 there is no contact: it has what 30 had.
        ("4", "thirty", None, None),
    ]


def test_flags_are_those_of_the_address_that_is_taken() -> None:
    contacts = pl.DataFrame(
        [
            ("1", None, False, None),
            ("2", "b@x.org", True, True),
            ("3", "broken", False, None),
            ("4", "d@x.org", True, True),
            ("5", None, False, None),
            ("6", None, None, None),
        ],
        {"user_id": pl.String, "mail": pl.String, "valid": pl.Boolean, "role": pl.Boolean},
        orient="row",
    )
    links = pl.DataFrame({"from_id": ["2", "4", "6"], "to_id": ["1", "3", "5"]})
    flags = {"mail": ("valid", "role"), "phone": ("phone_valid",)}
    assert fill_merged(contacts, links, flags=flags).rows() == [
        ("1", "b@x.org", True, True),
        ("3", "broken", False, None),
        ("5", None, False, None),
    ]


def test_columns_of_an_enrichment_are_of_one_contact() -> None:
    contacts = pl.DataFrame(
        [
            # 1 has a row of the first enrichment, with a gap; 3 has none; 5 has no postcode, 7 one without a row.
            ("1", "A", None, "75001", "paris", 10, "x"),
            ("2", "B", "b", "69001", "lyon", None, "y"),
            ("3", None, None, "75001", "paris", 30, None),
            ("4", None, "d", "69001", "lyon", 40, "y"),
            ("5", "E", "e", None, None, None, None),
            ("6", "F", "f", "69001", "lyon", 60, "y"),
            ("7", None, None, "99999", None, None, None),
            ("8", None, None, "69001", "lyon", 80, "y"),
        ],
        {
            "user_id": pl.String,
            "score": pl.String,
            "band": pl.String,
            "postcode": pl.String,
            "town": pl.String,
            "income": pl.Int64,
            "zone": pl.String,
        },
        orient="row",
    )
    links = pl.DataFrame({"from_id": ["2", "4", "6", "8"], "to_id": ["1", "3", "5", "7"]})
    # One by user, one by postcode, and one by a column that the second has added.
    enriched = [(None, ("score", "band")), ("postcode", ("town", "income")), ("town", ("zone",))]
    assert fill_merged(contacts, links, enriched=enriched).rows() == [
        ("1", "A", None, "75001", "paris", 10, "x"),
        ("3", None, "d", "75001", "paris", 30, None),
        ("5", "E", "e", "69001", "lyon", 60, "y"),
        ("7", None, None, "99999", None, None, None),
    ]
    # A plain column that was looked at and is no attribute is not asked for.
    assert fill_merged(contacts.drop("postcode"), links, enriched=enriched).row(3) == ("7", None, None, "lyon", 80, "y")


def test_history_of_merged_contacts_is_that_of_the_rows_that_held() -> None:
    contacts = pl.DataFrame(
        [
            ("1", 10, "a", None),
            ("1", 30, None, "z"),
            ("2", 5, "b", "x"),
            ("2", 20, "c", "y"),
            ("3", 1, "q", "q"),
        ],
        {"user_id": pl.String, "from": pl.Int32, "name": pl.String, "town": pl.String},
        orient="row",
    )
    links = pl.DataFrame({"from_id": ["2"], "to_id": ["1"]})
    assert fill_merged(contacts, links, "from").rows() == [
        ("3", 1, "q", "q"),
        ("1", 5, "b", "x"),
        ("1", 10, "a", "x"),
        ("1", 20, "a", "y"),
        ("1", 30, "c", "z"),
    ]


def test_the_file_is_one_line_an_act(tmp_path: Path) -> None:
    decided(tmp_path, act("merge", "1", "2"), act("undo", "1", "2"))
    text = decisions_file(tmp_path).read_text()
    assert len(text.splitlines()) == 4
    assert json.loads(text)["acts"][1] == {
        "on": "2026-03-01",
        "act": "undo",
        "by": "person",
        "user_id": "1",
        "other_id": "2",
    }
