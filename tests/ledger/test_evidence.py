from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.features.measure import EventRef, Measure
from engine.features.spec import FeatureSpec
from engine.ledger.evidence import Evidence, explain
from tests.features.specs import spec_of

A, B = date(2018, 1, 1), date(2018, 2, 1)
SINCE = {"other": date(2017, 12, 22), "vip": date(2018, 1, 22)}
OPENED = Measure("event_count", (EventRef("open"),), days=5).name


def evidence(folder: Path, as_of: date, columns: dict[str, object], members: list[str]) -> Evidence:
    """One user, 1, with some columns; and another one who is in the way."""
    row = pl.DataFrame({"user_id": [1, 2], **{name: [value, value] for name, value in columns.items()}})
    path = folder / f"{as_of}.parquet"
    row.write_parquet(path)
    schema = {"user_id": pl.Int64, "segment": pl.String, "entered_on": pl.Date}
    rows = [(user, name, SINCE[name]) for name in members for user in (1, 2)]
    return Evidence(as_of, (str(path),), (), pl.DataFrame(rows, schema, orient="row"))


def reason(rule: str, then: Evidence, now: Evidence, spec: FeatureSpec | None = None, change: str = "exit") -> str:
    pending = pl.DataFrame(
        {"user_id": [1], "segment": ["x"], "change": [change], "kind": ["rule"], "rule": [rule]}
        | {name: pl.Series([None], dtype=pl.String) for name in ("other", "other_kind", "group_reason")}
    )
    return str(explain(pending, then, now, spec, frozenset({"x", "vip", "other"}))["reason"][0])


@pytest.mark.parametrize(
    ("rule", "then", "now", "members", "expected"),
    [
        ("n > 2", {"n": 3}, {"n": 2}, ([], []), "n > 2: 3 → 2"),
        ("in_segment('vip')", {"n": 3}, {"n": 3}, ([], ["vip"]), "in_segment('vip'): false → true"),
        ("in_segment('vip', 7) OR n > 2", {"n": 3}, {"n": 2}, ([], ["other"]), "n > 2: 3 → 2"),
        ("day < as_of - INTERVAL '40' DAY", {"day": A}, {"day": A - timedelta(10)}, ([], []), None),
        ("days_since(day) <= 30", {"day": A}, {"day": A}, ([], []), "days_since(day) <= 30: days_since(day) 0 → 31"),
        ("n = 2.5", {"n": "2"}, {"n": 2.5}, ([], []), "n = 2.5: unknown → 2.5"),
        ("n = 2 OR m = 2", {"m": 1}, {"n": 2, "m": 1}, ([], []), "n = 2: unknown → 2"),
        ("n <> 2", {"n": float("nan")}, {"n": 2.0}, ([], []), "n <> 2: none → 2"),
        ("n >> 2", {"n": 1}, {"n": 2}, ([], []), "cause unknown"),
    ],
)
def test_rules_are_read_for_both_dates(
    tmp_path: Path,
    rule: str,
    then: dict[str, object],
    now: dict[str, object],
    members: tuple[list[str], list[str]],
    expected: str | None,
) -> None:
    sides = (evidence(tmp_path, A, then, members[0]), evidence(tmp_path, B, now, members[1]))
    found = reason(rule, *sides)
    if expected is None:
        assert found.startswith("day < as_of - INTERVAL '40' DAY: ")
        assert "2018-01-01" in found
        assert "2017-12-22" in found
    else:
        assert found == expected


def test_days_in_a_segment_are_those_of_each_date(tmp_path: Path) -> None:
    sides = (evidence(tmp_path, A, {"n": 1}, ["other"]), evidence(tmp_path, B, {"n": 1}, ["other"]))
    assert (
        reason("in_segment('other', 30)", *sides, change="enter") == "in_segment('other', 30): days in 'other' 10 → 41"
    )


def test_event_functions_are_columns_of_both_dates(tmp_path: Path) -> None:
    sides = (evidence(tmp_path, A, {OPENED: 0}, []), evidence(tmp_path, B, {OPENED: 2}, []))
    text = "event_count('open', 5) >= 1"
    assert reason(text, *sides, spec=spec_of(("open",)), change="enter") == f"{text}: 0 → 2"
    # Without the bundle nobody knows what the function's column is.
    assert reason(text, *sides, change="enter") == "cause unknown"
