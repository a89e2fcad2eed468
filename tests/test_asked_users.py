from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.asked_users import as_stored, asked_users
from engine.errors import ConfigError


def test_ids_of_the_command_line_and_a_file_each_once_in_order(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes("\ufeffc\r\n\r\n b \na\n".encode())
    assert asked_users(["a", " a", "d"], file) == ("a", "d", "c", "b")


@pytest.mark.parametrize(
    ("columns", "ids"),
    [
        ({"user_id": [3, None, 1]}, ("3", "1")),
        ({"user_id": ["x", "Évry"], "other": [1, 2]}, ("x", "Évry")),
        ({"customer": ["x"]}, ("x",)),
    ],
)
def test_ids_of_a_parquet_file(tmp_path: Path, columns: dict[str, list[object]], ids: tuple[str, ...]) -> None:
    file = tmp_path / "ids.parquet"
    pl.DataFrame(columns).write_parquet(file)
    assert asked_users((), file) == ids


@pytest.mark.parametrize(
    "text",
    ["user_id\n3\n1\n", 'name;"user_id"\r\n"A;B";3\r\nC;\r\nD;1\r\n', "\ufeffuser_id\tx\n3\t0\n1\t0\n", "3\n1\n"],
)
def test_ids_of_a_csv_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ids.csv"
    file.write_text(text, encoding="utf-8")
    assert asked_users((), file) == ("3", "1")


def test_a_csv_file_without_ids_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("id,name\n1,A\n")
    with pytest.raises(ConfigError, match="expected a column 'user_id' of text or whole numbers, got id,name"):
        asked_users((), file)


@pytest.mark.parametrize(
    "columns", [{"a": ["x"], "b": ["y"]}, {"user_id": [1.5]}, {"user_id": [True]}], ids=["two", "float", "boolean"]
)
def test_a_parquet_file_without_ids_is_refused(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    file = tmp_path / "ids.parquet"
    pl.DataFrame(columns).write_parquet(file)
    with pytest.raises(ConfigError, match="expected a column 'user_id'") as caught:
        asked_users((), file)
    assert caught.value.code == "users-unreadable"


@pytest.mark.parametrize(
    ("name", "content"), [("ids.txt", b"\xff\xfe\x00"), ("ids.parquet", b"PAR1 no parquet"), ("folder", None)]
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    file = tmp_path / name
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read the ids") as caught:
        asked_users((), file)
    assert caught.value.code == "users-unreadable"
    assert str(file) in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        asked_users(("1",), tmp_path / "gone.txt")


def test_no_id_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("\n \n")
    for given in (None, file):
        with pytest.raises(ConfigError, match="got none") as caught:
            asked_users((" ",), given)
        assert caught.value.code == "users-missing"


@pytest.mark.parametrize(
    ("dtype", "known"),
    [
        ("String", {text: text for text in ("7", "-1", "07", "x", "9223372036854775808", "1.0")}),
        ("Int64", {"7": 7, "-1": -1, "07": 7}),
    ],
)
def test_ids_in_the_type_of_the_log(dtype: str, known: dict[str, object]) -> None:
    assert as_stored(("7", "-1", "07", "x", "9223372036854775808", "1.0"), dtype) == known
