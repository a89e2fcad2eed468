from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.config import Target
from engine.consent.inputs import Inputs
from engine.consent.permits import PART_SCHEMA, Permits
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code
from engine.rollups.ranges import key_ranges
from engine.stages.outcome_rows import OutcomeRows, outcome_rows
from tests.features.specs import spec_of

TYPES = ("purchase", "open")
SPEC = spec_of(TYPES)
KINDS = tuple(map(Code, TYPES))
KNOWN = ("profiling", "open_tracking", "sms")
PROFILING, OPENING, SMS = 1, 2, 4
BUYS = Target(name="buys", event="purchase", horizon_days=14)
OPENS = Target(name="opens", event="open", horizon_days=14)
EVERY = PROFILING | OPENING | SMS
# By user: purposes, and whether the user objects; user 5 was never asked.
STATES = {1: (EVERY, False), 2: (PROFILING, False), 3: (OPENING | SMS, False), 4: (EVERY, True)}
INPUTS = Inputs(("open_tracking",), (("open", 1),))


def bucket() -> Bucket:
    users = pl.DataFrame(
        {"user_key": [10, 20, 30, 40, 50], "user_id": [1, 2, 3, 4, 5]}, schema_overrides={"user_key": pl.UInt64}
    )
    rows = [(user, kind, 100, 1, 0) for user in range(5) for kind in range(2)]
    schema = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}
    return Bucket(users, pl.DataFrame(rows, schema, orient="row"), None)


def rows_of(folder: Path, inputs: Inputs | None, *targets: Target) -> OutcomeRows:
    part = folder / "permits.parquet"
    rows = [(user * 10, str(user), granted, 0, opposed) for user, (granted, opposed) in STATES.items()]
    pl.DataFrame(rows, PART_SCHEMA, orient="row").write_parquet(part)
    permits = Permits(str(part), KNOWN, ("profiling",), inputs)
    return outcome_rows(bucket(), KINDS, SPEC, targets, permits, key_ranges(1)[0])


def left(found: OutcomeRows) -> list[tuple[int, str]]:
    """Users by id, with the types of their rows."""
    ids = found.daily["user"] + 1
    return sorted(zip(ids, (TYPES[kind] for kind in found.daily["type"]), strict=True))


def who(found: OutcomeRows, target: Target) -> list[int]:
    return found.users["user_id"].filter(found.counts(target, SPEC)).to_list()


def test_without_consents_everybody_is_compared() -> None:
    found = outcome_rows(bucket(), KINDS, SPEC, (BUYS,), None, key_ranges(1)[0])
    assert who(found, BUYS) == [1, 2, 3, 4, 5]
    assert found.daily.height == 10


def test_gd01_only_who_may_be_compared_is_there_and_their_rows(tmp_path: Path) -> None:
    found = rows_of(tmp_path, None, BUYS, OPENS)
    assert left(found) == [(1, "open"), (1, "purchase"), (2, "open"), (2, "purchase")]
    assert who(found, BUYS) == who(found, OPENS) == [1, 2]


def test_gd02_events_that_do_not_count_for_a_user_are_not_looked_at(tmp_path: Path) -> None:
    found = rows_of(tmp_path, INPUTS, BUYS, OPENS)
    assert left(found) == [(1, "open"), (1, "purchase"), (2, "purchase")]
    assert who(found, BUYS) == [1, 2]
    assert who(found, OPENS) == [1]


@pytest.mark.parametrize(("purposes", "expected"), [(("sms",), [1]), (("gone",), []), (("sms", "gone"), [])])
def test_gd02_a_target_is_about_who_agreed_to_its_purposes(
    tmp_path: Path, purposes: tuple[str, ...], expected: list[int]
) -> None:
    target = BUYS.model_copy(update={"purposes": purposes})
    assert who(rows_of(tmp_path, None, target), target) == expected
