from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Identity
from engine.config_consent import Consent
from engine.config_contacts import Cleaning
from engine.config_exports import Ga4Export
from engine.config_segments import Segment
from engine.errors import ConfigError
from engine.exports.export import export_segments
from engine.exports.plan import Tool
from engine.exports.record import ExportRecord, Request
from tests.consent.logs import Row, frame, saved
from tests.exports.published import AS_OF, PREMIUM, make, people

P, E = "profiling", "email_marketing"
YES, NO = "granted", "withdrawn"
MIDNIGHT = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC)
HOUR = timedelta(hours=1)
AHEAD = datetime(2999, 1, 1, tzinfo=UTC)
EVERYBODY = [(user, purpose, YES, MIDNIGHT - 99 * HOUR) for user in (1, 2, 3) for purpose in (P, E)]


def config(folder: Path, rows: list[Row], more: Mapping[int, str] | None = None, **fields: Any) -> Config:
    addresses = {1: "a@x.org", 2: "b@x.org", 3: "c@x.org", 4: "d@x.org", **(more or {})}
    made = make(folder, people(addresses), members={PREMIUM: [1, 2, 3, 4]}, exits={PREMIUM: [5]}, email="mail")
    log = saved(frame([*EVERYBODY, *rows], pl.Int64()), folder / "consents.parquet")
    return made.model_copy(update={"consent": Consent(path=str(log), **fields)})


def exported(made: Config, to: Path) -> tuple[ExportRecord, list[str]]:
    record = export_segments(made, Request(tool="brevo", to=to, segments=(PREMIUM,)))
    [file] = to.glob("*.csv")
    return record, [line for line in file.read_text().splitlines()[1:] if line]


@pytest.mark.parametrize(
    ("rows", "fields", "written"),
    [
        ([], {}, "abc"),
        ([(1, E, NO, MIDNIGHT - HOUR)], {}, "bc"),
        ([(1, P, NO, MIDNIGHT - HOUR)], {}, "bc"),
        ([(1, E, NO, MIDNIGHT + HOUR)], {}, "bc"),
        ([(1, E, NO, MIDNIGHT - 2 * HOUR), (1, E, YES, MIDNIGHT - HOUR)], {}, "abc"),
        ([(1, E, NO, MIDNIGHT - HOUR), (1, E, YES, MIDNIGHT + HOUR)], {}, "bc"),
        ([(4, P, YES, MIDNIGHT - HOUR)], {}, "abc"),
        ([(4, P, YES, MIDNIGHT - HOUR), (4, E, YES, MIDNIGHT - HOUR)], {}, "abcd"),
        ([(4, P, YES, MIDNIGHT - HOUR)], {"exports": ()}, "abcd"),
        ([(1, "sms", YES, MIDNIGHT - HOUR)], {"exports": (E, "sms"), "purposes": ("sms",)}, "a"),
        # A grant that is dated ahead brings nobody back.
        ([(1, E, NO, MIDNIGHT + HOUR), (1, E, YES, AHEAD)], {}, "bc"),
        ([(1, E, NO, MIDNIGHT + HOUR), (1, E, YES, MIDNIGHT + 2 * HOUR)], {}, "abc"),
        ([(1, E, NO, AHEAD)], {}, "bc"),
    ],
)
def test_gd01_gd08_only_who_agreed_is_exported(
    tmp_path: Path, rows: list[Row], fields: dict[str, Any], written: str
) -> None:
    record, lines = exported(config(tmp_path, rows, **fields), tmp_path / "to")
    assert lines == [f"{name}@x.org" for name in written]
    [unit] = record.units
    assert unit.left_out["without_consent"] == 4 - len(written)
    assert unit.users == unit.written + sum(unit.left_out.values())


def test_without_a_log_there_is_no_such_reason(tmp_path: Path) -> None:
    made = config(tmp_path, []).model_copy(update={"consent": None})
    record, lines = exported(made, tmp_path / "to")
    assert len(lines) == 4
    assert "without_consent" not in record.units[0].left_out


def test_who_left_is_told_with_and_without_a_consent(tmp_path: Path) -> None:
    addresses = {1: "a@x.org", 2: "b@x.org"}
    made = make(tmp_path, people(addresses), members={PREMIUM: [1]}, exits={PREMIUM: [2]}, email="mail")
    log = saved(frame(EVERYBODY[:2], pl.Int64()), tmp_path / "consents.parquet")
    made = made.model_copy(update={"consent": Consent(path=str(log))})
    request = Request(tool="brevo", to=tmp_path / "to", segments=(PREMIUM,), changes=True)
    units = {unit.kind: unit for unit in export_segments(made, request).units}
    assert (units["exits"].users, units["exits"].written) == (1, 1)
    assert (units["members"].users, units["members"].written) == (1, 1)


