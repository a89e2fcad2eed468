from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Contacts
from engine.contacts.read import ContactsRecord, ContactsTask, cleaned_contacts, read_contacts
from engine.contacts.shape import contact_schema
from engine.errors import ConfigError, DataError
from engine.events.mapping import stable_hash
from engine.features.windows import day_number
from engine.privacy.ids import IdRules
from engine.privacy.key import KeySource, load_key
from tests.events.logs import NOON, source, write

SOURCE = source("log")


def contacts(path: Path, **fields: Any) -> Contacts:
    return Contacts(path=str(path), user_id="id", **fields)


def read(path: Path, part: Path, **fields: Any) -> tuple[ContactsRecord, pl.DataFrame]:
    record = read_contacts(ContactsTask(contacts(path, **fields), str(part)))
    return record, pl.read_parquet(part)


def refusal(path: Path, **fields: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        contact_schema(contacts(path, **fields))
    return caught.value


def repeats(path: Path) -> str:
    contact_schema(contacts(path))
    with pytest.raises(DataError) as caught:
        read_contacts(ContactsTask(contacts(path), None))
    assert caught.value.code == "contacts-repeated"
    return caught.value.message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame = pl.DataFrame(
        {
            "id": [3, 1, 2, None],
            "region": ["Île", "sud", None, "x"],
            "age": [30, None, 5, 9],
            "vip": [True, None, False, True],
        }
    )
    return write(frame, tmp_path / "contacts.parquet")


def test_one_row_per_user_sorted_by_key(file: Path, tmp_path: Path) -> None:
    record, part = read(file, tmp_path / "part")
    assert record == ContactsRecord(
        rows=4,
        left_out=1,
        attributes=(("region", "String"), ("age", "Int64"), ("vip", "Boolean")),
        part=str(tmp_path / "part"),
    )
    assert part.columns == ["user_key", "user_id", "region", "age", "vip"]
    assert part["user_key"].is_sorted()
    assert part.sort("user_id").drop("user_key").rows() == [
        ("1", "sud", None, None),
        ("2", None, 5, False),
        ("3", "Île", 30, True),
    ]
    # An id has the same key here and in the events, whether it is a number or its text.
    keys = pl.DataFrame({"u": [1, 2, 3]}).select(stable_hash(pl.col("u"))).to_series()
    assert part.sort("user_id")["user_key"].equals(keys, check_names=False)


def test_a_part_is_replaced_whole(file: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    read(file, part)
    inode = part.stat().st_ino
    with part.open("rb"):
        read(file, part)
    assert part.stat().st_ino != inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contacts.parquet", "part"]


def test_chosen_attributes_only(file: Path, tmp_path: Path) -> None:
    _, part = read(file, tmp_path / "part", columns=("vip", "region"), model_columns=("vip",))
    assert part.columns == ["user_key", "user_id", "vip", "region"]


def test_checked_without_a_part(file: Path, tmp_path: Path) -> None:
    assert read_contacts(ContactsTask(contacts(file), None)).part is None
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["a", "b", "", "e\u0301"])])
def test_text_ids_and_ids_that_are_empty(tmp_path: Path, dtype: pl.DataType) -> None:
    ids = pl.Series(["b", "", None, "a", "", "e\u0301"], dtype=dtype)
    file = write(pl.DataFrame({"id": ids, "x": range(6)}), tmp_path / "c.parquet")
    record, part = read(file, tmp_path / "part")
    assert (record.rows, record.left_out) == (6, 3)
    assert sorted(part["user_id"]) == ["a", "b", "e\u0301"]


def test_text_is_composed(tmp_path: Path) -> None:
    values = ["I\u0302le-de-France", "Île-de-France"]
    frame = pl.DataFrame({"id": [1, 2], "plain": values, "category": pl.Series(values, dtype=pl.Categorical)})
    record, part = read(write(frame, tmp_path / "c.parquet"), tmp_path / "part")
    assert dict(record.attributes) == {"plain": "String", "category": "String"}
    assert set(part["plain"]) == set(part["category"]) == {"Île-de-France"}


@pytest.mark.parametrize("ids", [[1, 2, 1, 3, 1], ["a", "b", "a", "c", "a"]])
def test_users_with_several_rows(tmp_path: Path, ids: list[object]) -> None:
    message = repeats(write(pl.DataFrame({"id": ids, "x": range(5)}), tmp_path / "c.parquet"))
    assert message == "contacts: 2 of 5 rows repeat a user; expected one per 'id'"


