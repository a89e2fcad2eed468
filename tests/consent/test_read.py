from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config_consent import Consent
from engine.consent import read
from engine.consent.coverage import coverage
from engine.errors import DataError
from engine.privacy.ids import IdRules
from tests.consent.logs import DAY, MIDNIGHT, frame, permits, saved

HOUR = timedelta(hours=1)
US = timedelta(microseconds=1)
YES, NO = "granted", "withdrawn"
P, E, T = "profiling", "email_marketing", "open_tracking"


def consent(path: Path, **fields: Any) -> Consent:
    return Consent(path=str(path), **fields)


def states(tmp_path: Path, rows: list[Any], **fields: Any) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    log = consent(saved(frame(rows), tmp_path / "log.parquet"), **fields)
    return permits(log, tmp_path / "work")[1]


def refusal(tmp_path: Path, data: pl.DataFrame, user_dtype: str = "String", **fields: Any) -> DataError:
    log = consent(saved(data, tmp_path / "log.parquet"), **fields)
    with pytest.raises(DataError) as caught:
        permits(log, tmp_path / "work", user_dtype=user_dtype)
    return caught.value


# --- what counts


@pytest.mark.parametrize(
    ("rows", "granted", "withdrawn"),
    [
        ([(YES, -2)], True, False),
        ([(YES, -2), (NO, -1)], False, True),
        ([(NO, -2), (YES, -1)], True, False),
        ([(YES, -1), (NO, -1)], False, True),
        ([(NO, -1), (YES, -1)], False, True),
        ([(NO, -2)], False, True),
        ([(YES, -1), (NO, 0)], True, False),
        ([(YES, 0)], None, None),
        ([(YES, 5)], None, None),
    ],
    ids="grant withdrawn again tie tie-2 never-granted at-midnight only-at-midnight future".split(),
)
def test_gd03_the_last_row_before_the_day_counts(
    tmp_path: Path, rows: list[tuple[str, int]], granted: bool | None, withdrawn: bool | None
) -> None:
    found = states(tmp_path, [("ann", P, status, MIDNIGHT + hours * HOUR) for status, hours in rows])
    if granted is None:
        assert found == {}
    else:
        assert found == {"ann": ((P,) if granted else (), (P,) if withdrawn else ())}


def test_the_microsecond_before_midnight_is_of_the_day_before(tmp_path: Path) -> None:
    assert states(tmp_path, [("a", P, YES, MIDNIGHT - US), ("b", P, YES, MIDNIGHT)]) == {"a": ((P,), ())}


def test_midnight_is_that_of_the_zone_of_the_run(tmp_path: Path) -> None:
    # Midnight in Paris is 23:00 UTC of the day before.
    rows = [("a", P, YES, MIDNIGHT - HOUR - US), ("b", P, YES, MIDNIGHT - HOUR)]
    log = consent(saved(frame(rows), tmp_path / "log.parquet"))
    assert permits(log, tmp_path / "work", zone="Europe/Paris")[1] == {"a": ((P,), ())}


def test_purposes_are_apart(tmp_path: Path) -> None:
    rows = [("a", P, YES, MIDNIGHT - HOUR), ("a", E, NO, MIDNIGHT - HOUR), ("b", "sms", YES, MIDNIGHT - HOUR)]
    assert states(tmp_path, rows, purposes=("sms",)) == {"a": ((P,), (E,)), "b": (("sms",), ())}


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [
        ("a", P, YES, MIDNIGHT - HOUR),
        ("a", P, NO, MIDNIGHT + HOUR),
        (None, P, YES, MIDNIGHT - HOUR),
        ("", P, YES, MIDNIGHT - HOUR),
        ("b", None, YES, MIDNIGHT - HOUR),
        ("b", P, YES, None),
        ("b", "sms", "whatever", MIDNIGHT - HOUR),
    ]
    log = consent(saved(frame(rows), tmp_path / "log.parquet"), unknown_purposes="ignore")
    record, found = permits(log, tmp_path / "work")
    assert found == {"a": ((P,), ())}
    assert (record.rows, record.used, record.future, record.rejected) == (7, 1, 1, 4)
    assert record.ignored == (("sms", 1),)
    assert record.rows == record.used + record.future + record.rejected + sum(rows for _, rows in record.ignored)
    file = str(tmp_path / "log.parquet")
    assert record.places == ((file, 2), (file, 3), (file, 4), (file, 5))
    assert f"{file} row 2, {file} row 3" in record.warnings()[0]


