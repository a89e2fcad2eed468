from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, IntegrityError
from engine.events.mapping import stable_hash
from engine.privacy.key import Key
from engine.privacy.pseudonyms import distinct_pseudonyms, pseudonym_of
from engine.privacy.tombstones import (
    SHARED_BY,
    erased_rows,
    nobody_erased,
    read_tombstones,
    shared_bits,
    tombstones_file,
    with_erased,
    with_linked,
    write_tombstones,
)

KEY = Key(bytes(range(32)))
OTHER = Key(bytes(range(32, 64)))
NEXT = Key(bytes(range(64, 96)), (KEY,))


@given(
    st.sets(st.text(min_size=1, max_size=5), max_size=8),
    st.lists(st.text(max_size=5) | st.none(), max_size=30),
    st.sampled_from([0, 10, 100_000, 10_000_000]),
)
def test_gd05_exactly_the_erased_ids_are_found(erased: set[str], asked: list[str | None], users: int) -> None:
    import unicodedata

    tombstones = with_erased(nobody_erased(), erased, KEY, users)
    known = {unicodedata.normalize("NFC", text) for text in erased}
    wanted = [text is not None and unicodedata.normalize("NFC", text) in known for text in asked]
    ids = pl.Series("id", asked, pl.String)
    assert erased_rows(ids, tombstones, KEY).to_list() == wanted
    pseudonyms = distinct_pseudonyms(ids.replace("", None), KEY)
    assert erased_rows(pseudonyms, tombstones, KEY, "pseudonym").to_list() == wanted


@pytest.mark.parametrize("users", [10, 1_000_000])
def test_gd05_people_erased_by_their_pseudonym_are_found_by_id_and_by_pseudonym(users: int) -> None:
    tombstones = with_erased(nobody_erased(), [pseudonym_of("u1", KEY)], KEY, users, "pseudonym")
    ids = pl.Series("id", ["u1", "u2"] * 3)
    assert erased_rows(ids, tombstones, KEY).to_list() == [True, False] * 3
    assert erased_rows(distinct_pseudonyms(ids, KEY), tombstones, KEY, "pseudonym").to_list() == [True, False] * 3


def test_gd05_integers_are_the_ids_of_their_text() -> None:
    tombstones = with_erased(nobody_erased(), ["7"], KEY, 10)
    assert erased_rows(pl.Series("id", [7, 70, None]), tombstones, KEY).to_list() == [True, False, False]
    assert erased_rows(pl.Series("id", [], pl.Int64), tombstones, KEY).to_list() == []


def test_gd05_so_few_bits_that_many_share_them() -> None:
    assert [shared_bits(users) for users in (0, 1, 512, 1_023, 1_024, 1_000_000, 10_000_000)] == [0, 0, 0, 0, 1, 10, 14]
    for users in (1_024, 33_000, 66_000):
        prefixes = pl.select(stable_hash(pl.int_range(users).cast(pl.String)) // 2 ** (64 - shared_bits(users)))
        assert prefixes.to_series().value_counts()["count"].min() >= SHARED_BY  # type: ignore[operator]


def test_gd05_nothing_of_a_person_is_in_the_file(tmp_path: Path) -> None:
    write_tombstones(with_erased(nobody_erased(), ["ana@example.com"], KEY, 1_000_000), tmp_path)
    text = tombstones_file(tmp_path).read_text(encoding="utf-8")
    assert "ana" not in text
    assert pseudonym_of("ana@example.com", KEY)[:32] not in text
    assert KEY.id in text
    again = read_tombstones(tmp_path)
    assert again.text == text
    assert erased_rows(pl.Series(["ana@example.com"]), again, KEY).to_list() == [True]


def test_gd05_erasing_again_changes_nothing_and_order_does_not_count() -> None:
    once = with_erased(nobody_erased(), ["b", "a"], KEY, 1_000_000)
    assert with_erased(once, ["a", "b", "a"], KEY, 50).text == once.text
    assert with_erased(with_erased(nobody_erased(), ["a"], KEY, 1_000_000), ["b"], KEY, 1_000_000).text == once.text
    more = with_linked(once, ["c"], KEY)
    assert more.people["bits"].to_list() == [10, 10, 10]


def test_gd05_tombstones_outlive_a_change_of_keys() -> None:
    tombstones = with_erased(with_erased(nobody_erased(), ["a"], KEY, 10), ["b"], NEXT, 10)
    ids = pl.Series("id", ["a", "b", "c"])
    assert erased_rows(ids, tombstones, NEXT).to_list() == [True, True, False]
    assert tombstones.keys == tuple(sorted((KEY.id, NEXT.id)))
    with pytest.raises(ConfigError) as caught:
        erased_rows(ids, tombstones, OTHER)
    assert caught.value.code == "key-other"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 2, "people": []}', '{"format": 1, "people": [["a", "x", 0, 0, "h"]]}', "\x00"]
)
def test_gd05_damaged_tombstones_stop_a_run(tmp_path: Path, text: str) -> None:
    tombstones_file(tmp_path).parent.mkdir()
    tombstones_file(tmp_path).write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError) as caught:
        read_tombstones(tmp_path)
    assert caught.value.code == "privacy-state"


def test_gd05_nobody_was_erased(tmp_path: Path) -> None:
    assert not len(read_tombstones(tmp_path))
    assert erased_rows(pl.Series(["a", None]), nobody_erased(), KEY).to_list() == [False, False]