def test_two_spellings_of_an_id_have_one_pseudonym(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    source = KeySource("", str(key))
    file = write(pl.DataFrame({"id": ["am\u00e9lie", "ame\u0301lie"], "x": [1, 2]}), tmp_path / "c.parquet")
    rules = IdRules(source, load_key(source).id, pseudonyms=True)
    with pytest.raises(DataError) as caught:
        read_contacts(ContactsTask(contacts(file), str(tmp_path / "part"), ids=rules))
    assert caught.value.code == "contacts-repeated"
    assert read_contacts(ContactsTask(contacts(file), str(tmp_path / "part"))).rows == 2


def test_users_that_are_repeated_across_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(pl.DataFrame({"id": [7], "x": [name]}), tmp_path / "c" / f"{name}.parquet")
    assert "1 of 2 rows repeat a user" in repeats(tmp_path / "c")


@pytest.mark.parametrize(
    "ids", [pl.Series([1.0]), pl.Series([NOON]), pl.Series([True]), pl.Series([b"a"]), pl.Series([None])]
)
def test_ids_of_other_types(tmp_path: Path, ids: pl.Series) -> None:
    error = refusal(write(pl.DataFrame({"id": ids}), tmp_path / "c.parquet"))
    assert error.code == "contacts-columns"
    assert f"  id: expected an integer or a string, got {ids.dtype}" in error.message


def test_every_missing_column_is_named(file: Path) -> None:
    with pytest.raises(DataError) as caught:
        contact_schema(Contacts(path=str(file), user_id="Id", columns=("rgion", "age"), model_columns=("vip",)))
    assert caught.value.message.splitlines() == [
        "contacts: the columns do not fit",
        f"  no column 'Id' in {file} (did you mean 'id'?)",
        f"  no column 'rgion' in {file} (did you mean 'region'?)",
        "  model_columns: 'vip' is not among the attributes",
    ]
    assert caught.value.hint == "Columns of the files: id, region, age, vip"


@pytest.mark.parametrize("name", ["user", "user_id", "user_key", "segment", "as_of", "anchor", "label", "__found"])
def test_names_that_would_collide(tmp_path: Path, name: str) -> None:
    file = write(pl.DataFrame({"id": [1], "x": [2], name: [3]}), tmp_path / "c.parquet")
    assert f"  {name!r} is a name of tamis itself" in refusal(file).message
    assert contact_schema(contacts(file, columns=("x",)))[1] == {"x": pl.Int64}


def test_user_id_may_be_called_user_id(tmp_path: Path) -> None:
    file = write(pl.DataFrame({"user_id": [1], "x": [2]}), tmp_path / "c.parquet")
    assert contact_schema(Contacts(path=str(file), user_id="user_id"))[1] == {"x": pl.Int64}


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"id": [2]}, "  no column 'x' in {file}"),
        ({"id": [2], "x": ["a"]}, "  x: large_string in {file}, int64 in "),
        ({"id": ["2"], "x": [3]}, "  id: large_string in {file}, int64 in "),
    ],
)
def test_files_that_differ(tmp_path: Path, second: dict[str, list[object]], problem: str) -> None:
    write(pl.DataFrame({"id": [1], "x": [1]}), tmp_path / "c" / "1.parquet")
    file = write(pl.DataFrame(second), tmp_path / "c" / "2.parquet")
    error = refusal(tmp_path / "c")
    assert error.code == "contacts-columns"
    assert problem.format(file=file).replace("large_", "") in error.message.replace("large_", "")


def test_files_with_more_columns_than_the_first(tmp_path: Path) -> None:
    write(pl.DataFrame({"id": [1], "x": [1]}), tmp_path / "c" / "1.parquet")
    write(pl.DataFrame({"y": [1], "x": [2], "id": [2]}), tmp_path / "c" / "2.parquet")
    record, part = read(tmp_path / "c", tmp_path / "part")
    assert dict(record.attributes) == {"x": "Int64"}
    assert part.sort("user_id").select("user_id", "x").rows() == [("1", 1), ("2", 2)]


