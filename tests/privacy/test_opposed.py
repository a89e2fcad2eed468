from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError, IntegrityError
from engine.exports.listed import Phones
from engine.privacy.key import Key
from engine.privacy.opposed import (
    check_comparable,
    held,
    of_this_key,
    opposed_file,
    read_opposed,
    with_opposed,
    without_opposed,
    write_opposed,
)
from engine.privacy.pseudonyms import pseudonym_of

KEY = Key(bytes(range(32)))
NEXT = Key(bytes(range(64, 96)), (KEY,))
DAY = date(2026, 2, 1)


def held_by(opposed: object, kind: str, values: list[str | None], key: Key = KEY) -> list[bool]:
    frame = pl.DataFrame({"value": pl.Series(values, dtype=pl.String)})
    return frame.select(opposed.holds(pl.col("value"), kind, key))["value"].to_list()  # type: ignore[attr-defined]


def test_gd08_a_value_is_found_as_id_as_pseudonym_and_as_address(tmp_path: Path) -> None:
    values = pl.Series(["u1", "Ana@Example.com", "7"])
    opposed = with_opposed(read_opposed(tmp_path), values, KEY, DAY)
    assert held_by(opposed, "id", ["u1", "u2", None, "7", "Ana@Example.com"]) == [True, False, False, True, True]
    assert held_by(opposed, "address", ["ana@example.com", "bob@example.com"]) == [True, False]
    assert held_by(opposed, "pseudonym", [pseudonym_of(text, KEY) for text in ("u1", "u2")]) == [True, False]


def test_gd08_a_pseudonym_may_object_itself(tmp_path: Path) -> None:
    opposed = with_opposed(read_opposed(tmp_path), pl.Series([pseudonym_of("u1", KEY)]), KEY, DAY)
    assert held_by(opposed, "pseudonym", [pseudonym_of("u1", KEY)]) == [True]


def test_gd08_nothing_clear_is_kept(tmp_path: Path) -> None:
    write_opposed(with_opposed(read_opposed(tmp_path), pl.Series(["ana@example.com"]), KEY, DAY), tmp_path)
    text = opposed_file(tmp_path).read_text(encoding="utf-8")
    assert not any(word in text for word in ("ana", "example", pseudonym_of("ana@example.com", KEY)[:32]))
    again = read_opposed(tmp_path)
    assert again.counts() == {"2026-02-01": 1}
    assert held_by(again, "address", ["ana@example.com"]) == [True]


def test_gd08_adding_again_and_removing(tmp_path: Path) -> None:
    once = with_opposed(read_opposed(tmp_path), pl.Series(["a", "b"]), KEY, DAY)
    again = with_opposed(once, pl.Series(["b", "c"]), KEY, date(2026, 3, 1))
    assert again.counts() == {"2026-02-01": 2, "2026-03-01": 1}
    left = without_opposed(again, pl.Series(["a", "zzz"]), KEY)
    assert (len(left), held(left, pl.Series(["a", "b", "c"]), KEY)) == (2, 2)


@pytest.mark.parametrize(
    ("given", "asked"),
    [("Ana@Example.com", " ana@example.com"), ("+33 6 12 34 56 78", "0612345678"), ("0007", "0007")],
)
def test_gd08_another_spelling_is_the_same_person(tmp_path: Path, given: str, asked: str) -> None:
    phones = Phones(("mobile",), "FR")
    once = with_opposed(read_opposed(tmp_path), pl.Series([given]), KEY, DAY, phones)
    again = with_opposed(once, pl.Series([asked]), KEY, date(2026, 3, 1), phones)
    assert (len(once), len(again), again.counts()) == (1, 1, {"2026-02-01": 1})
    assert held(once, pl.Series([asked, "zzz"]), KEY, phones) == 1
    assert len(without_opposed(again, pl.Series([asked]), KEY, phones)) == 0


def test_gd08_an_id_with_zeros_is_found_whether_ids_are_text_or_numbers(tmp_path: Path) -> None:
    opposed = with_opposed(read_opposed(tmp_path), pl.Series(["0007"]), KEY, DAY)
    assert held_by(opposed, "id", ["0007", "7", "007"]) == [True, True, False]
    named = [pseudonym_of(text, KEY) for text in ("0007", "7", "007")]
    assert held_by(opposed, "pseudonym", named) == [True, True, False]


def test_gd06_objections_outlive_a_change_of_keys(tmp_path: Path) -> None:
    both = with_opposed(
        with_opposed(read_opposed(tmp_path), pl.Series(["a"]), KEY, DAY), pl.Series(["b"]), NEXT, date(2026, 3, 1)
    )
    assert held_by(both, "id", ["a", "b", "c"], NEXT) == [True, True, False]
    assert held(both, pl.Series(["a", "b", "c"]), NEXT) == 2
    assert len(without_opposed(both, pl.Series(["a"]), NEXT)) == 1
    assert len(of_this_key(both, NEXT)) == 1
    with pytest.raises(ConfigError) as caught:
        check_comparable(both, NEXT)
    assert caught.value.code == "key-other"
    check_comparable(of_this_key(both, NEXT), NEXT)


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 9, "people": []}', '{"format": 1, "people": [[1]]}'])
def test_gd08_a_damaged_list_is_an_error(tmp_path: Path, text: str) -> None:
    opposed_file(tmp_path).parent.mkdir()
    opposed_file(tmp_path).write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError) as caught:
        read_opposed(tmp_path)
    assert caught.value.code == "privacy-state"
