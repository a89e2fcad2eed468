from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Identity
from engine.errors import ConfigError, DataError
from engine.events.identities import (
    Identities,
    affected,
    final_links,
    identity_files,
    read_identities,
    resolve,
)
from tests.events.logs import NOON, write

TEXT = pl.String()
NUMBER = pl.Int64()


def identity(path: Path, **fields: Any) -> Identity:
    return Identity(path=str(path), anonymous_id="anon", user_id="user", **fields)


def read(folder: Path, data: Mapping[str, Any], dtype: pl.DataType = TEXT, **fields: Any) -> Identities:
    return read_identities(identity(write(pl.DataFrame(data), folder / "i.parquet"), **fields), dtype)


def pairs(found: Identities) -> list[tuple[object, object]]:
    return found.links.rows()


def links(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(sorted(rows), {"from_id": pl.String, "to_id": pl.String}, orient="row")


def refusal(path: Path, dtype: pl.DataType = TEXT, **fields: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        identity_files(identity(path, **fields), dtype)
    return caught.value


# --- reading


def test_a_table_may_have_a_column_of_any_name(tmp_path: Path) -> None:
    assert pairs(read(tmp_path, {"anon": ["a"], "user": ["v"], "row": [7], "file": ["x"]})) == [("a", "v")]


def test_links_sorted_by_id(tmp_path: Path) -> None:
    found = read(tmp_path, {"anon": ["c", "a", None, "", "d", "e"], "user": ["u", "v", "w", "w", None, ""]})
    assert pairs(found) == [("a", "v"), ("c", "u")]
    assert (found.rows, found.left_out) == (6, 4)
    assert found.links.schema == {"from_id": pl.String, "to_id": pl.String}


@pytest.mark.parametrize(
    ("ids", "dtype", "expected"),
    [
        (pl.Series([3, None], dtype=pl.Int32), NUMBER, 3),
        (pl.Series([3, None], dtype=pl.UInt64), NUMBER, 3),
        (pl.Series([3, None], dtype=pl.UInt64), TEXT, "3"),
        (pl.Series(["3", None], dtype=pl.Categorical), TEXT, "3"),
    ],
)
def test_ids_have_the_type_of_the_events(tmp_path: Path, ids: pl.Series, dtype: pl.DataType, expected: object) -> None:
    found = read(tmp_path, {"anon": ids, "user": pl.Series([9, 9])}, dtype)
    assert found.links.schema == {"from_id": dtype, "to_id": dtype}
    assert pairs(found) == [(expected, 9 if dtype == pl.Int64 else "9")]


def test_without_a_time_the_largest_user_counts(tmp_path: Path) -> None:
    data = {"anon": ["a", "a", "a"], "user": ["9", "é", "10"]}
    assert pairs(read(tmp_path, data)) == [("a", "é")]
    assert pairs(read(tmp_path, {"anon": [1, 1], "user": [10, 9]}, NUMBER)) == [(1, 10)]


DAYS = [date(2026, 1, 2), date(2026, 1, 3), None, date(2026, 1, 3)]


@pytest.mark.parametrize(
    "at",
    [
        pl.Series([2, 3, None, 3]),
        pl.Series(DAYS),
        pl.Series(DAYS).cast(pl.Datetime("ms")),
        pl.Series(DAYS).cast(pl.Datetime("us", "Asia/Tokyo")),
        pl.Series(DAYS).cast(pl.Datetime("ns")),
    ],
)
def test_the_latest_link_counts_then_the_largest_user(tmp_path: Path, at: pl.Series) -> None:
    found = read(tmp_path, {"anon": ["a"] * 4, "user": ["z", "b", "y", "c"], "at": at}, at="at")
    assert pairs(found) == [("a", "c")]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_beyond_the_calendar_are_the_latest_and_the_earliest(tmp_path: Path, unit: Any) -> None:
    at = pl.Series([2**63 - 1, 0, -(2**63) + 1]).cast(pl.Datetime(unit))
    data = {"anon": ["a", "a", "a"], "user": ["b", "c", "d"], "at": at}
    assert pairs(read(tmp_path, data, at="at")) == [("a", "b")]
    assert pairs(read(tmp_path, {**data, "anon": ["x", "a", "a"]}, at="at")) == [("a", "c"), ("x", "b")]


def test_times_of_several_files_have_one_order(tmp_path: Path) -> None:
    early, late = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=UTC)
    folder = tmp_path / "i"
    first = pl.DataFrame({"anon": ["a", "b"], "user": ["late", "early"], "at": [late, early]})
    write(first, folder / "1.parquet")
    other = pl.Series([early, late]).dt.convert_time_zone("Asia/Tokyo").cast(pl.Datetime("ns", "Asia/Tokyo"))
    write(pl.DataFrame({"at": other, "user": ["early", "late"], "anon": ["a", "b"]}), folder / "2.parquet")
    found = read_identities(identity(folder, at="at"), TEXT)
    assert pairs(found) == [("a", "late"), ("b", "late")]


def test_chains_are_followed_to_their_end(tmp_path: Path) -> None:
    chain = [(f"{n:04}", f"{n + 1:04}") for n in range(300)]
    data = {"anon": [one for one, _ in chain] + ["x"], "user": [other for _, other in chain] + ["0150"]}
    assert pairs(read(tmp_path, data)) == [(one, "0300") for one, _ in chain] + [("x", "0300")]


def test_a_later_link_to_itself_undoes_a_link(tmp_path: Path) -> None:
    data = {"anon": ["a", "a", "b"], "user": ["u", "a", "a"], "at": [1, 2, 1]}
    assert pairs(read(tmp_path, data, at="at")) == [("b", "a")]


@pytest.mark.parametrize("size", [2, 3, 100])
def test_circles_are_refused(tmp_path: Path, size: int) -> None:
    circle = [f"secret{n}" for n in range(size)]
    data = {"anon": ["x", "w", *circle], "user": ["secret0", "x", *circle[1:], "secret0"]}
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    assert caught.value.code == "identity-circular"
    more = "" if size == 2 else f"; {tmp_path / 'i.parquet'} row 4" + ("" if size == 3 else "; …")
    assert caught.value.message == (
        f"identity: the links of {size} ids go round in circles, so that no id is the user's: "
        f"{tmp_path / 'i.parquet'} row 2; {tmp_path / 'i.parquet'} row 3{more}"
    )
    assert "secret" not in caught.value.message + caught.value.hint


IDS = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(IDS, IDS, st.integers(0, 3)), max_size=12), st.randoms(use_true_random=False))
def test_as_following_one_link_after_the_other(rows: list[tuple[str, str, int]], random: Any) -> None:
    latest: dict[str, tuple[int, str]] = {}
    for one, other, at in rows:
        latest[one] = max(latest.get(one, (-1, "")), (at, other))
    steps = {one: other for one, (_, other) in latest.items() if other != one}
    ends = {}
    circular = False
    for one, other in steps.items():
        seen, end = {one}, other
        while end in steps and end not in seen:
            seen.add(end)
            end = steps[end]
        circular = circular or end in steps
        ends[one] = end
    shuffled = random.sample(rows, len(rows))
    schema = {"from_id": pl.String, "to_id": pl.String, "at": pl.Int64}
    frame = pl.DataFrame(shuffled, schema, orient="row").with_row_index("row").with_columns(file=pl.lit(0))
    if circular:
        with pytest.raises(DataError, match="go round in circles"):
            final_links(frame, ["f"])
    else:
        assert final_links(frame, ["f"]).rows() == sorted(ends.items())


