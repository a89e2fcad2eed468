from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Contacts
from engine.errors import ConfigError, DataError
from engine.events.contacts import ContactsRecord, ContactsTask, contact_schema, read_contacts
from engine.events.mapping import stable_hash
from tests.events.logs import NOON, write

FOOTERS_IN_A_CHILD = True


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


def test_files_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(file.read_bytes()[:-9])
    error = refusal(tmp_path)
    assert error.code == "input-unreadable"
    assert f"  {tmp_path / 'broken.parquet'}: it is not a Parquet file, or it is truncated" in error.message
    with pytest.raises(ConfigError, match="'contacts': no Parquet file matches"):
        contact_schema(contacts(tmp_path / "nosuch"))


def test_a_file_that_is_damaged_after_it_was_checked(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(1000), "x": [f"text {number}" for number in range(1000)]})
    file = write(frame, tmp_path / "c.parquet")
    file.write_bytes(b"PAR1" + b"\xff" * 400 + file.read_bytes()[404:])
    with pytest.raises(DataError) as caught:
        read(file, tmp_path / "part")
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message
    assert not (tmp_path / "part").exists()
