from __future__ import annotations

from dataclasses import replace

import pytest

from engine.features.columns import log_types, purposes, tracked_types
from engine.features.spec import EventType
from tests.features.dailies import full_spec

OPENED = EventType("late open", "late_open", priced=False, of="open", where="channel = 'x'")
SPEC = replace(full_spec(), types=(*full_spec().types, OPENED))


def test_what_is_made_of_opens_and_clicks_is_tracked() -> None:
    assert tracked_types(SPEC) == {"open", "open_machine", "click", "click_machine", "late open"}
    assert tracked_types(replace(SPEC, open=None, click=None)) == set()


@pytest.mark.parametrize(
    ("types", "tracked"),
    [((), True), (("purchase",), False), (("purchase", "late open"), True), (("click_machine",), True)],
)
def test_tracked_types_need_a_purpose_of_their_own(types: tuple[str, ...], tracked: bool) -> None:
    assert ("email_tracking" in purposes(types, SPEC)) == tracked


def test_types_of_the_log_count_each_event_once() -> None:
    assert set(SPEC.type_names) - set(log_types(SPEC)) == {"big", "late open", "open_machine", "click_machine"}
