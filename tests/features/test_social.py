from __future__ import annotations

from datetime import date

from hypothesis import given, settings

from engine.features.social import FAMILY
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside
from tests.features.specs import spec_of


def expected(events: list[Daily], as_of: date) -> Row:
    row: Row = {}
    for window in full_spec().windows:
        comments, shares = (len(inside(events, as_of, window, kind)) for kind in ("comment", "share"))
        row |= {
            f"social_comment_count_{window}d": comments,
            f"social_share_count_{window}d": shares,
            f"social_interaction_count_{window}d": comments + shares,
            f"social_points_{window}d": 2 * (comments + shares),
        }
    return row


@given(history=histories(("comment", "share", "visit")))
@settings(max_examples=30)
def test_every_column_equals_a_count_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    assert built(FAMILY, events, as_of, full_spec()) == {
        user: expected(own, as_of) for user, own in by_user(events, as_of).items()
    }


def test_one_role_is_enough_and_none_is_not() -> None:
    names = [feature.name for feature in FAMILY.features(spec_of(("like",), windows=(3,), comment="like"))]
    assert names == ["social_comment_count_3d", "social_interaction_count_3d", "social_points_3d"]
    assert FAMILY.features(spec_of(("like",))) == ()


def test_one_type_in_both_roles_counts_once() -> None:
    spec = spec_of(("like",), windows=(3,), comment="like", share="like")
    row = built(FAMILY, [Daily(0, "like", date(2024, 2, 29))], date(2024, 3, 1), spec)[0]
    assert row["social_interaction_count_3d"] == 1
