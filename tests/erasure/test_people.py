from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.erasure.people import GONE, People
from engine.erasure.proof import holds
from engine.erasure.tables import erase_in_tables
from engine.tables import disk, effects
from engine.tables.rows import keep_rows


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("user-1", True),
        ("'user-1'", True),
        ("of user-1.", True),
        ("USER-1", True),
        ("user-10", False),
        ("a-user-1", False),
        ("xuser-1", False),
        ("user-1.fr", False),
        ("user-1@example.org", False),
        ("\x06\x00\x00\x00user-1\x07\x00\x00\x00", True),
    ],
)
def test_a_name_is_a_word_of_its_own(text: str, is_named: bool) -> None:
    people = People(("user-1",))
    assert people.are_in(text.encode()) is is_named
    assert bool(people.named_in(pl.Series([text, None, "nobody"]))) is is_named


@pytest.mark.parametrize(("name", "is_found"), [("zoë annabelle", True), ("zoë belle", False)])
def test_names_are_found_in_rows_that_wait_to_be_published(name: str, *, is_found: bool, tmp_path: Path) -> None:
    file = tmp_path / "00000.arrow"
    keep_rows(pl.DataFrame({"user_id": [1, 2, 3], "name": ["another person", name, "zoë who is another"]}), file)
    # One text runs into the next there: they are told apart as cells, not as bytes.
    assert holds(file, People(("zoë annabelle",))) is is_found


@pytest.mark.parametrize(
    ("name", "can_be_told"), [("anna", False), ("annas", True), ("12345678", False), ("123456789", True)]
)
def test_short_names_cannot_be_told_from_other_text(name: str, can_be_told: bool) -> None:
    assert People((name,)).needles == ((name,) if can_be_told else ())
    assert People((name,)).named_in(pl.Series([name])) == ([name] if can_be_told else [])


def test_names_leave_a_record() -> None:
    people = People(("user-1",), addresses=("a@example.org",))
    record = {"warnings": ["no user-1 here", "user-10"], "n": 1, "user-1": [("x", "A@example.org")]}
    assert people.without(record) == {"warnings": [f"no {GONE} here", "user-10"], "n": 1, GONE: [["x", GONE]]}


def test_people_are_not_printed() -> None:
    people = People(("user-1",), ("clear-1",), ("a@example.org",))
    assert "1" not in repr(people).replace("<People 1>", "")


def test_ids_have_the_type_of_the_tables() -> None:
    assert People(("7", "x", "-3"), user_dtype="Int64").values.to_list() == [-3, 7]
    assert People(("7", "x"), user_dtype="String").values.to_list() == ["7", "x"]


def test_a_file_is_shared_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"content")
    disk.share(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == (tmp_path / "a").stat().st_ino
    monkeypatch.setattr(effects, "link", lambda *_: False)
    disk.share(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"content"
    assert (tmp_path / "c").stat().st_ino != (tmp_path / "a").stat().st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_erasing_is_of_dates_that_are_published(tmp_path: Path) -> None:
    from engine.config import Config, Source
    from engine.erasure.held import Place, Removed
    from engine.erasure.journal import Journal, Work

    columns = {"user_id": "u", "event_type": "t", "event_time": "at"}
    source = Source.model_validate({"name": "log", "path": "log", "columns": columns})
    people = People(("user-1",))
    place = Place(Config(out=str(tmp_path), sources=(source,)), people)
    assert erase_in_tables(place, Journal(tmp_path, Work("name", "why", 1, people))) == Removed()


def test_thousands_of_people_are_looked_for_at_once() -> None:
    from time import perf_counter

    ids = [f"{number:x}-{number % 977}@example.org" for number in range(5_000)]
    people = People(("x",), addresses=tuple(ids))
    others = [f"{number:x}-{number % 977}@example.org.uk" for number in range(3_000)]
    started = perf_counter()
    assert not people.are_in(b"some other words\x00" * 100_000 + "\n".join(others[:300]).encode())
    assert people.named_in(pl.Series([*others[:300], f"of {ids[7]}"])) == [f"of {ids[7]}"]
    record = {"warnings": [f"figure {number} is high" for number in range(3_000)]}
    assert people.without(record) == record
    assert perf_counter() - started < 3
