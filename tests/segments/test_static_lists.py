from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.privacy.ids import IdRules
from engine.privacy.key import KeySource, load_key
from engine.privacy.pseudonyms import pseudonym_of
from engine.privacy.tombstones import nobody_erased, read_tombstones, tombstones_file, with_erased, write_tombstones
from engine.rollups.ranges import key_ranges
from engine.segments.definition import Definition, StaticList
from engine.segments.static_lists import (
    bucket_lists,
    is_in_force,
    kept_lists,
    linked_lists,
    list_notes,
    read_lists,
    stage_lists,
    unknown_ids,
)


def listed(name: str, path: Path, expires_on: date | None = None, *, refuse: bool = True) -> Definition:
    return Definition(name, "list", None, list=StaticList(str(path), date(2026, 1, 10), expires_on, refuse))


def written(path: Path, content: str | dict[str, list[object]]) -> Path:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        pl.DataFrame(content).write_parquet(path)
    return path


@pytest.mark.parametrize("dtype", ["Int64", "String"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("vip.txt", "\ufeff12\r\n 7 \r\n-3\r\n"),
        ("vip.csv", 'name;"user_id"\nA;12\n"B;C";7\nD;-3\n'),
        ("vip.csv", "user_id\n12\n7\n-3\n"),
        ("vip.csv", "12\n7\n-3\n"),
        ("vip.parquet", {"user_id": [12, 7, -3]}),
        ("vip.parquet", {"user_id": ["12", "7", "-3"], "name": ["A", "B", "C"]}),
    ],
)
def test_lists_in_all_formats(tmp_path: Path, file: str, content: str | dict[str, list[object]], dtype: str) -> None:
    read = read_lists([listed("VIP", written(tmp_path / file, content))], dtype)
    assert list(read) == ["VIP"]
    assert str(read["VIP"].dtype) == dtype
    assert read["VIP"].to_list() == ([-3, 7, 12] if dtype == "Int64" else ["-3", "12", "7"])


