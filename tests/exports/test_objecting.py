from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Identity
from engine.config_consent import Consent
from engine.config_contacts import Cleaning, RowRule
from engine.config_exports import CsvExport, Ga4Export
from engine.config_privacy import Privacy
from engine.exports.export import export_segments
from engine.exports.plan import Tool
from engine.exports.record import Request, UnitRecord
from engine.privacy.key import key_source, load_key
from engine.privacy.pseudonyms import pseudonym_of
from engine.privacy.suppress import add_people
from engine.privacy.tombstones import nobody_erased, with_erased, write_tombstones
from tests.consent.logs import frame, saved
from tests.exports.published import AS_OF, PREMIUM, make, people

DAY = date(2026, 2, 1)
MAILS = {1: "a@x.org", 2: "b@x.org", 3: "A@x.org ", 9: "b@X.org"}
"""1 and 3 share an address, and so do 2 and 9, who is in no table."""
PHONES = ["+33 6 11 11 11 11", "0622222222", "0033611111111", "06 22 22 22 22"]


def config(folder: Path, mails: Mapping[int, str] = MAILS, **exports: Any) -> Config:
    contacts = people(mails, mobile=[*PHONES, *["0699999999"] * len(mails)][: len(mails)])
    made = make(folder, contacts, members={PREMIUM: [1, 2, 3]}, email="mail", phone="mobile", **exports)
    (folder / "key").write_text("0f" * 32, encoding="utf-8")
    (folder / "key").chmod(0o600)
    return made.model_copy(update={"privacy": Privacy(key_file=str(folder / "key"))})


def unit(made: Config, to: Path, tool: Tool = "brevo", **request: Any) -> tuple[UnitRecord, list[str]]:
    [found] = export_segments(made, Request(tool=tool, to=to, segments=(PREMIUM,), **request)).units
    [file] = to.glob("*.csv")
    assert found.users == found.written + sum(found.left_out.values())
    return found, file.read_text().splitlines()[1:]


def object_to(made: Config, *values: str) -> None:
    add_people(made, pl.Series("id", values, pl.String), DAY)


@pytest.mark.parametrize("how", ["list", "kept", "configured"])
@pytest.mark.parametrize(
    ("who", "written", "own", "shared"),
    [("3", ["b@x.org"], 1, 1), ("9", ["a@x.org"], 0, 1), ("8", ["a@x.org", "b@x.org"], 0, 0)],
)
def test_gd08_an_address_of_somebody_who_objects_by_the_id_is_nobodys_to_be_written_to(
    tmp_path: Path, how: str, who: str, written: list[str], own: int, shared: int
) -> None:
    made = config(tmp_path)
    (tmp_path / "no.txt").write_text(who, encoding="utf-8")
    lists: dict[str, Any] = {}
    if how == "kept":
        object_to(made, who)
    elif how == "list":
        lists = {"suppress": (tmp_path / "no.txt",)}
    else:
        privacy = made.privacy.model_copy(update={"opposed": (str(tmp_path / "no.txt"),)})
        made = made.model_copy(update={"privacy": privacy})
    found, lines = unit(made, tmp_path / "to", **lists)
    assert [line.split(";")[0] for line in lines] == written
    assert (found.left_out["suppressed"], found.left_out["address_suppressed"]) == (own, shared)


def test_gd08_an_id_that_is_linked_to_one_who_objects_is_the_same_person(tmp_path: Path) -> None:
    made = config(tmp_path)
    pl.DataFrame({"cookie": [7, 9], "user": [1, 1]}).write_parquet(tmp_path / "links.parquet")
    identity = Identity(path=str(tmp_path / "links.parquet"), anonymous_id="cookie", user_id="user")
    object_to(made, "7")
    found, lines = unit(made.model_copy(update={"identity": identity}), tmp_path / "to")
    # 7 is 1, who is 9 as well, whose address 2 has.
    assert lines == []
    assert (found.left_out["suppressed"], found.left_out["address_suppressed"]) == (1, 2)


@pytest.mark.parametrize("cleaned", [False, True])
def test_gd05_an_address_of_somebody_erased_is_not_written_while_the_contacts_have_it(
    tmp_path: Path, *, cleaned: bool
) -> None:
    made = config(tmp_path)
    write_tombstones(with_erased(nobody_erased(), ["9"], load_key(key_source(made)), 3), Path(made.out))
    if cleaned:
        assert made.contacts is not None
        cleaning = Cleaning(email="mail", phone="mobile", phone_region="FR")
        made = made.model_copy(update={"contacts": made.contacts.model_copy(update={"cleaning": cleaning})})
    found, lines = unit(made, tmp_path / "to")
    assert [line.split(";")[0] for line in lines] == ["a@x.org"]
    assert found.left_out["address_suppressed"] == 1
    people({1: "a@x.org", 2: "b@x.org", 3: "c@x.org"}, mobile=PHONES[:3]).write_parquet(tmp_path / "contacts.parquet")
    found, lines = unit(made, tmp_path / "later")
    assert found.written == 3


