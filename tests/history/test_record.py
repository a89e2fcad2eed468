from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from engine.history.record import (
    MOST_LISTED,
    Attempt,
    attempt_from_json,
    attempt_name,
    attempt_to_json,
    is_attempt_name,
    with_outcome,
)
from engine.record import RunRecord, TableSummary
from engine.tables.durable import canonical_json
from tests.history.attempts import attempt, failed


@pytest.mark.parametrize("given", [attempt(), failed(1), attempt(2, as_of=None, input=None, ended=None, seconds=None)])
def test_a_record_is_read_as_it_was_written(given: Attempt) -> None:
    assert attempt_from_json(canonical_json(attempt_to_json(given)).encode()) == given


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"{}", b'{"schema_version": 2}', b'{"schema_version": 1, "attempt": 3}', b"\xff"],
)
def test_what_is_no_record_is_none(text: bytes) -> None:
    assert attempt_from_json(text) is None


def test_a_later_version_may_have_more_fields() -> None:
    values = {**attempt_to_json(attempt()), "added": {"later": True}}
    assert attempt_from_json(json.dumps(values).encode()) == attempt()


def test_names_sort_as_the_starts_do_and_are_in_utc() -> None:
    paris = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=1)))
    assert attempt_name(paris, "00ff00") == "20260301T000000Z-00ff00"
    assert attempt_name(datetime(2026, 2, 28, 23, tzinfo=UTC), "ffffff") < attempt_name(paris, "000000")
    assert is_attempt_name("20260301T000000Z-00ff00")
    assert not is_attempt_name("20260301T000000Z-00ff0")
    assert not is_attempt_name("../20260301T000000Z-00ff00")


def test_the_outcome_is_small_and_has_no_paths() -> None:
    segments = {f"s{number}": {"users": 1000 - number, "mean_spend": 1.0} for number in range(1000)}
    record = RunRecord(
        "score-2026-03-01-cc",
        date(2026, 3, 1),
        {"users": 3, "segments": segments, "models": {"buys": {"auc": 0.7}}, "quarantined": [{"file": "x"}]},
        {"read": 0.12345},
        {"segments": TableSummary("/data/out/segments", 3, 1, 99)},
        "/data/out/_bundles/abc",
    )
    noted = with_outcome(attempt(run_ids=("fit-2026-03-01-aa",)), record)
    assert noted.run_ids == ("fit-2026-03-01-aa", "score-2026-03-01-cc")
    assert list(noted.counts["segments"]) == [f"s{number}" for number in range(MOST_LISTED)]
    assert set(noted.counts) == {"users", "segments"}
    assert noted.bundle == "abc"
    assert noted.tables == {"segments": {"rows": 3, "files": 1, "bytes": 99}}
    assert noted.timings == {"read": 0.123}
    assert len(canonical_json(attempt_to_json(noted))) < 40_000
