from __future__ import annotations

import csv
import io
import json
import stat
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Config
from engine.config_exports import CsvExport, Exports
from engine.errors import ConfigError, DataError, IntegrityError
from engine.exports import export as export_module
from engine.exports.export import export_segments
from engine.exports.record import ExportRecord, Request
from tests.exports.published import ASLEEP, PREMIUM, make, people

STEM = "%C3%89t%C3%A9%20%26%20Co-2026-01-31"
NAMES = ["Zoë", 'a "b"; c', "x,y\nz", "=1+1", "\u202bשבת\u202c", "é" * 150, None, " "]
USERS = list(range(1, len(NAMES) + 1))
ADDRESSES = dict(zip(USERS, [f"u{user}@example.org" for user in USERS], strict=True))


def run(config: Config, to: Path, tool: str = "brevo", **others: Any) -> ExportRecord:
    rows = others.pop("rows_per_range", 200_000)
    request = Request(tool=tool, to=to, segments=others.pop("segments", (PREMIUM,)), **others)  # type: ignore[arg-type]
    return export_segments(config, request, rows_per_range=rows)


def content(folder: Path, name: str = f"{STEM}.csv") -> str:
    return (folder / name).read_bytes().decode()


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return make(
        tmp_path_factory.mktemp("awkward"),
        people(ADDRESSES, prenom=NAMES, tel=["+3312"] * 8),
        members={PREMIUM: USERS, ASLEEP: [2]},
        features={
            "spend": [0.5, 1e-7, 12345.678, -3.0, float("nan"), None, 1e16, 1.0],
            "orders": [1, 2, None, -4, 5, 6, 7, 8],
            "is_vip": [True, False, None, True, True, True, True, True],
            "last_on": [date(2026, 1, 2)] + [None] * 7,
        },
        email="mail",
        first_name="prenom",
        phone="tel",
        attributes={"spend": "spend", "ORDERS": "orders", "VIP": "is_vip", "LAST": "last_on", "SEGMENT": "segment"},
        ga4={"properties": {"p_p_prediction": "propensity_purchase"}},
    )


def test_brevo(awkward: Config, tmp_path: Path) -> None:
    run(awkward, tmp_path / "to")
    assert content(tmp_path / "to") == (
        "EMAIL;FIRSTNAME;SMS;SPEND;ORDERS;VIP;LAST;SEGMENT\n"
        f"u1@example.org;Zoë;+3312;0.5;1;true;2026-01-02;{PREMIUM}\n"
        f'u2@example.org;"a ""b""; c";+3312;0;2;false;;{PREMIUM}\n'
        f'u3@example.org;"x,y\nz";+3312;12345.678;;;;{PREMIUM}\n'
        f"u4@example.org;=1+1;+3312;-3;-4;true;;{PREMIUM}\n"
        f"u5@example.org;\u202bשבת\u202c;+3312;;5;true;;{PREMIUM}\n"
        f"u6@example.org;{'é' * 150};+3312;;6;true;;{PREMIUM}\n"
        f"u7@example.org;;+3312;10000000000000000;7;true;;{PREMIUM}\n"
        f'u8@example.org;" ";+3312;1;8;true;;{PREMIUM}\n'
    )


def test_mailchimp(awkward: Config, tmp_path: Path) -> None:
    record = run(awkward, tmp_path / "to", "mailchimp")
    lines = content(tmp_path / "to").splitlines()
    assert lines[0] == "Email Address,First Name,Phone Number,spend,ORDERS,VIP,LAST,SEGMENT,Tags"
    assert lines[1] == f"u1@example.org,Zoë,+3312,0.5,1,true,2026-01-02,{PREMIUM},{PREMIUM}"
    # 255 bytes would end within a letter of two.
    assert f"u6@example.org,{'é' * 127},+3312" in lines[-3]
    assert record.units[0].clipped == {"First Name": 1}