@pytest.mark.parametrize("rows_per_range", [1, 100])
@pytest.mark.parametrize(
    ("more", "rows", "written"),
    [
        # 9 is in no table; who was never asked refuses nothing.
        ({9: "A@x.org "}, [], "abc"),
        ({9: "A@x.org "}, [(9, E, NO, MIDNIGHT - HOUR)], "bc"),
        ({9: "A@x.org "}, [(9, E, NO, MIDNIGHT + HOUR)], "bc"),
        ({9: "A@x.org "}, [(9, P, NO, MIDNIGHT - HOUR)], "bc"),
        ({9: "A@x.org "}, [(9, "open_tracking", NO, MIDNIGHT - HOUR)], "abc"),
        ({9: "A@x.org "}, [(9, E, NO, MIDNIGHT - 2 * HOUR), (9, E, YES, MIDNIGHT - HOUR)], "abc"),
        ({2: "a@X.org"}, [(2, E, NO, MIDNIGHT - HOUR)], "c"),
        ({1: "c@x.org", 2: "c@x.org"}, [(3, E, NO, MIDNIGHT - HOUR)], ""),
    ],
)
def test_gd08_nobody_writes_to_an_address_of_somebody_who_withdrew(
    tmp_path: Path, more: Mapping[int, str], rows: list[Row], written: str, rows_per_range: int
) -> None:
    made = config(tmp_path, rows, more)
    request = Request(tool="brevo", to=tmp_path / "to", segments=(PREMIUM,))
    [unit] = export_segments(made, request, rows_per_range=rows_per_range).units
    [file] = (tmp_path / "to").glob("*.csv")
    assert file.read_text().splitlines()[1:] == [f"{name}@x.org" for name in written]
    assert unit.users == unit.written + sum(unit.left_out.values()) == 4


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("tool", ["csv", "ga4"])
def test_gd08_it_holds_for_every_key_and_for_cleaned_contacts(tmp_path: Path, tool: Tool, *, cleaned: bool) -> None:
    addresses = {1: "a@x.org", 2: "b@x.org", 3: "A@x.org"}
    shared = people(addresses, browser=["one", "two", "one"])
    by_browser = Ga4Export(client_id="browser", stream_id="1", properties={"day": "as_of"})
    made = make(tmp_path, shared, members={PREMIUM: [1, 2]}, email="mail", ga4=by_browser)
    log = saved(frame([*EVERYBODY, (3, E, NO, MIDNIGHT - HOUR)], pl.Int64()), tmp_path / "consents.parquet")
    assert made.contacts is not None
    contacts = made.contacts.model_copy(update={"cleaning": Cleaning(email="mail")}) if cleaned else made.contacts
    made = made.model_copy(update={"consent": Consent(path=str(log)), "contacts": contacts})
    [unit] = export_segments(made, Request(tool=tool, to=tmp_path / "to", segments=(PREMIUM,))).units
    assert (unit.users, unit.written, unit.left_out["without_consent"]) == (2, 1, 1)


def test_gd08_a_linked_id_of_somebody_who_withdrew_has_an_address_too(tmp_path: Path) -> None:
    made = config(tmp_path, [(8, E, NO, MIDNIGHT - HOUR)], {9: "a@x.org"})
    pl.DataFrame({"cookie": [9], "user": [8]}).write_parquet(tmp_path / "links.parquet")
    identity = Identity(path=str(tmp_path / "links.parquet"), anonymous_id="cookie", user_id="user")
    _, lines = exported(made.model_copy(update={"identity": identity}), tmp_path / "to")
    assert lines == ["b@x.org", "c@x.org"]


@pytest.mark.parametrize(
    ("rows", "written"),
    [
        ([], ""),
        ([(1, "sms", YES, MIDNIGHT - HOUR), (4, "sms", YES, MIDNIGHT - HOUR)], "a"),
        ([(1, "sms", YES, MIDNIGHT - HOUR), (1, "sms", NO, MIDNIGHT + HOUR)], ""),
    ],
)
def test_gd02_who_withdrew_a_purpose_of_the_segment_since_is_not_exported(
    tmp_path: Path, rows: list[Row], written: str
) -> None:
    made = config(tmp_path, rows, purposes=("sms",))
    segment = Segment(name=PREMIUM, where="TRUE", purposes=("sms",))
    _, lines = exported(made.model_copy(update={"segments": (segment,)}), tmp_path / "to")
    assert lines == [f"{name}@x.org" for name in written]


def test_more_purposes_than_there_can_be_are_refused(tmp_path: Path) -> None:
    made = config(tmp_path, [], purposes=tuple(f"purpose_{number}" for number in range(30)))
    with pytest.raises(ConfigError) as caught:
        exported(made, tmp_path / "to")
    assert caught.value.code == "purpose-unknown"


def test_any_portions_give_the_same_files(tmp_path: Path) -> None:
    made = config(tmp_path, [(2, E, NO, MIDNIGHT - HOUR)])
    one, two = (
        export_segments(made, Request(tool="csv", to=tmp_path / str(rows), segments=(PREMIUM,)), rows_per_range=rows)
        for rows in (1, 100)
    )
    assert one.units == two.units
