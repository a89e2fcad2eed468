from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config, Identity
from engine.contacts.duplicates.decisions import Act, write_decisions
from engine.errors import DataError
from engine.exports.export import export_segments
from engine.exports.record import Request
from tests.exports.published import PREMIUM, make, people


def merged(config: Config, *pairs: tuple[str, str]) -> Config:
    write_decisions([Act("merge", pair, date(2026, 1, 1)) for pair in pairs], Path(config.out))
    return config


def exported(config: Config, to: Path) -> list[str]:
    export_segments(config, Request(tool="brevo", to=to, segments=(PREMIUM,)))
    [file] = to.glob("*.csv")
    return [line for line in file.read_text().splitlines()[1:] if line]


@pytest.mark.parametrize("user", [1, "one"])
def test_the_contact_of_a_merged_person_has_what_the_others_have(tmp_path: Path, user: int | str) -> None:
    other = 2 if user == 1 else "two"
    contacts = people({user: None, other: "b@x.org"}, town=["T", "U"])
    config = make(tmp_path, contacts, members={PREMIUM: [user]}, email="mail", attributes={"TOWN": "town"})
    assert exported(config, tmp_path / "before") == []
    assert exported(merged(config, (str(user), str(other))), tmp_path / "after") == ["b@x.org;T"]


def test_who_was_merged_after_the_date_was_published_keeps_the_address(tmp_path: Path) -> None:
    addresses = {1: None, 2: "b@x.org", 3: "c@x.org", 5: "e@x.org"}
    config = make(tmp_path, people(addresses), members={PREMIUM: [1, 3, 5]}, email="mail")
    assert exported(merged(config, ("1", "2"), ("3", "5")), tmp_path / "to") == ["b@x.org", "c@x.org", "e@x.org"]


def test_the_id_that_stays_may_be_that_of_the_identity_table(tmp_path: Path) -> None:
    config = make(tmp_path, people({1: None, 2: "b@x.org"}), members={PREMIUM: [0]}, email="mail")
    pl.DataFrame({"from": [1], "to": [0]}).write_parquet(tmp_path / "links.parquet")
    identity = Identity(path=str(tmp_path / "links.parquet"), anonymous_id="from", user_id="to")
    linked = config.model_copy(update={"identity": identity})
    assert exported(merged(linked, ("1", "2")), tmp_path / "to") == ["b@x.org"]


def test_files_of_contacts_that_differ_in_the_type_of_a_column_are_named_with_it(tmp_path: Path) -> None:
    config = make(tmp_path, people({1: "a@x.org"}), members={PREMIUM: [1, 2]}, email="mail", phone="mobile")
    assert config.contacts is not None
    first, second = tmp_path / "contacts.parquet", tmp_path / "more.parquet"
    contacts = config.contacts.model_copy(update={"path": (str(first), str(second))})
    config = config.model_copy(update={"contacts": contacts})
    people({1: "a@x.org"}, mobile=["0611111111"], note=["n"]).write_parquet(first)
    people({2: "b@x.org"}, mobile=[622222222], note=[7]).write_parquet(second)
    with pytest.raises(DataError) as refused:
        exported(config, tmp_path / "to")
    assert refused.value.code == "contacts-columns"
    assert refused.value.message.splitlines()[1:] == [f"  mobile: int64 in {second}, large_string in {first}"]
