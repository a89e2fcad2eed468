from __future__ import annotations

from datetime import date

from hypothesis import given, settings

from engine.features.type_days import FAMILY
from tests.features.dailies import Daily, built, by_user, full_spec, histories, inside


@given(history=histories())
@settings(max_examples=40)
def test_every_column_equals_a_count_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    spec = full_spec()
    assert built(FAMILY, events, as_of, spec) == {
        user: {
            f"{kind.slug}_active_days_{window}d": len({event.day for event in inside(own, as_of, window, kind.name)})
            for kind in spec.types
            for window in spec.windows
        }
        for user, own in by_user(events, as_of).items()
    }
