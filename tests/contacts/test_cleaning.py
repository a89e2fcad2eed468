from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config_contacts import Cleaning
from engine.contacts.cleaning import Lists, clean, clean_key, cleaning_problems, flags_of, read_lists
from engine.contacts.emails import ROLES
from engine.errors import ConfigError

BOTH = Cleaning(email="mail", phone="tel", names=("first", "last"))
ROWS = pl.DataFrame(
    {
        "mail": [" Anna@Example.com", "info@thrown.com", "broken", None, "x\ufffd@a.fr"],
        "tel": ["06 12 34 56 78", "nope", None, "+1 555 555 5555", "\ufffd"],
        "first": [" Jean  Paul", "\u00a0", None, "é", "x"],
        "last": ["a"] * 5,
        "other": ["  kept  "] * 5,
    }
)
LISTS = Lists(frozenset(ROLES), frozenset({"thrown.com"}))


def test_dq04_dq05_columns_are_cleaned_flagged_and_counted() -> None:
    done, counts = clean(ROWS, BOTH, LISTS)
    assert flags_of(BOTH) == ("email_valid", "email_role", "email_disposable", "phone_valid")
    assert done["mail"].to_list() == ["Anna@example.com", "info@thrown.com", "broken", None, "x\ufffd@a.fr"]
    assert done["tel"].to_list() == ["+33612345678", "nope", None, "+15555555555", "\ufffd"]
    assert done["first"].to_list() == ["Jean Paul", None, None, "é", "x"]
    assert done["other"].to_list() == ["  kept  "] * 5
    assert done["email_valid"].to_list() == [True, True, False, None, False]
    assert done["email_role"].to_list() == [False, True, None, None, None]
    assert done["email_disposable"].to_list() == [False, True, None, None, None]
    assert done["phone_valid"].to_list() == [True, False, None, False, False]
    assert counts == {
        "email_invalid": 2,
        "email_role": 1,
        "email_disposable": 1,
        "email_broken": 1,
        "phone_invalid": 3,
        "phone_broken": 1,
    }


def test_what_cannot_be_right_can_become_null() -> None:
    done, counts = clean(ROWS, BOTH.model_copy(update={"invalid": "null"}), LISTS)
    assert done["mail"].to_list() == ["Anna@example.com", "info@thrown.com", None, None, None]
    assert done["tel"].to_list() == ["+33612345678", None, None, None, None]
    assert done["email_valid"].to_list() == [True, True, False, None, False]
    assert counts["email_invalid"] == 2


def test_nothing_asked_nothing_done() -> None:
    done, counts = clean(ROWS, Cleaning(), read_lists(Cleaning()))
    assert done.equals(ROWS)
    assert (counts, flags_of(Cleaning())) == ({}, ())


def test_many_contacts_at_one_address() -> None:
    rows = pl.DataFrame({"mail": ["Desk@Shop.FR"]}).select(pl.col("mail").repeat_by(1_000_000).explode())
    done, counts = clean(rows, Cleaning(email="mail"), LISTS)
    assert done.height == 1_000_000
    assert done["mail"].unique().to_list() == ["Desk@shop.fr"]
    assert counts["email_invalid"] == 0


@pytest.mark.parametrize(
    ("cleaned", "key"), [("mail", " a@B.com"), ("tel", "0612345678"), ("first", " a@B.com"), ("other", " a@B.com")]
)
def test_keys_of_other_tables_are_cleaned_alike(cleaned: str, key: str) -> None:
    expected = {"mail": "a@b.com", "tel": "+33612345678", "first": "a@B.com", "other": " a@B.com"}[cleaned]
    assert clean_key(pl.DataFrame({"k": [key]}), "k", cleaned, BOTH)["k"].to_list() == [expected]


@pytest.mark.parametrize(
    ("schema", "problems"),
    [
        ({"mail": pl.String(), "tel": pl.Int64(), "first": pl.Categorical(), "last": pl.Binary()}, []),
        ({"mail": pl.Int64()}, ["  contacts.cleaning.email: expected text in 'mail', got Int64"]),
        ({"tel": pl.Float64()}, ["  contacts.cleaning.phone: expected text or a whole number in 'tel', got Float64"]),
        ({"last": pl.List(pl.String)}, ["  contacts.cleaning.names: expected text in 'last', got List(String)"]),
    ],
)
def test_types_that_cannot_be_cleaned(schema: dict[str, pl.DataType], problems: list[str]) -> None:
    assert cleaning_problems(BOTH, schema) == problems


def test_a_column_is_one_thing() -> None:
    assert cleaning_problems(Cleaning(email="a", names=("a",)), {"a": pl.String()}) == [
        "  contacts.cleaning: 'a' cannot be two of email, phone and names"
    ]


@pytest.mark.parametrize(("module", "key"), [("email_validator", "email"), ("phonenumbers", "phone")])
def test_libraries_that_are_not_installed(module: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    settings: dict[str, Any] = {key: "a"}
    with pytest.raises(ConfigError) as caught:
        cleaning_problems(Cleaning(**settings), {"a": pl.String()})
    assert caught.value.code == "contacts-extra-missing"
    assert "pip install 'tamis[contacts]'" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="is not installed"):
        clean(pl.DataFrame({"a": ["x"]}), Cleaning(**settings), LISTS)


def test_supplied_lists(tmp_path: Path) -> None:
    roles, thrown = tmp_path / "roles.txt", tmp_path / "thrown.txt"
    roles.write_text("\ufeff# roles\n\nBoss\r\n  Desk \n", encoding="utf-8")
    thrown.write_text("@Thrown.com\n*.exämple.de\nxn--p1ai.\n", encoding="utf-8")
    lists = read_lists(Cleaning(email="a", role_names=str(roles), disposable_domains=(str(thrown),)))
    assert lists == Lists(frozenset({"boss", "desk"}), frozenset({"thrown.com", "xn--exmple-cua.de", "xn--p1ai"}))
    assert read_lists(Cleaning(email="a")) == Lists(frozenset(ROLES), frozenset())


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    bad = tmp_path / "roles.txt"
    bad.write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read_lists(Cleaning(email="a", role_names=str(bad)))
    assert caught.value.code == "contacts-list"
    assert caught.value.message == f"contacts.cleaning.role_names: cannot read\n  {bad}: it is not UTF-8"
    with pytest.raises(ConfigError, match="matches"):
        read_lists(Cleaning(email="a", role_names=str(tmp_path / "none.txt")))
