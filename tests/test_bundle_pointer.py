from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle_pointer import Act, choose, current_of, read_acts, state_of, with_act, write_acts

DAY = date(2026, 3, 1)
NAMES = [f"{number:012x}" for number in range(5)]
# The day of a bundle's fit is part of what it is.
DAYS = dict(zip(NAMES, (DAY + timedelta(days=days) for days in (0, 3, 3, 1, 7)), strict=True))


def done(act: str, name: str) -> Act:
    return Act(act, name, DAYS[name])  # type: ignore[arg-type]


def record(steps: Sequence[tuple[str, str]]) -> tuple[Act, ...]:
    acts: tuple[Act, ...] = ()
    for act, name in steps:
        acts = with_act(acts, done(act, name))
    return acts


records = st.lists(
    st.tuples(st.sampled_from(["fitted", "held", "promoted", "withdrawn"]), st.sampled_from(NAMES)), max_size=12
).map(record)


def beats(acts: Sequence[Act], one: str, other: str) -> bool:
    """The rule for two bundles: a person's word after the other was promoted, else the later day and the later act."""

    def last(name: str, *kinds: str) -> int:
        return max((place for place, act in enumerate(acts) if act.bundle == name and act.act in kinds), default=-1)

    both = ("fitted", "promoted")
    if last(one, "promoted") > last(other, *both):
        return True
    if last(other, "promoted") > last(one, *both):
        return False
    return (DAYS[one], last(one, *both)) > (DAYS[other], last(other, *both))


def promoted(acts: Sequence[Act]) -> set[str]:
    return {act.bundle for act in acts if act.act in {"fitted", "promoted"}}


@given(records, st.sets(st.sampled_from(NAMES)))
def test_the_chosen_one_beats_every_other(acts: tuple[Act, ...], usable: set[str]) -> None:
    candidates = promoted(acts) & usable
    chosen = choose(acts, usable)
    if not candidates:
        assert chosen is None
        return
    assert chosen in candidates
    # One that was set aside by a person for a third need not be beaten by day and act alone.
    by_hand = [act.bundle for act in acts if act.act == "promoted" and act.bundle in usable]
    rivals = {name for name in candidates if not by_hand or name == by_hand[-1] or not beats(acts, by_hand[-1], name)}
    assert {name for name in rivals if all(name == other or beats(acts, name, other) for other in rivals)} == {chosen}


@given(records, st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)))
def test_a_promotion_wins_and_can_be_taken_back(acts: tuple[Act, ...], name: str, usable: set[str]) -> None:
    after = with_act(acts, done("promoted", name))
    assert current_of(after) == name
    assert state_of(after, name) == "current"
    assert choose(after, usable | {name}) == name
    # Whoever cannot use it is not touched by it.
    others = usable - {name}
    assert choose(after, others) == choose(acts, others)
    back = with_act(after, done("withdrawn", name))
    assert state_of(back, name) == "withdrawn"
    assert choose(back, usable) == choose(acts, others)


@given(records, st.sampled_from(NAMES))
def test_fits_do_not_overrule_a_person(acts: tuple[Act, ...], name: str) -> None:
    assert state_of(with_act(with_act(acts, done("withdrawn", name)), done("fitted", name)), name) == "withdrawn"
    assert name not in promoted(with_act(with_act(acts, done("withdrawn", name)), done("held", name)))
    by_hand = with_act(acts, done("promoted", name))
    for known in promoted(acts):
        assert current_of(with_act(by_hand, done("fitted", known))) == name
    chosen = current_of(acts)
    for act in ("held", "fitted"):
        if chosen is not None:
            assert current_of(with_act(acts, done(act, chosen))) == chosen


@given(records)
def test_the_record_stays_short_and_states_are_those_of_the_acts(acts: tuple[Act, ...]) -> None:
    assert all(sum(act.bundle == name for act in acts) <= 2 for name in NAMES)
    states = {name: state_of(acts, name) for name in NAMES}
    assert [name for name, state in states.items() if state == "current"] == [
        name for name in NAMES if name == current_of(acts)
    ]
    assert {name for name, state in states.items() if state in {"current", "promoted"}} == promoted(acts)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    acts = record([("fitted", NAMES[0]), ("held", NAMES[1]), ("promoted", NAMES[2]), ("withdrawn", NAMES[3])])
    write_acts(tmp_path, acts)
    assert read_acts(tmp_path) == acts
    write_acts(tmp_path, ())
    assert read_acts(tmp_path) == ()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([("held", 0)], None),
        ([("fitted", 0), ("fitted", 4), ("fitted", 3)], 4),
        ([("fitted", 1), ("fitted", 2)], 2),
        ([("fitted", 2), ("fitted", 1)], 1),
        ([("fitted", 4), ("promoted", 0)], 0),
        ([("fitted", 4), ("promoted", 1), ("fitted", 3)], 1),
        ([("fitted", 4), ("promoted", 0), ("fitted", 3)], 3),
        ([("fitted", 4), ("promoted", 0), ("withdrawn", 0)], 4),
        ([("fitted", 4), ("promoted", 0), ("fitted", 4)], 0),
        ([("promoted", 4), ("promoted", 0), ("fitted", 4)], 0),
        ([("held", 4), ("promoted", 0), ("fitted", 4)], 4),
        ([("fitted", 4), ("withdrawn", 4), ("fitted", 4)], None),
    ],
)
def test_the_current_one(steps: list[tuple[str, int]], expected: int | None) -> None:
    found = current_of(record([(act, NAMES[number]) for act, number in steps]))
    assert found == (None if expected is None else NAMES[expected])