def test_mailchimp_takes_no_foreign_letters_before_the_at(tmp_path: Path) -> None:
    rows = {1: "rené@example.org", 2: "rene@exämple.org", 3: f"{'a' * 250}@example.org"}
    config = make(tmp_path, people(rows), members={"a, b": [1, 2, 3]}, email="mail", mailchimp={"tags": "TAGS"})
    record = run(config, tmp_path / "to", "mailchimp", segments=("a, b",))
    assert content(tmp_path / "to", "a%2C%20b-2026-01-31.csv") == "Email Address,TAGS\nrene@exämple.org,a  b\n"
    assert record.units[0].left_out["refused"] == 2


def test_listmonk(awkward: Config, tmp_path: Path) -> None:
    run(awkward, tmp_path / "to", "listmonk")
    rows = list(csv.reader(io.StringIO(content(tmp_path / "to"))))
    assert rows[0] == ["email", "name", "attributes"]
    first = content(tmp_path / "to").splitlines()[1]
    assert first == (
        'u1@example.org,Zoë,"{""spend"":0.5,""ORDERS"":1,""VIP"":true,""LAST"":""2026-01-02"",'
        f'""SEGMENT"":""{PREMIUM}""}}"'
    )
    assert json.loads(rows[5][2]) == {"ORDERS": 5, "VIP": True, "SEGMENT": PREMIUM}
    assert rows[8][1] == ""


def test_listmonk_has_first_and_last_name_as_one(tmp_path: Path) -> None:
    rows = {1: "a@b.org", 2: "c@b.org", 3: "d@b.org"}
    contacts = people(rows, f=["Ada", None, "Al"], l=["Lovelace", "Noether", None])
    config = make(tmp_path, contacts, members={PREMIUM: [1, 2, 3]}, email="mail", first_name="f", last_name="l")
    run(config, tmp_path / "to", "listmonk")
    assert content(tmp_path / "to") == (
        "email,name,attributes\na@b.org,Ada Lovelace,{}\nc@b.org,Noether,{}\nd@b.org,Al,{}\n"
    )


def test_ga4_by_user_id_has_nothing_that_says_who_somebody_is(awkward: Config, tmp_path: Path) -> None:
    run(awkward, tmp_path / "to", "ga4", segments=(ASLEEP,))
    assert content(tmp_path / "to", "asleep-2026-01-31.csv") == "user_id,p_p_prediction\n2,0.125\n"


def test_ga4_by_client_id(tmp_path: Path) -> None:
    contacts = people({1: None, 2: "x@y.org", 3: None}, ga=["12.34", "12.35", None])
    config = make(
        tmp_path,
        contacts,
        members={PREMIUM: [1, 2, 3, 4]},
        email="mail",
        suppress=(str(tmp_path / "no.txt"),),
        ga4={"client_id": "ga", "stream_id": "777", "properties": {"p_p_prediction": "propensity_purchase"}},
    )
    (tmp_path / "no.txt").write_text("X@Y.org\n", encoding="utf-8")
    record = run(config, tmp_path / "to", "ga4")
    assert content(tmp_path / "to") == "client_id,stream_id,p_p_prediction\n12.34,777,0\n"
    assert record.units[0].left_out | {"suppressed": 1, "without_address": 1, "without_contact": 1} == (
        record.units[0].left_out
    )


def test_csv_computes_no_formulas(tmp_path: Path) -> None:
    texts = ["=1+1", "+33", "-1", "@x", "\tx", "\rx", "a=1", "", None]
    rows = {user: f"{'=' if user == 1 else ''}u{user}@example.org" for user in range(1, 10)}
    config = make(
        tmp_path,
        people(rows, text=texts),
        members={PREMIUM: list(rows)},
        features={"balance": [-user for user in rows], "ratio": [-0.5] * 9},
        email="mail",
        csv={
            "columns": {"=id": "user_id", "mail": "email", "text": "text", "balance": "balance", "ratio": "ratio"},
            "separator": ";",
            "decimal_comma": True,
            "bom": True,
        },
    )
    run(config, tmp_path / "to", "csv")
    found = content(tmp_path / "to")
    assert found.startswith("\ufeff'=id;mail;text;balance;ratio\n1;'=u1@example.org;'=1+1;-1;-0,5\n")
    cells = [row[2] for row in csv.reader(io.StringIO(found, newline=""), delimiter=";")][1:]
    assert cells == ["'=1+1", "'+33", "'-1", "'@x", "'\tx", "'\rx", "a=1", "", ""]


