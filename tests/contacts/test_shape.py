from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Contacts
from engine.contacts.shape import cleaning_libraries, contact_schema, differing_columns, supplied_files
from engine.errors import DataError
from engine.events.probe import Footer
from tests.events.logs import write

FRAME = pl.DataFrame(
    {"id": ["1"], "since": pl.Series([None], dtype=pl.Date), "mail": ["a@b.fr"], "tel": [612345678], "age": [3]}
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(pl.DataFrame({"cp": [3], "town": ["x"]}), tmp_path / "geo.parquet")
    return write(FRAME, tmp_path / "contacts.parquet")


def contacts(file: Path, **fields: Any) -> Contacts:
    return Contacts.model_validate({"path": str(file), "user_id": "id", **fields})


def problems(file: Path, **fields: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        contact_schema(contacts(file, **fields))
    assert caught.value.code == "contacts-columns"
    return caught.value.message.splitlines()[1:]


def geo(file: Path, **fields: Any) -> dict[str, Any]:
    return {"name": "geo", "path": str(file.with_name("geo.parquet")), "key": "cp", "on": "age", **fields}


def test_attributes_of_all_kinds_in_order(file: Path) -> None:
    config = contacts(
        file,
        columns=["age"],
        model_columns=["email_valid", "town", "rule_young"],
        valid_from="since",
        cleaning={"email": "mail", "phone": "tel"},
        rules=[
            {"name": "young", "holds": "age < 5 AND NOT email_role", "action": "flag"},
            {"name": "x", "holds": "town = 'a'"},
        ],
        enrich=[geo(file)],
    )
    assert contact_schema(config)[1] == {
        "age": pl.Int64,
        "email_valid": pl.Boolean,
        "email_role": pl.Boolean,
        "email_disposable": pl.Boolean,
        "phone_valid": pl.Boolean,
        "town": pl.String,
        "rule_young": pl.Boolean,
    }


def test_without_a_choice_all_columns_are_attributes_but_the_key_and_the_time(file: Path) -> None:
    config = contacts(file, valid_from="since", cleaning={"phone": "tel"})
    assert contact_schema(config)[1] == {
        "mail": pl.String,
        "tel": pl.String,
        "age": pl.Int64,
        "phone_valid": pl.Boolean,
    }
    assert contact_schema(contacts(file))[1].keys() == {"since", "mail", "tel", "age"}


def test_everything_that_does_not_fit_is_told_at_once(file: Path) -> None:
    assert problems(
        file,
        valid_from="age",
        cleaning={"email": "age", "names": ["nmae"]},
        rules=[{"name": "r", "holds": "agee > 1"}],
        enrich=[geo(file, on="nosuch"), geo(file, key="nosuch")],
    ) == [
        f"  no column 'nmae' in {file}",
        "  age: expected a time or a date, got Int64",
        "  contacts.cleaning.email: expected text in 'age', got Int64",
        "  enrichment 'geo': on: no column 'nosuch'",
        "  enrichment 'geo': no column 'nosuch' in all its files",
        "  enrichment 'geo': its columns are cp (Int64), town (String)",
        "  contacts.enrich: two entries named 'geo'",
        "  contacts.rules.r: no column 'agee' (did you mean 'age'?): agee > 1",
        "  'town' of enrichment 'geo' is of enrichment 'geo' too; rename one of them",
    ]


@pytest.mark.parametrize(
    ("name", "fields", "owner"),
    [
        ("email_valid", {"cleaning": {"email": "mail"}}, "contacts.cleaning"),
        ("rule_r", {"rules": [{"name": "r", "holds": "age > 1", "action": "flag"}]}, "contacts.rules"),
        ("town", {"enrich": ["geo"]}, "enrichment 'geo'"),
    ],
)
def test_names_that_are_there_already(name: str, fields: dict[str, Any], owner: str, file: Path) -> None:
    write(FRAME.with_columns(pl.lit(1).alias(name)), file)
    fields = {"enrich": [geo(file)]} if "enrich" in fields else fields
    assert problems(file, **fields) == [f"  {name!r} of {owner} is a column of the contacts too; rename one of them"]


@pytest.mark.parametrize("prefix", ["user_", "__"])
def test_added_names_that_are_of_tamis_itself(prefix: str, file: Path) -> None:
    write(pl.DataFrame({"cp": [3], "id": ["x"]}), file.with_name("geo.parquet"))
    assert "is a name of tamis itself" in problems(file, enrich=[geo(file, prefix=prefix)])[0]


def test_a_column_that_is_only_cleaned_may_not_be_called_like_the_users_id(file: Path) -> None:
    write(FRAME.rename({"mail": "user_id"}), file)
    assert problems(file, columns=["age"], cleaning={"email": "user_id"}) == [
        "  'user_id' is a name of tamis itself; rename the column that is cleaned, matched or judged"
    ]


def test_files_beside_and_libraries(file: Path) -> None:
    config = contacts(
        file, cleaning={"email": "mail", "role_names": "r.txt", "disposable_domains": ["a", "b"]}, enrich=[geo(file)]
    )
    assert supplied_files(config) == [
        ("contacts.cleaning.role_names", "r.txt"),
        ("contacts.cleaning.disposable_domains", ("a", "b")),
        ("enrichment 'geo'", str(file.with_name("geo.parquet"))),
    ]
    assert [line.partition(" ")[0] for line in cleaning_libraries(config)] == ["email-validator"]
    assert cleaning_libraries(contacts(file)) == cleaning_libraries(None) == []


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("large_string", "string", False),
        ("large_list<element: large_string>", "list<element: string>", False),
        ("string_view", "large_string", False),
        ("string", "binary", True),
        ("int64", "int32", True),
        ("timestamp[us]", "timestamp[ms]", True),
    ],
)
def test_a_type_is_the_same_whichever_program_wrote_the_file(one: str, other: str, *, differ: bool) -> None:
    footers = [Footer(Path(f"{place}"), columns=(("x", dtype),)) for place, dtype in enumerate((one, other))]
    assert bool(differing_columns(footers, ["x"])) == differ
