from __future__ import annotations

from dataclasses import replace

from engine.events.record import IngestRecord, RejectExample, TypeCount
from engine.rollups.index import DayCount, Entry
from engine.rollups.totals import event_counts, ingested

EMPTY = Entry(
    source="log",
    label="",
    fingerprint="",
    coded=(),
    event_types=(),
    event_columns=(),
    sources=(),
    user_dtype="Int64",
    read=0,
    left_out=0,
    excluded=0,
    rejected={},
    examples=(),
    counts=(),
    unlisted=(),
    daily=(),
)
MAIL = replace(
    EMPTY,
    source="mail",
    read=30,
    left_out=1,
    excluded=2,
    rejected={"b": 1, "a": 3},
    examples=(("m", 1, "b"), ("m", 2, "a"), ("m", 5, "a")),
    counts=(
        DayCount("buy", 9, rows=6, kept=3, duplicates=2, lines=1, priced=2, zero=1),
        DayCount("buy", 10, rows=4, kept=4, priced=4),
        DayCount("open", 8, rows=2, kept=2),
        DayCount("rest", 7, rows=3),
        DayCount("rest", 11, rows=2),
    ),
    unlisted=((9, 4), (10, 2)),
)
LATE = replace(
    EMPTY,
    source="mail",
    label="2026-01-01",
    read=3,
    rejected={"a": 1},
    examples=(("n", 0, "a"),),
    counts=(DayCount("buy", 9, rows=2, kept=0, lines=2),),
)
SHOP = replace(EMPTY, source="shop", read=1, rejected={"a": 1}, examples=(("s", 0, "a"),))


def test_the_sum_over_all_units() -> None:
    total = ingested([MAIL, LATE, SHOP], 10, ("buy", "open"))
    assert total == IngestRecord(
        read={"mail": 33, "shop": 1},
        left_out=1 + 3 + 4,
        excluded=2,
        after_as_of=4 + 2 + 2,
        passed=10,
        kept=5,
        duplicates=2,
        lines=3,
        rejected={("mail", "a"): 4, ("mail", "b"): 1, ("shop", "a"): 1},
        examples=(
            RejectExample("mail", "m", 1, "b"),
            RejectExample("mail", "m", 2, "a"),
            RejectExample("mail", "m", 5, "a"),
            RejectExample("shop", "s", 0, "a"),
        ),
        types=(
            TypeCount("mail", "buy", 12, 2, 4),
            TypeCount("mail", "open", 2, 0, 0),
            TypeCount("mail", "rest", 5, 0, 2),
        ),
        unlisted=6,
        first_day=8,
        last_day=9,
    )
    assert sum(total.read.values()) == (
        total.left_out + total.excluded + sum(total.rejected.values()) + total.after_as_of + total.passed
    )


def test_events_of_types_that_were_rolled_up_for_another_run_are_left_out() -> None:
    total = ingested([MAIL, LATE], 10, ("open",))
    assert (total.kept, total.left_out, total.first_day, total.last_day) == (2, 1 + 3 + 4 + 8, 8, 8)
    assert total.types[0] == TypeCount("mail", "buy", 12, 0, 4)


def test_nothing_gives_nothing() -> None:
    assert ingested([], 10, ("buy",)) == IngestRecord()


def test_events_and_those_without_an_amount() -> None:
    assert event_counts([MAIL, LATE, SHOP], 10, ("buy", "open", "never")) == {
        "buy": {"kept": 3, "zero_amount": 1},
        "open": {"kept": 2, "zero_amount": 0},
    }
    assert event_counts([MAIL], 11, ("buy",)) == {"buy": {"kept": 7, "zero_amount": 1}}


def test_the_days_of_a_unit() -> None:
    assert EMPTY.days is None
    assert MAIL.days == (8, 10)
    # Lines of an order that began in another unit are there to be read.
    assert LATE.days == (9, 9)
    assert replace(EMPTY, counts=(DayCount("buy", 9, rows=1, duplicates=1),)).days is None