@pytest.mark.parametrize("pseudonyms", [False, True])
def test_gd08_it_holds_under_pseudonyms_and_for_contacts_that_a_rule_leaves_out(
    tmp_path: Path, *, pseudonyms: bool
) -> None:
    made = config(tmp_path)
    if pseudonyms:
        key = load_key(key_source(made))
        names = {number: pseudonym_of(str(number), key) for number in (1, 2, 3)}
        made = make(tmp_path / "p", None, members={PREMIUM: [*names.values()]}, email="mail").model_copy(
            update={
                "contacts": made.contacts,
                "privacy": made.privacy.model_copy(update={"pseudonyms": True}),
            }
        )
    assert made.contacts is not None
    rules = (RowRule(name="odd", holds="mobile <> '06 22 22 22 22'", action="quarantine"),)
    object_to(made, "9")
    for place, contacts in enumerate((made.contacts, made.contacts.model_copy(update={"rules": rules}))):
        found, lines = unit(made.model_copy(update={"contacts": contacts}), tmp_path / f"to{place}")
        assert [line.split(";")[0] for line in lines] == ["a@x.org"]
        assert found.left_out["address_suppressed"] == 1


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_gd08_who_objects_by_a_telephone_number_is_not_written(tmp_path: Path, *, cleaned: bool, kept: bool) -> None:
    made = config(tmp_path)
    if cleaned:
        assert made.contacts is not None
        cleaning = Cleaning(phone="mobile", phone_region="FR")
        made = made.model_copy(update={"contacts": made.contacts.model_copy(update={"cleaning": cleaning})})
    # The contacts have it without the country: as E.164 it is known all the same.
    number = "+33 6 22 22 22 22" if cleaned else "06.22.22.22.22"
    (tmp_path / "no.txt").write_text(number, encoding="utf-8")
    if kept:
        add_people(made, pl.Series("id", [number], pl.String), DAY)
    found, lines = unit(made, tmp_path / "to", suppress=() if kept else (tmp_path / "no.txt",))
    assert [line.split(";")[0] for line in lines] == ["a@x.org"]
    assert (found.left_out["suppressed"], found.left_out["address_suppressed"]) == (1, 0)


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("why", ["objects", "erased", "withdrawn"])
def test_gd08_a_number_of_somebody_who_objects_is_left_empty(tmp_path: Path, why: str, *, cleaned: bool) -> None:
    made = config(tmp_path, {1: "a@x.org", 2: "b@x.org", 3: "c@x.org", 9: "d@x.org"})
    if why == "objects":
        object_to(made, "9")
    elif why == "erased":
        write_tombstones(with_erased(nobody_erased(), ["9"], load_key(key_source(made)), 3), Path(made.out))
    else:
        before = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC) - timedelta(hours=1)
        rows: list[Any] = [(user, p, "granted", before) for user in (1, 2, 3) for p in ("profiling", "email_marketing")]
        log = saved(frame([*rows, (9, "email_marketing", "withdrawn", before)], pl.Int64()), tmp_path / "c.parquet")
        made = made.model_copy(update={"consent": Consent(path=str(log))})
    if cleaned:
        assert made.contacts is not None
        cleaning = Cleaning(email="mail", phone="mobile", phone_region="FR")
        made = made.model_copy(update={"contacts": made.contacts.model_copy(update={"cleaning": cleaning})})
    found, lines = unit(made, tmp_path / "to")
    assert lines[1] == "b@x.org;"
    assert all(line.split(";")[1] for line in (lines[0], lines[2]))
    assert found.written == 3
    assert found.emptied == {"SMS": 1}


def test_gd08_ga4_and_tables_by_id(tmp_path: Path) -> None:
    contacts = people(MAILS, mobile=PHONES, browser=["one", "two", "three", "one"])
    by_browser = Ga4Export(client_id="browser", stream_id="1", properties={"day": "as_of"})
    made = make(tmp_path, contacts, members={PREMIUM: [1, 2, 3]}, email="mail", phone="mobile", ga4=by_browser)
    made = made.model_copy(update={"privacy": Privacy(key_file=str(config(tmp_path).privacy.key_file))})
    contacts.write_parquet(tmp_path / "contacts.parquet")
    object_to(made, "9")
    found, lines = unit(made, tmp_path / "ga4", "ga4")
    assert [line.split(",")[0] for line in lines] == ["two", "three"]
    assert found.left_out["address_suppressed"] == 1
    by_id = made.exports.model_copy(update={"email": None, "csv": CsvExport(columns={"who": "user_id", "T": "mobile"})})
    found, lines = unit(made.model_copy(update={"exports": by_id}), tmp_path / "csv", "csv")
    assert lines == ["1,'+33 6 11 11 11 11", "2,", "3,0033611111111"]
    assert (found.written, found.emptied) == (3, {"T": 1})


def test_numbers_are_compared_by_their_digits() -> None:
    from engine.exports.objecting import compared_phone

    texts = pl.DataFrame({"n": ["+33 6-11", "0033611", "33611", "0611", "", "none", None]})
    assert texts.select(compared_phone(pl.col("n")))["n"].to_list() == ["33611"] * 3 + ["0611", None, None, None]


def test_gd05_addresses_of_bytes_that_are_no_utf8_stop_neither_an_export_nor_an_erasure(tmp_path: Path) -> None:
    from engine.erasure.resolve import find_people

    made = config(tmp_path)
    mails = [b"a@x.org", b"b@x.org", b"caf\xe9@x.org", b"B@x.org"]
    contacts = pl.DataFrame({"client": [1, 2, 3, 9], "mail": pl.Series(mails, dtype=pl.Binary), "mobile": PHONES})
    contacts.write_parquet(tmp_path / "contacts.parquet")
    assert made.contacts is not None
    cleaning = Cleaning(email="mail")
    made = made.model_copy(update={"contacts": made.contacts.model_copy(update={"cleaning": cleaning})})
    write_tombstones(with_erased(nobody_erased(), ["9"], load_key(key_source(made)), 3), Path(made.out))
    found, lines = unit(made, tmp_path / "to")
    assert [line.split(";")[0] for line in lines] == ["a@x.org"]
    assert (found.left_out["address_suppressed"], found.left_out["invalid_address"]) == (1, 1)
    own = find_people(made, ["1"])[0]
    assert "a@x.org" in own.addresses