# --- what is refused


@pytest.mark.parametrize("dtype", [NUMBER, TEXT])
@pytest.mark.parametrize("ids", [pl.Series([1.5]), pl.Series([NOON]), pl.Series([True]), pl.Series([b"a"])])
def test_ids_of_other_types(tmp_path: Path, dtype: pl.DataType, ids: pl.Series) -> None:
    error = refusal(write(pl.DataFrame({"anon": ids, "user": [1]}), tmp_path / "i"), dtype)
    assert error.code == "identity-columns"
    wanted = "an integer" if dtype == NUMBER else "an integer or a string"
    assert f"  anon: expected {wanted}, got {ids.dtype} in {tmp_path / 'i'}" in error.message
    assert f"here {dtype}" in error.hint


def test_text_where_the_events_have_numbers(tmp_path: Path) -> None:
    error = refusal(write(pl.DataFrame({"anon": ["a"], "user": [1]}), tmp_path / "i"), NUMBER)
    assert "  anon: expected an integer, got String in " in error.message


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "i"
    write(pl.DataFrame({"Anon": ["a"], "user": [1.5], "at": ["2026-01-01"]}), folder / "1.parquet")
    write(pl.DataFrame({"anon": ["a"], "user": [1]}), folder / "2.parquet")
    assert refusal(folder, at="at").message.splitlines() == [
        "identity: the columns do not fit",
        f"  no column 'anon' in {folder / '1.parquet'} (did you mean 'Anon'?)",
        f"  user: expected an integer or a string, got Float64 in {folder / '1.parquet'}",
        f"  at: expected a timestamp, a date or an integer, got String in {folder / '1.parquet'}",
        f"  no column 'at' in {folder / '2.parquet'}",
    ]