def test_csv_needs_no_contacts(tmp_path: Path) -> None:
    config = make(tmp_path, None, members={PREMIUM: ["b", "a"]}, attributes={"since": "entered_on", "day": "as_of"})
    run(config, tmp_path / "to", "csv")
    assert content(tmp_path / "to") == (
        f"user_id,segment,since,day\na,{PREMIUM},2026-01-01,2026-01-31\nb,{PREMIUM},2026-01-01,2026-01-31\n"
    )


def test_files_for_brevo_stay_below_the_limit(tmp_path: Path) -> None:
    rows = {user: f"user{user:04d}@example.org" for user in range(200)}
    names = ["line\nbreak;" * (user % 7) for user in rows]
    config = make(
        tmp_path,
        people(rows, n=names),
        members={PREMIUM: list(rows)},
        email="mail",
        last_name="n",
        brevo={"max_bytes": 1000},
    )
    record = run(config, tmp_path / "to")
    files = record.units[0].files
    assert [file.name for file in files[:2]] == [f"{STEM}.csv", f"{STEM}-2.csv"]
    assert max(file.bytes for file in files) <= 1000
    found = []
    for file in files:
        table = list(csv.reader(io.StringIO(content(tmp_path / "to", file.name), newline=""), delimiter=";"))
        assert table[0] == ["EMAIL", "LASTNAME"]
        assert len(table) - 1 == file.rows > 0
        found += table[1:]
    assert found == [[rows[user], names[user]] for user in rows]


def test_a_line_above_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    config = make(
        tmp_path,
        people({1: "a@b.org", 2: "c@b.org", 3: "d@b.org"}, n=["x", "y" * 2000, "z"]),
        members={PREMIUM: [1, 2, 3]},
        email="mail",
        last_name="n",
        brevo={"max_bytes": 1000},
    )
    assert [file.rows for file in run(config, tmp_path / "to").units[0].files] == [1, 1, 1]


def test_everybody_is_accounted_for(tmp_path: Path) -> None:
    rows: dict[str, str | None] = {
        "a": " Ann@Example.org ",
        "b": "ann@example.ORG",
        "c": None,
        "d": "\u00a0",
        "e": "no at",
        "f": "two@at@x.org",
        "g": "nodot@host",
        "h": "gone@example.org",
        "i": "byid@example.org",
        "k": "re\u0301mi@example.org",
        "l": "\ufeffok@example.org",
    }
    config = make(
        tmp_path, people(rows), members={PREMIUM: [*rows, "z"]}, email="mail", suppress=(f"{tmp_path}/s.csv",)
    )
    (tmp_path / "s.csv").write_bytes("\ufeffE-Mail;why\r\nGONE@example.org ;x\r\nRÉMI@example.org;y\r\n".encode())
    (tmp_path / "ids.txt").write_text("\n i \nnobody\n", encoding="utf-8")
    record = run(config, tmp_path / "to", suppress=(tmp_path / "ids.txt",))
    assert content(tmp_path / "to") == "EMAIL\nAnn@Example.org\nok@example.org\n"
    (unit,) = record.units
    assert (unit.users, unit.written) == (12, 2)
    assert unit.left_out == {
        "without_contact": 1,
        "without_address": 2,
        "invalid_address": 3,
        "refused": 0,
        "suppressed": 3,
        "address_suppressed": 0,
        "still_member": 0,
        "duplicate": 1,
    }
    assert record.suppression == ((f"{tmp_path}/s.csv", 2), (f"{tmp_path}/ids.txt", 2))
    told = json.loads((tmp_path / "to" / "_export.json").read_text())
    assert told["segments"] == json.loads(json.dumps(record.to_dict()))["segments"]