@pytest.mark.parametrize("grants", [(-2,), (-1, 5), ()])
def test_gd03_a_withdrawal_whose_time_cannot_be_read_is_the_last_word(tmp_path: Path, grants: tuple[int, ...]) -> None:
    rows = [("ann", P, YES, MIDNIGHT + hours * HOUR) for hours in grants]
    rows += [("ann", P, NO, None), ("bob", P, YES, None), ("eve", P, YES, MIDNIGHT - HOUR), (None, P, NO, None)]
    log = consent(saved(frame(rows), tmp_path / "log.parquet"))
    record, found = permits(log, tmp_path / "work")
    assert found == {"ann": ((), (P,)), "eve": ((P,), ())}
    assert (record.rejected, record.undated, record.to_dict()["withdrawn_without_time"]) == (3, 1, 1)
    assert record.rows == record.used + record.future + record.rejected == len(rows)
    assert "not used, but for 1 withdrawals, which count as the last word" in record.warnings()[0]
    told = coverage(log, DAY, "UTC", ids=IdRules())
    assert (told.purposes[0].granted, told.purposes[0].withdrawn) == (1, 1)
    assert told.record == record


# --- statuses


@pytest.mark.parametrize(
    ("statuses", "dtype"),
    [
        (["GRANTED", "Withdrawn"], pl.String()),
        ([" yes ", "No"], pl.String()),
        ([True, False], pl.Boolean()),
        ([1, 0], pl.Int8()),
        (["granted", "withdrawn"], pl.Categorical()),
        (["granted", "withdrawn"], pl.Enum(["granted", "withdrawn"])),
    ],
    ids=str,
)
def test_statuses_of_any_type(tmp_path: Path, statuses: list[Any], dtype: pl.DataType) -> None:
    data = frame([("a", P, None, MIDNIGHT - HOUR), ("b", P, None, MIDNIGHT - HOUR)])
    log = consent(saved(data.with_columns(pl.Series("status", statuses, dtype)), tmp_path / "log.parquet"))
    assert permits(log, tmp_path / "work")[1] == {"a": ((P,), ()), "b": ((), (P,))}


def test_statuses_that_are_neither_stop_the_run(tmp_path: Path) -> None:
    rows = [("a", P, "maybe", MIDNIGHT - HOUR)] * 3 + [("a", P, None, MIDNIGHT), ("a", P, YES, MIDNIGHT)]
    error = refusal(tmp_path, frame(rows))
    assert error.code == "consent-status"
    assert "'maybe': 3 rows" in error.message
    assert "none: 1 row" in error.message
    assert "granted" not in error.message


def test_a_column_that_was_mistaken_for_the_status_is_not_printed(tmp_path: Path) -> None:
    data = frame([("a", P, YES, MIDNIGHT - HOUR)]).with_columns(status=pl.lit("eve@example.com"))
    message = refusal(tmp_path, data).message
    assert "a text of 15 characters: 1 row" in message
    assert "eve" not in message


# --- purposes


def test_unknown_purposes_are_refused_with_their_rows(tmp_path: Path) -> None:
    rows = [("a", "sms", YES, MIDNIGHT), ("b", "sms", YES, MIDNIGHT), ("a", "post", YES, MIDNIGHT)]
    error = refusal(tmp_path, frame(rows))
    assert error.code == "consent-purposes"
    assert error.message.splitlines()[1:] == ["  'post': 1 row", "  'sms': 2 rows"]


# --- columns


