from __future__ import annotations

from typing import Any

import pytest

from engine.reporting.sections.run_records import record_of, stages
from engine.reporting.sections.timings import section
from engine.reporting.words import Voice
from tests.reporting.learnt_facts import check, facts_of, figure, side, told


def record(**changes: Any) -> dict[str, Any]:
    known = {
        "command": "run",
        "result": "done",
        "run_ids": ["fit-1", side().manifest.run_id],
        "started": "2026-03-01T04:30:00Z",
        "seconds": 12.5,
        "input": {"rows": 1000},
        "timings": {"read": 1.0, "score": 2.0, "fit.learn": 6.0, "fit.read": 2.0, "fit.total": 8.0, "total": 11.0},
        "peak_memory_bytes": 500_000_000,
        "tasks": {"total": 9, "done": 9, "retried": 0},
    }
    return {**known, **changes}


def test_stages_are_told_without_their_sums() -> None:
    facts = facts_of(records=(record(),))
    made = section(facts)
    check(facts, made)
    assert figure(made, "timings_stages").table.select("stage", "seconds").rows() == [
        ("fit.read", 2.0),
        ("fit.learn", 6.0),
        ("read", 1.0),
        ("score", 2.0),
    ]
    text = told(facts, made)
    assert "The run took 12.5 s for 1,000 rows: 80 rows a second." in text
    assert "Most time goes to “fit: models”: 6.0 s, 54.5% of the run" in text
    assert "500 MB" in text


def test_the_record_is_that_of_the_run_which_went_through() -> None:
    records = (
        record(result="failed", seconds=1.0),
        record(run_ids=["score-other"], seconds=2.0),
        record(seconds=3.0),
        record(seconds=4.0),
    )
    found = record_of(facts_of(records=records))
    assert found is not None
    assert found["seconds"] == 3.0


def test_runs_over_time_are_in_the_order_of_their_start() -> None:
    records = (
        record(started="2026-03-03T04:30:00Z", seconds=30.0),
        record(started="2026-03-02T04:30:00Z", seconds=40.0, run_ids=[], peak_memory_bytes=None),
        record(started="2026-03-01T04:30:00Z", seconds=20.0, run_ids=[], command="check"),
    )
    facts = facts_of(records=records)
    made = section(facts)
    check(facts, made)
    assert figure(made, "timings_runs").table["seconds"].to_list() == [40.0, 30.0]
    assert "timings_memory" not in {figure.key for figure in made.figures}


@pytest.mark.parametrize(
    ("tasks", "says"),
    [({"total": 9, "done": 9, "retried": 2}, "2 of 9 tasks"), ({"total": 9, "spilled": 10**9}, "1.0 GB were spilled")],
)
def test_tasks_that_had_trouble_are_an_alarm(tasks: dict[str, int], says: str) -> None:
    made = section(facts_of(records=(record(tasks=tasks),)))
    assert says in Voice("en").put(made.alarms[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"timings": None, "seconds": None},
        {"timings": {"read": "x"}, "tasks": 3, "input": []},
        {"peak_memory_bytes": "?"},
    ],
)
def test_records_of_another_version_are_read_with_care(changes: dict[str, Any]) -> None:
    facts = facts_of(records=(record(**changes),))
    assert told(facts, section(facts))
    assert all(isinstance(seconds, float) for seconds in stages(record(**changes)).values())


def test_without_a_record_the_section_says_so() -> None:
    facts = facts_of()
    check(facts, section(facts))
    assert section(facts).missing is not None