def test_duplicates_can_be_kept(tmp_path: Path) -> None:
    rows = {1: "a@b.org", 2: "A@b.org"}
    config = make(tmp_path, people(rows), members={PREMIUM: [1, 2]}, email="mail", duplicates="keep")
    run(config, tmp_path / "to")
    assert content(tmp_path / "to") == "EMAIL\na@b.org\nA@b.org\n"


def test_entries_and_exits(tmp_path: Path) -> None:
    rows = {1: "a@b.org", 2: "b@b.org", 3: "c@b.org", 4: "A@b.org"}
    config = make(
        tmp_path,
        people(rows),
        members={PREMIUM: [1, 2], ASLEEP: [3]},
        entries={PREMIUM: [2], ASLEEP: [3]},
        exits={PREMIUM: [3, 4], ASLEEP: [4]},
        email="mail",
        attributes={"SINCE": "entered_on"},
    )
    record = run(config, tmp_path / "to", changes=True, rows_per_range=1, segments=(PREMIUM, ASLEEP))
    found = {path.name: path.read_text() for path in (tmp_path / "to").glob("*.csv")}
    stem = "%C3%89t%C3%A9%20%26%20Co"
    assert found == {
        f"{stem}-2026-01-31.csv": "EMAIL;SINCE\na@b.org;2026-01-01\nb@b.org;2026-01-01\n",
        f"{stem}-entries-2026-01-31.csv": "EMAIL;SINCE\nb@b.org;2026-01-01\n",
        # The address of 4 is also that of 1, who stays.
        f"{stem}-exits-2026-01-31.csv": "EMAIL;SINCE\nc@b.org;\n",
        "asleep-2026-01-31.csv": "EMAIL;SINCE\nc@b.org;2026-01-02\n",
        "asleep-entries-2026-01-31.csv": "EMAIL;SINCE\nc@b.org;2026-01-02\n",
        "asleep-exits-2026-01-31.csv": "EMAIL;SINCE\nA@b.org;\n",
    }
    assert [unit.left_out["still_member"] for unit in record.units] == [0, 0, 1, 0, 0, 0]


ADDRESS = st.sampled_from(
    [None, "", " ", "a@b.org", "A@b.org ", "b@b.org", "c@b.org", "é@b.org", "no", "x@y", "d@b.org", "e@b.org"]
)


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("thirty")
    return make(folder, people({1: "a@b.org"}), members={PREMIUM: range(30)}, parts=3)