@pytest.mark.parametrize("column", ["form_version", "source", "status", "purpose", "at", "user_id"])
def test_gd03_mandatory_columns(tmp_path: Path, column: str) -> None:
    error = refusal(tmp_path, frame([("a", P, YES, MIDNIGHT)]).drop(column))
    assert error.code == "consent-columns"
    assert f"consent.{column}: no column {column!r}" in error.message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user_id", 1.5),
        ("user_id", True),
        ("purpose", 3),
        ("status", 1.0),
        ("at", 20260101),
        ("at", 1.5),
        ("source", [1]),
    ],
    ids=str,
)
def test_columns_of_types_that_cannot_be_used(tmp_path: Path, column: str, value: Any) -> None:
    error = refusal(tmp_path, frame([("a", P, YES, MIDNIGHT)]).with_columns(pl.lit(value).alias(column)))
    assert error.code == "consent-columns"
    assert f"consent.{column}: expected" in error.message


def test_any_schema_by_its_columns(tmp_path: Path) -> None:
    data = frame([("a", P, YES, MIDNIGHT - HOUR)]).rename(
        {"user_id": "uid", "purpose": "why", "status": "answer", "at": "ts", "form_version": "f", "source": "s"}
    )
    log = consent(
        saved(data, tmp_path / "log.parquet"),
        user_id="uid",
        purpose="why",
        status="answer",
        at="ts",
        form_version="f",
        source="s",
    )
    assert permits(log, tmp_path / "work")[1] == {"a": ((P,), ())}


# --- ids


def test_numbers_and_their_text_are_one_id(tmp_path: Path) -> None:
    ints = frame([(7, P, YES, MIDNIGHT - HOUR)], pl.Int64())
    texts = frame(
        [("007", P, NO, MIDNIGHT - HOUR - US), ("8", P, YES, MIDNIGHT - HOUR), ("x", P, YES, MIDNIGHT - HOUR)]
    )
    saved(ints, tmp_path / "1.parquet")
    saved(texts, tmp_path / "2.parquet")
    log = consent(tmp_path / "*.parquet")
    found = permits(log, tmp_path / "work", user_dtype="Int64")[1]
    assert found == {"7": ((P,), ()), "8": ((P,), ()), "x": ((P,), ())}


def test_ids_that_cannot_match_stop_the_run(tmp_path: Path) -> None:
    rows = [("zoé-77", P, YES, MIDNIGHT - HOUR), ("bob", P, YES, MIDNIGHT - HOUR)]
    error = refusal(tmp_path, frame(rows), user_dtype="Int64")
    assert error.code == "consent-user-id"
    assert "zoé" not in str(error)


def test_linked_ids_are_one_user_whose_last_word_counts(tmp_path: Path) -> None:
    rows = [
        ("old", P, NO, MIDNIGHT - HOUR),
        ("new", P, YES, MIDNIGHT - 2 * HOUR),
        ("old", E, YES, MIDNIGHT - HOUR),
    ]
    links = pl.DataFrame({"from_id": ["old"], "to_id": ["new"]})
    links.write_parquet(tmp_path / "links.parquet")
    log = consent(saved(frame(rows), tmp_path / "log.parquet"))
    found = permits(log, tmp_path / "work", links=str(tmp_path / "links.parquet"))[1]
    assert found == {"new": ((E,), (P,))}


def test_gd08_users_who_object_are_told_with_and_without_a_log(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["bob", "a"]}).write_parquet(tmp_path / "opposed.parquet")
    log = consent(saved(frame([("a", P, YES, MIDNIGHT - HOUR)]), tmp_path / "log.parquet"))
    more: dict[str, Any] = {"opposed": str(tmp_path / "opposed.parquet")}
    record, found = permits(log, tmp_path / "work", **more)
    assert record.opposed == 2
    assert found == {"a": ((P,), ()), "bob": ((), ())}
    part = pl.read_parquet(tmp_path / "work" / "permits.parquet")
    assert part["opposed"].all()


# --- times


