from __future__ import annotations

from engine.events.record import IngestRecord, TypeCount
from engine.stages.accounting import ingest_counts


def test_types_that_are_too_many_to_name() -> None:
    types = [TypeCount(name, f"/page/{number:03d}", number, 0, 0) for name in ("web", "app") for number in range(1, 61)]
    counts = ingest_counts(IngestRecord(types=tuple(types), unlisted=7))
    assert counts["event_types"] == {f"/page/{number:03d}": 2 * number for number in range(11, 61)}
    assert list(counts["event_types"]) == sorted(counts["event_types"])
    assert counts["other_event_types"] == 2 * sum(range(1, 11)) + 7


def test_equally_frequent_types_are_chosen_by_name() -> None:
    counts = ingest_counts(
        IngestRecord(types=tuple(TypeCount("log", f"{number:02d}", 1, 0, 0) for number in range(51)))
    )
    assert counts["event_types"] == {f"{number:02d}": 1 for number in range(50)}
    assert counts["other_event_types"] == 1


def test_missing_types_are_told() -> None:
    assert ingest_counts(IngestRecord(missing_types=("open", "view")))["missing_types"] == ["open", "view"]
    assert set(ingest_counts(IngestRecord())) == {"sources", "rejected", "event_types"}