@pytest.mark.usefixtures("footers_in_a_child")
def test_files_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(file.read_bytes()[:-9])
    error = refusal(tmp_path)
    assert error.code == "input-unreadable"
    assert f"  {tmp_path / 'broken.parquet'}: it is not a Parquet file, or it is truncated" in error.message
    with pytest.raises(ConfigError, match="'contacts': no Parquet file matches"):
        contact_schema(contacts(tmp_path / "nosuch"))


@pytest.mark.usefixtures("footers_in_a_child")
def test_a_file_that_is_damaged_after_it_was_checked(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(1000), "x": [f"text {number}" for number in range(1000)]})
    file = write(frame, tmp_path / "c.parquet")
    file.write_bytes(b"PAR1" + b"\xff" * 400 + file.read_bytes()[404:])
    with pytest.raises(DataError) as caught:
        read(file, tmp_path / "part")
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message
    assert not (tmp_path / "part").exists()


def full(path: Path, **fields: Any) -> Contacts:
    return Contacts.model_validate({"path": str(path), "user_id": "id", **fields})


def rows_of(config: Contacts, part: Path, **task: Any) -> tuple[ContactsRecord, list[tuple[Any, ...]]]:
    contact_schema(config)
    record = read_contacts(ContactsTask(config, str(part), **task))
    return record, pl.read_parquet(part).drop("user_key").sort("user_id", maintain_order=True).rows()


def test_a_history_is_kept_by_day(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 1, 1, 2, 1, 2, None],
            "since": [
                datetime(2026, 1, 1, 23),
                datetime(2026, 1, 1, 8),
                datetime(2026, 3, 1),
                None,
                datetime(2026, 2, 1),
                datetime(2026, 2, 2),
                None,
            ],
            "tier": ["b", "a", "future", "first", "c", "second", "x"],
        }
    )
    config = full(write(frame, tmp_path / "c.parquet"), valid_from="since")
    record, rows = rows_of(config, tmp_path / "part", timezone="Europe/Paris", before=day_number(date(2026, 3, 1)))
    assert (record.rows, record.left_out, record.later) == (7, 1, 1)
    first = day_number(date(2026, 1, 2))
    assert rows == [
        ("1", first, "b"),
        ("1", first + 31, "c"),
        ("2", -(2**31), "first"),
        ("2", first + 32, "second"),
    ]


def test_two_rows_of_one_instant(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 1, 2, 2], "since": [date(2026, 1, 1)] * 3 + [None], "x": range(4)})
    config = full(write(frame, tmp_path / "c.parquet"), valid_from="since")
    with pytest.raises(DataError) as caught:
        read_contacts(ContactsTask(config, None))
    assert caught.value.code == "contacts-repeated"
    assert caught.value.message == "contacts: 1 of 4 rows repeat a user and a 'since'; expected one of each"


def test_rows_that_a_rule_leaves_out_are_listed(tmp_path: Path) -> None:
    for name, ages in (("a", [3, 99]), ("b", [200, 4])):
        frame = pl.DataFrame({"id": [f"{name}{age}" for age in ages], "age": ages, "secret": ["s", "t"]})
        write(frame, tmp_path / "c" / f"{name}.parquet")
    rules = [{"name": "alive", "holds": "age < 90 AND secret < 'z'", "action": "quarantine"}]
    config = full(tmp_path / "c", rules=rules, columns=["age"])
    record, rows = rows_of(config, tmp_path / "part", rejects=str(tmp_path / "rejects"))
    assert rows == [("a3", 3), ("b4", 4)]
    assert (record.quarantined, record.broken, record.rejects) == (2, {"alive": 2}, str(tmp_path / "rejects"))
    assert pl.read_parquet(tmp_path / "rejects").rows() == [
        ("contacts", str(tmp_path / "c" / "a.parquet"), 1, "alive", f"expected {rules[0]['holds']}"),
        ("contacts", str(tmp_path / "c" / "b.parquet"), 0, "alive", f"expected {rules[0]['holds']}"),
    ]