def test_every_problem_of_every_list_is_told_at_once(tmp_path: Path) -> None:
    broken = [
        listed("twice", written(tmp_path / "twice.txt", "1\n2\n01\n1\n2\n")),
        listed("blank", written(tmp_path / "blank.txt", "1\n\n2\n \n")),
        listed("null", written(tmp_path / "null.parquet", {"user_id": [1, None]})),
        listed("wrong", written(tmp_path / "wrong.csv", "user_id,x\n1,\nabc,\n9223372036854775808,\n")),
        listed("empty", written(tmp_path / "empty.txt", "")),
        listed("gone", tmp_path / "gone.txt"),
        listed("columns", written(tmp_path / "columns.csv", "id,name\n1,A\n")),
        listed("float", written(tmp_path / "float.parquet", {"user_id": [1.5]})),
        Definition("rule", "rule", None, "a > 1"),
    ]
    with pytest.raises(ConfigError) as caught:
        read_lists(broken, "Int64")
    assert caught.value.code == "segment-list"
    lines = caught.value.message.splitlines()[1:]
    expected = [
        "'twice': 3 duplicates: first in line 3, which stands in line 1 already",
        "'blank': 2 blank ids, first in line 2",
        "'null': 1 blank id, first in row 2",
        "'wrong': 2 ids that no user can have, as the log's ids are whole numbers: first in row 2",
        "'empty': it holds no id",
        "'gone': cannot read the ids in",
        "'columns': " + str(tmp_path / "columns.csv") + ": expected a column 'user_id'",
        "'float': " + str(tmp_path / "float.parquet") + ": expected a column 'user_id'",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(f"  - {start}")


def test_text_ids_are_not_numbers(tmp_path: Path) -> None:
    read = read_lists([listed("VIP", written(tmp_path / "vip.txt", "1\n01\nÉvry\n"))], "String")
    assert read["VIP"].to_list() == ["01", "1", "Évry"]


@pytest.mark.parametrize("dtype", ["Int64", "String"])
def test_gd06_a_list_may_have_pseudonyms_as_one_that_was_frozen_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    source = KeySource("TAMIS_KEY")
    key = load_key(source)
    names = {user: pseudonym_of(user, key) for user in ("7", "8", "9", "10", "11")}
    # 9 and 11 were erased; 7 is there by both names.
    write_tombstones(with_erased(nobody_erased(), ["9", "11"], key, 5), tmp_path)
    rules = IdRules(source, key.id, pseudonyms=True, tombstones=str(tombstones_file(tmp_path)))
    rules = replace(rules, erased=read_tombstones(tmp_path).digest)
    file = written(tmp_path / "vip.txt", "\n".join([names["7"], names["8"], names["9"], "7", "10", "11"]))
    read = read_lists([listed("VIP", file)], dtype, pseudonyms=True)
    assert kept_lists(read, rules)["VIP"].to_list() == sorted(names[user] for user in ("7", "8", "10"))


def test_a_linked_id_stands_for_its_user(tmp_path: Path) -> None:
    links = pl.DataFrame({"from_id": [8, 9], "to_id": [1, 2]})
    read = read_lists([listed("VIP", written(tmp_path / "vip.txt", "9\n1\n8\n5"))], "Int64")
    assert linked_lists(read, links)["VIP"].to_list() == [1, 2, 5]
    assert linked_lists(read, links.clear())["VIP"].to_list() == [1, 5, 8, 9]


@pytest.mark.parametrize(
    ("day", "member"),
    [
        (date(2026, 1, 9), False),
        (date(2026, 1, 10), True),
        (date(2026, 1, 19), True),
        (date(2026, 1, 20), False),
        (date(2027, 1, 1), False),
    ],
)
def test_a_list_is_in_force_from_its_day_until_it_expires(day: date, member: bool) -> None:
    definition = listed("VIP", Path("x"), date(2026, 1, 20))
    assert definition.list is not None
    assert is_in_force(definition.list, day) is member
    notes = list_notes([definition, listed("forever", Path("y"))], day)
    expected = 0 if member else 2 if day < date(2026, 1, 10) else 1
    assert len(notes) == expected


def test_notes_say_why() -> None:
    definition = listed("VIP", Path("x"), date(2026, 1, 20))
    assert list_notes([definition], date(2026, 1, 20)) == (
        "segment 'VIP' has no members: its list expired on 2026-01-20",
    )
    assert list_notes([definition], date(2026, 1, 1)) == (
        "segment 'VIP' has no members: its list is frozen on 2026-01-10 only",
    )


@pytest.mark.parametrize("dtype", [pl.Int64(), pl.String()])
def test_buckets_find_their_part_of_staged_lists(tmp_path: Path, dtype: pl.DataType) -> None:
    lists = {
        "é": pl.Series("user_id", range(0, 60, 2)).cast(dtype),
        "none here": pl.Series("user_id", [1000]).cast(dtype),
    }
    stage_lists(lists, tmp_path / "lists.parquet")
    users = pl.Series("user_id", range(50)).cast(dtype)
    known = 0
    for keys in key_ranges(3):
        found = bucket_lists(tmp_path / "lists.parquet", keys, users.clear())
        known += len(found.get("é", []))
    assert known == 30
    rekeyed = bucket_lists(tmp_path / "lists.parquet", key_ranges(1000)[0], users.gather([2, 4]))
    assert set(users.gather([2, 4])) <= set(rekeyed["é"])


def test_unknown_ids_are_refused_or_told(tmp_path: Path) -> None:
    definitions = [
        listed("strict", tmp_path / "a"),
        listed("lenient", tmp_path / "b", refuse=False),
        listed("fine", tmp_path / "c"),
        Definition("rule", "rule", None, "a > 1"),
    ]
    lists = {"strict": pl.Series(range(10)), "lenient": pl.Series([1, 99]), "fine": pl.Series([1])}
    found = {"strict": 2, "lenient": 1, "fine": 1}
    with pytest.raises(ConfigError) as caught:
        unknown_ids(definitions, lists, found)
    assert caught.value.code == "segment-list-unknown"
    assert "'strict': 8 of 10 ids of its list belong to no user (" in caught.value.message
    assert "fine" not in caught.value.message
    assert unknown_ids(definitions[1:], lists, found) == (
        "segment 'lenient': 1 of 2 ids of its list belong to no user",
    )