@pytest.mark.parametrize(
    ("times", "zone", "hours"),
    [
        (pl.Series([datetime(2026, 2, 28, 22, 30)], dtype=pl.Datetime("us")), "UTC", -1.5),
        (pl.Series([datetime(2026, 2, 28, 22, 30)], dtype=pl.Datetime("ns")), "UTC", -1.5),
        (pl.Series([datetime(2026, 2, 28, 22, 30)], dtype=pl.Datetime("ms")), "UTC", -1.5),
        (pl.Series([datetime(2026, 3, 1, 0, 30)], dtype=pl.Datetime("us")), "Europe/Paris", -0.5),
        (pl.Series([date(2026, 2, 28)]), "UTC", -24),
        (pl.Series([date(2026, 3, 1)]), "Europe/Paris", -1),
        (pl.Series(["2026-02-28"]), "UTC", -24),
        (pl.Series(["2026-02-28 22:30"]), "UTC", -1.5),
        (pl.Series(["2026-03-01T00:30:00+01:00"]), "UTC", -0.5),
        (pl.Series(["2026-02-28T23:30:00.5Z"]), "UTC", -0.5),
    ],
    ids=str,
)
def test_instants_of_any_form(tmp_path: Path, times: pl.Series, zone: str, hours: float) -> None:
    data = frame([("a", P, YES, MIDNIGHT)]).with_columns(times.alias("at"))
    log = consent(saved(data, tmp_path / "log.parquet"), timezone=zone)
    assert permits(log, tmp_path / "work")[1] == {"a": ((P,), ())}
    # The same day ends where it should.
    later = date(2026, 2, 28)
    record, found = permits(log, tmp_path / "work", day=later)
    assert (record.future, found) == (1, {})


@pytest.mark.parametrize("text", ["soon", "2026-02-28 10:00 or so", "28/02/2026", "", "2026-02-30"])
def test_texts_that_are_no_instant_are_rejected_rows(tmp_path: Path, text: str) -> None:
    data = frame([("a", P, YES, MIDNIGHT), ("b", P, YES, MIDNIGHT)]).with_columns(at=pl.Series([text, "2026-01-01"]))
    record, found = permits(consent(saved(data, tmp_path / "log.parquet")), tmp_path / "work")
    assert found == {"b": ((P,), ())}
    assert record.places == ((str(tmp_path / "log.parquet"), 0),)


def test_an_hour_that_never_was_is_an_hour_later(tmp_path: Path) -> None:
    data = frame([("a", P, YES, MIDNIGHT)]).with_columns(at=pl.Series([datetime(2026, 3, 29, 2, 30)]))
    log = consent(saved(data, tmp_path / "log.parquet"), timezone="Europe/Paris")
    record, _ = permits(log, tmp_path / "work", day=date(2026, 3, 30))
    assert (record.used, record.rejected) == (1, 0)


# --- files


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    rows = [("a", P, YES, MIDNIGHT - HOUR), ('é,"b', P, NO, MIDNIGHT - HOUR), ("a", E, YES, MIDNIGHT + HOUR)]
    data = frame(rows)
    data.with_columns(pl.col("at").dt.to_string("iso:strict")).write_csv(tmp_path / "log.csv")
    one, two = tmp_path / "one", tmp_path / "two"
    assert (
        permits(consent(tmp_path / "log.csv"), one)[1]
        == permits(consent(saved(data, tmp_path / "log.parquet")), two)[1]
    )
    assert (one / "permits.parquet").read_bytes() == (two / "permits.parquet").read_bytes()
    # Nothing of the text is left beside it.
    assert [path.name for path in one.iterdir()] == ["permits.parquet"]


def test_rows_of_a_csv_file_are_told_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "user_id,purpose,status,at,form_version,source\n"
        "a,profiling,granted,2026-01-01,v1,web\n"
        ",profiling,granted,2026-01-01,v1,web\n"
    )
    record, _ = permits(consent(tmp_path / "log.csv"), tmp_path / "work")
    assert record.places == ((str(tmp_path / "log.csv"), 1),)