@pytest.mark.slow
def test_columns_that_are_only_looked_at_are_no_attributes(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1], "mail": [" A@B.fr"], "zip": ["75001"], "age": [4], "tier": ["x"]})
    write(pl.DataFrame({"cp": [75001], "town": ["Paris"]}), tmp_path / "geo.parquet")
    config = full(
        write(frame, tmp_path / "c.parquet"),
        columns=["tier"],
        cleaning={"email": "mail"},
        rules=[{"name": "old", "holds": "age > 18", "action": "flag"}],
        enrich=[{"name": "geo", "path": str(tmp_path / "geo.parquet"), "key": "cp", "on": "zip"}],
    )
    record, rows = rows_of(config, tmp_path / "part")
    assert rows == [("1", "x", True, False, False, "Paris", True)]
    assert [name for name, _ in record.attributes] == list(contact_schema(config)[1])
    assert [(one.name, one.matched) for one in record.enriched] == [("geo", 1)]
    whole = Config.model_validate({"sources": [SOURCE], "contacts": config, "out": str(tmp_path / "out")})
    assert cleaned_contacts(whole, None, ("mail",)).select("user_id", "mail", "town").rows() == [
        ("1", "A@b.fr", "Paris")
    ]


def test_cleaned_contacts_of_a_day(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["b", "a", "b"], "since": [date(2026, 1, 1), date(2026, 2, 1), date(2026, 2, 1)]})
    frame = frame.with_columns(x=pl.Series([1, 2, 3]))
    config = full(write(frame, tmp_path / "c.parquet"), valid_from="since")
    whole = Config.model_validate({"sources": [SOURCE], "contacts": config, "out": str(tmp_path / "out")})
    assert cleaned_contacts(whole, date(2026, 1, 1)).rows() == []
    assert cleaned_contacts(whole, date(2026, 2, 1)).rows() == [("b", 1)]
    assert cleaned_contacts(whole, date(2026, 2, 2)).rows() == [("a", 2), ("b", 3)]
    assert cleaned_contacts(whole).rows() == [("a", 2), ("b", 3)]


@pytest.mark.usefixtures("footers_in_a_child")
def test_text_that_is_not_utf8_is_told_without_what_it_is(tmp_path: Path) -> None:
    raw = pl.DataFrame({"id": [1, 2, 3], "mail": [b"anna@b.fr", b"caf\xe9@b.fr", None]})
    config = full(write(raw, tmp_path / "c.parquet"), cleaning={"email": "mail"})
    record, rows = rows_of(config, tmp_path / "part")
    assert [row[1:3] for row in rows] == [("anna@b.fr", True), ("caf\ufffd@b.fr", False), (None, None)]
    assert record.cleaned["email_broken"] == 1
    text = tmp_path / "t.parquet"
    mails = pl.DataFrame({"id": [1, 2], "mail": ["anna@b.fr", "zzzzzz@b.fr"]})
    mails.write_parquet(text, compression="uncompressed", statistics=False)
    text.write_bytes(text.read_bytes().replace(b"zzzzzz@b.fr", b"caf\xe9\xe9\xe9@b.fr"))
    with pytest.raises(DataError) as caught:
        read_contacts(ContactsTask(full(text, cleaning={"email": "mail"}), None))
    assert caught.value.code == "input-unreadable"
    assert str(text) in caught.value.message
    assert "caf" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([5, 6], "  contacts.cleaning.email: expected text in 'mail', got Int64"),
        ([["a"], ["b"]], "  contacts.cleaning.email: expected text in 'mail', got List(String)"),
    ],
)
def test_addresses_that_are_no_text(values: list[object], problem: str, tmp_path: Path) -> None:
    write(pl.DataFrame({"id": [1, 2], "mail": values}), tmp_path / "c" / "1.parquet")
    with pytest.raises(DataError) as caught:
        contact_schema(full(tmp_path / "c", cleaning={"email": "mail"}))
    assert problem in caught.value.message
    write(pl.DataFrame({"id": [3], "mail": ["a@b.fr"]}), tmp_path / "c" / "0.parquet")
    with pytest.raises(DataError) as caught:
        contact_schema(full(tmp_path / "c", cleaning={"email": "mail"}))
    assert f"{tmp_path / 'c' / '1.parquet'}" in caught.value.message


def test_a_condition_that_fails_on_a_value_does_not_show_it(tmp_path: Path) -> None:
    file = write(pl.DataFrame({"id": [1], "name": ["Anna Lee"]}), tmp_path / "c.parquet")
    config = full(file, rules=[{"name": "r", "holds": "CAST(name AS BIGINT) > 5"}])
    contact_schema(config)
    with pytest.raises(DataError) as caught:
        read_contacts(ContactsTask(config, None))
    assert caught.value.code == "events-values"
    assert caught.value.message.startswith("contacts: contacts.rules: InvalidOperationError")
    assert "Anna" not in str(caught.value)