def test_numbers_and_times_have_no_common_order(tmp_path: Path) -> None:
    folder = tmp_path / "i"
    write(pl.DataFrame({"anon": ["a"], "user": ["b"], "at": [1]}), folder / "1.parquet")
    write(pl.DataFrame({"anon": ["a"], "user": ["b"], "at": [NOON]}), folder / "2.parquet")
    message = refusal(folder, at="at").message
    assert f"  at: a number in {folder / '1.parquet'}, a time in {folder / '2.parquet'}" in message
    assert len(identity_files(identity(folder), TEXT)) == 2


def test_numbers_that_are_too_large(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"anon": pl.Series([2**64 - 1], dtype=pl.UInt64), "user": [1]}, NUMBER)
    assert caught.value.code == "events-values"
    assert str(2**64 - 1) not in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = write(pl.DataFrame({"anon": ["a"], "user": ["b"]}), tmp_path / "i.parquet")
    (tmp_path / "broken.parquet").write_bytes(file.read_bytes()[:-9])
    error = refusal(tmp_path)
    assert error.code == "input-unreadable"
    assert f"  {tmp_path / 'broken.parquet'}: " in error.message
    with pytest.raises(ConfigError) as caught:
        identity_files(identity(tmp_path / "nosuch"), TEXT)
    assert caught.value.code == "input-no-files"


# --- resolving


def test_events_go_to_their_users() -> None:
    rows = pl.DataFrame(
        [
            ("u", None),
            ("u", "a"),
            (None, "a"),
            ("", "a"),
            (None, "b"),
            (None, None),
            ("old", None),
            ("old", "a"),
            ("", None),
        ],
        {"user_id": pl.String, "anonymous_id": pl.String},
        orient="row",
    ).with_row_index("n")
    done = resolve(rows, links(("a", "v"), ("old", "new")))
    assert done["user_id"].to_list() == ["u", "u", "v", "v", "b", None, "new", "new", None]
    assert done.drop("user_id").equals(rows.drop("user_id"))
    assert done.columns == rows.columns
    for nothing in (None, links()):
        alone = resolve(rows, nothing)
        assert alone["user_id"].to_list() == ["u", "u", "a", "a", "b", None, "old", "old", None]


def test_integers_resolve_too() -> None:
    rows = pl.DataFrame({"user_id": [1, None, 0], "anonymous_id": [None, 5, 5]})
    table = pl.DataFrame({"from_id": [0, 5], "to_id": [9, 1]})
    assert resolve(rows, table)["user_id"].to_list() == [1, 1, 9]
    assert resolve(rows.drop("anonymous_id"), table)["user_id"].to_list() == [1, None, 9]


def test_a_source_without_anonymous_ids_has_an_untyped_null() -> None:
    rows = pl.DataFrame({"user_id": ["old", "u"]}).with_columns(anonymous_id=pl.lit(None))
    assert resolve(rows, links(("old", "new")))["user_id"].to_list() == ["new", "u"]


def test_order_of_many_rows_is_kept() -> None:
    numbers = range(50_000)
    rows = pl.DataFrame({"user_id": [n * 7919 % 10_007 for n in numbers], "n": numbers})
    table = pl.DataFrame({"from_id": range(0, 10_007, 2)}).with_columns(to_id=pl.col("from_id") + 1)
    done = resolve(rows, table)
    assert done["n"].equals(rows["n"])
    assert done["user_id"].to_list() == [one + 1 if one % 2 == 0 else one for one in rows["user_id"]]


# --- what changes


def test_ids_whose_events_belong_to_another_user() -> None:
    before = links(("gone", "u"), ("moved", "u"), ("kept", "u"))
    after = links(("moved", "v"), ("kept", "u"), ("fresh", "w"))
    expected = [("fresh", "fresh", "w"), ("gone", "u", "gone"), ("moved", "u", "v")]
    assert affected(before, after).rows() == expected
    assert affected(None, after).rows() == [("fresh", "fresh", "w"), ("kept", "kept", "u"), ("moved", "moved", "v")]
    assert affected(before, None)["now"].to_list() == ["gone", "kept", "moved"]
    assert affected(before, before).is_empty()
    with pytest.raises(ValueError, match="at least one"):
        affected(None, None)


LINKS = st.dictionaries(IDS, st.sampled_from("stuv"), max_size=8).map(lambda found: links(*found.items()))


@given(LINKS, LINKS)
def test_what_is_not_affected_resolves_as_before(before: pl.DataFrame, after: pl.DataFrame) -> None:
    rows = pl.DataFrame({"user_id": list("abcdefghstuv")})
    was, now = (resolve(rows, table)["user_id"].to_list() for table in (before, after))
    changed = [row for row in zip(rows["user_id"], was, now, strict=True) if row[1] != row[2]]
    assert affected(before, after).rows() == sorted(changed)