def test_a_broken_file_is_named_without_its_values(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1 eve@example.com PAR1")
    with pytest.raises(DataError) as caught:
        permits(consent(tmp_path / "log.parquet"), tmp_path / "work")
    assert caught.value.code == "input-unreadable"
    assert "eve" not in str(caught.value)


def test_one_part_for_any_order_of_rows_and_files(tmp_path: Path) -> None:
    rows = [(f"u{n % 37}", (P, E, T)[n % 3], YES if n % 5 else NO, MIDNIGHT - n % 11 * HOUR) for n in range(400)]
    data = frame(rows)
    saved(data, tmp_path / "a.parquet")
    permits(consent(tmp_path / "a.parquet"), tmp_path / "one")
    for number, part in enumerate(data.reverse().iter_slices(90)):
        saved(part, tmp_path / f"part-{number}.parquet")
    permits(consent(tmp_path / "part-*.parquet"), tmp_path / "two")
    assert (tmp_path / "one/permits.parquet").read_bytes() == (tmp_path / "two/permits.parquet").read_bytes()


# --- against a loop over the rows


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([P, E]), st.sampled_from([YES, NO]), st.integers(-3, 2)),
        max_size=25,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_states_are_those_of_a_loop_over_the_rows(tmp_path: Path, rows: list[tuple[str, str, str, int]]) -> None:
    last: dict[tuple[str, str], tuple[int, bool]] = {}
    for user, purpose, status, hours in rows:
        if hours < 0:
            last[user, purpose] = max(last.get((user, purpose), (-99, False)), (hours, status == NO))
    expected = {
        user: tuple(
            tuple(name for name in (P, E) if last.get((user, name), (0, None))[1] is state) for state in (False, True)
        )
        for user, _ in last
    }
    found = states(tmp_path, [(user, purpose, status, MIDNIGHT + n * HOUR) for user, purpose, status, n in rows])
    assert found == expected


def test_portions_give_the_same_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"u{n % 37}", (P, E, T)[n % 3], YES if n % 5 else NO, MIDNIGHT - n % 11 * HOUR) for n in range(400)]
    log = consent(saved(frame(rows), tmp_path / "log.parquet"))
    whole = permits(log, tmp_path / "whole")
    split = partial(read._states, rows_at_once=30)
    monkeypatch.setattr(read, "_states", split)
    assert permits(log, tmp_path / "split") == whole
    assert (tmp_path / "whole/permits.parquet").read_bytes() == (tmp_path / "split/permits.parquet").read_bytes()


@pytest.mark.parametrize("at_once", [3, 30, 1_000])
def test_rows_are_accounted_for_in_portions_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    hours, users, purposes = (-2, -1, 0, 3, None), (None, "", *"abcdefgh"), (P, E, None, "sms")
    rows: list[Any] = [
        (user, purpose, YES, None if hour is None else MIDNIGHT + hour * HOUR)
        for user in users
        for purpose in purposes
        for hour in (hours[2:] if user == "h" else hours)
    ]
    log = consent(saved(frame(rows), tmp_path / "log.parquet"), unknown_purposes="ignore")
    monkeypatch.setattr(read, "_states", partial(read._states, rows_at_once=at_once))
    record, found = permits(log, tmp_path / "work")
    assert set(found) == set("abcdefg")
    whole = [row for row in rows if row[0] and row[1] in {P, E} and row[3]]
    used = [row for row in whole if row[3] < MIDNIGHT]
    sms = sum(row[1] == "sms" for row in rows)
    assert (record.rows, record.used, record.future) == (len(rows), len(used), len(whole) - len(used))
    assert (record.rejected, record.users) == (len(rows) - len(whole) - sms, 7)


@pytest.mark.parametrize("texts", [1, 7, 8, 9, 20])
def test_any_number_of_purposes_and_statuses(tmp_path: Path, texts: int) -> None:
    names = tuple(f"p{number}" for number in range(texts))
    yes, no = [f"yes {n}" for n in range(texts)], [f"no {n}" for n in range(texts)]
    rows = [
        (f"u{n}", names[n % texts], (yes if n % 2 else no)[n % texts], MIDNIGHT - HOUR) for n in range(4 * texts + 1)
    ]
    found = states(tmp_path, rows, purposes=names, granted=tuple(yes), withdrawn=tuple(no))
    assert found == {user: ((purpose,), ()) if status in yes else ((), (purpose,)) for user, purpose, status, _ in rows}


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    data = frame([("anna", P, YES, MIDNIGHT - HOUR)]).with_columns(row=pl.lit("x"))
    log = consent(saved(data, tmp_path / "log.parquet"), source="row")
    assert permits(log, tmp_path / "work")[1] == {"anna": ((P,), ())}