@settings(max_examples=max(10, settings.default.max_examples // 5))
@given(
    addresses=st.lists(ADDRESS, min_size=30, max_size=30),
    missing=st.sets(st.integers(0, 29)),
    suppressed=st.sets(st.sampled_from(["a@b.org", "C@B.ORG", "7", "11"])),
    rows_per_range=st.sampled_from([10, 30]),
    tool=st.sampled_from(["brevo", "mailchimp", "listmonk", "csv"]),
    duplicates=st.sampled_from(["first", "keep"]),
)
def test_nobody_is_lost(
    thirty: Config,
    addresses: list[str | None],
    missing: set[int],
    suppressed: set[str],
    rows_per_range: int,
    tool: str,
    duplicates: Literal["first", "keep"],
) -> None:
    folder = Path(thirty.out).parent
    users = range(30)
    known = {user: addresses[user] for user in users if user not in missing}
    people(known).cast({"client": pl.Int64}).write_parquet(folder / "contacts.parquet")
    exports = Exports(email="mail", duplicates=duplicates, csv=CsvExport(columns={"mail": "email"}))
    config = thirty.model_copy(update={"exports": exports})
    (folder / "no.txt").write_text("\n".join(sorted(suppressed)), encoding="utf-8")
    listed, ranges = (folder / "no.txt",), rows_per_range
    record = run(config, folder / "to", tool, suppress=listed, rows_per_range=ranges, overwrite=True)
    expected, written = Counter[str](), list[str]()
    lists = {entry.lower() for entry in suppressed}
    # Theirs who object by their id are nobody's to be written to.
    theirs = {(known.get(user) or "").strip().lower() for user in users if str(user) in lists}
    for user in users:
        address = (known.get(user) or "").strip()
        if user in missing:
            expected["without_contact"] += 1
        elif not address:
            expected["without_address"] += 1
        elif address in {"no", "x@y"}:
            expected["invalid_address"] += 1
        elif tool == "mailchimp" and not address.isascii():
            expected["refused"] += 1
        elif address.lower() in lists or str(user) in lists:
            expected["suppressed"] += 1
        elif address.lower() in theirs:
            expected["address_suppressed"] += 1
        elif duplicates == "first" and address.lower() in {other.lower() for other in written}:
            expected["duplicate"] += 1
        else:
            written.append(address)
    (unit,) = record.units
    assert {reason: count for reason, count in unit.left_out.items() if count} == expected
    assert unit.users == len(addresses) == unit.written + sum(unit.left_out.values())
    table = list(csv.reader(io.StringIO(content(folder / "to")), delimiter=";" if tool == "brevo" else ","))
    assert [row[0] for row in table[1:]] == written


@pytest.mark.parametrize("tool", ["listmonk", "csv"])
def test_how_many_are_read_at_once_changes_no_byte(awkward: Config, tmp_path: Path, tool: str) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    run(awkward, whole, tool, changes=True)
    run(awkward, pieces, tool, changes=True, rows_per_range=2)
    assert {p.name: p.read_bytes() for p in whole.glob("*.csv")} == {
        p.name: p.read_bytes() for p in pieces.glob("*.csv")
    }


def test_python_reads_back_what_was_written(awkward: Config, tmp_path: Path) -> None:
    run(awkward, tmp_path / "to")
    rows = list(csv.DictReader(io.StringIO(content(tmp_path / "to"), newline=""), delimiter=";"))
    assert [row["FIRSTNAME"] for row in rows] == [name or "" for name in NAMES]


@pytest.mark.parametrize(("readable_by", "file", "folder"), [("owner", 0o600, 0o700), ("group", 0o640, 0o750)])
def test_nobody_else_reads_the_files(tmp_path: Path, readable_by: str, file: int, folder: int) -> None:
    config = make(tmp_path, people({1: "a@b.org"}), members={PREMIUM: [1]}, email="mail", readable_by=readable_by)
    run(config, tmp_path / "to")
    assert stat.S_IMODE((tmp_path / "to" / f"{STEM}.csv").stat().st_mode) == file
    assert stat.S_IMODE((tmp_path / "to").stat().st_mode) == folder


def test_an_earlier_export_is_replaced_when_that_is_asked_for(awkward: Config, tmp_path: Path) -> None:
    (tmp_path / ".to-0123abcd.export").mkdir()
    run(awkward, tmp_path / "to", segments=(ASLEEP,))
    with pytest.raises(ConfigError) as refused:
        run(awkward, tmp_path / "to")
    assert refused.value.code == "folder-not-empty"
    run(awkward, tmp_path / "to", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [f"{STEM}.csv", "_export.json"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("place", ["out", "out/segments", ".", "linked"])
def test_no_addresses_among_the_tables(awkward: Config, tmp_path: Path, place: str) -> None:
    published = Path(awkward.out)
    (tmp_path / "linked").symlink_to(published / "scores")
    with pytest.raises(ConfigError) as refused:
        run(awkward, tmp_path / place if place == "linked" else published.parent / place, overwrite=True)
    assert refused.value.code == "export-folder"


def test_nothing_but_an_export_is_overwritten(awkward: Config, tmp_path: Path) -> None:
    folder = tmp_path / "to"
    run(awkward, folder)
    (folder / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"thesis\.txt") as refused:
        run(awkward, folder, overwrite=True)
    assert refused.value.code == "export-overwrite"
    assert (folder / "thesis.txt").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        run(awkward, tmp_path / "file", overwrite=True)


def test_a_link_to_a_folder_leads_to_the_folder(awkward: Config, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run(awkward, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / f"{STEM}.csv").is_file()


def test_any_name_of_a_segment_is_a_file_in_the_folder(tmp_path: Path) -> None:
    names = ["../up", "/etc/passwd", "..", "a/b", "%2e", "x" * 200, "é" * 200, "é" * 199 + "e", ".hidden"]
    config = make(tmp_path, people({1: "a@b.org"}), members={name: [1] for name in names}, email="mail")
    before = sorted(tmp_path.iterdir())
    record = run(config, tmp_path / "to", segments=tuple(names))
    files = {path.name for path in (tmp_path / "to").iterdir()} - {"_export.json"}
    assert files == {file.name for unit in record.units for file in unit.files}
    assert len(files) == len(names)
    assert not any(file.startswith(".") for file in files)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "to"])


def test_two_segments_with_one_file_are_refused(tmp_path: Path) -> None:
    config = make(tmp_path, people({1: "a@b.org"}), members={"x": [1], "X-entries": [1]}, email="mail")
    with pytest.raises(ConfigError) as refused:
        run(config, tmp_path / "to", segments=("x", "X-entries"), changes=True)
    assert refused.value.code == "export-names"


def test_a_failure_leaves_nothing(awkward: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "durable_json", fail)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):
        run(awkward, tmp_path / "to")
    assert sorted(tmp_path.iterdir()) == before


def test_a_published_file_that_changed_is_not_exported(tmp_path: Path) -> None:
    config = make(tmp_path, None, members={"x": [1, 2]})
    (file,) = Path(config.out).glob("memberships/*/*.parquet")
    content = file.read_bytes()
    # One that readers take for data.
    at = content.index((2).to_bytes(8, "little"))
    file.chmod(0o644)
    file.write_bytes(content[:at] + (3).to_bytes(8, "little") + content[at + 8 :])
    with pytest.raises(IntegrityError, match=r"memberships/.*differs from its SHA-256"):
        run(config, tmp_path / "to", "csv", segments=("x",))
    assert not (tmp_path / "to").exists()


def test_a_user_with_two_contacts_is_refused(tmp_path: Path) -> None:
    contacts = pl.DataFrame({"client": [1, 1], "mail": ["a@b.org", "b@b.org"]})
    config = make(tmp_path, contacts, members={PREMIUM: [1]}, email="mail")
    with pytest.raises(DataError) as refused:
        run(config, tmp_path / "to")
    assert refused.value.code == "contacts-repeated"
    assert "a@b.org" not in str(refused.value)


@pytest.mark.parametrize(
    ("others", "code", "words"),
    [
        ({"segments": ("Ete & Co", "nothing")}, "segment-unknown", ["'Été & Co'", "nothing"]),
        ({"as_of": date(2026, 2, 1)}, "not-published", ["2026-02-01"]),
        ({"suppress": (Path("gone.csv"), Path("lost.parquet"))}, "export-suppress", ["gone.csv", "lost.parquet"]),
    ],
)
def test_what_is_not_there_is_named(
    awkward: Config, tmp_path: Path, others: dict[str, Any], code: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        run(awkward, tmp_path / "to", **others)
    assert refused.value.code == code
    assert all(word in str(refused.value) for word in words)
    assert not (tmp_path / "to").exists()


def test_ids_of_contacts_may_be_text(tmp_path: Path) -> None:
    contacts = pl.DataFrame({"client": ["1", "02", "2", "x", "", None], "mail": [f"{n}@b.org" for n in "abcdef"]})
    config = make(tmp_path, contacts, members={PREMIUM: [1, 2]}, email="mail")
    run(config, tmp_path / "to", rows_per_range=1)
    assert content(tmp_path / "to") == "EMAIL\na@b.org\nc@b.org\n"
