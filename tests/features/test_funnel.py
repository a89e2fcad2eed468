from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings

from engine.features.funnel import FAMILY
from engine.features.spec import FeatureSpec
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside, over
from tests.features.specs import spec_of

DAY = date(2024, 3, 1)


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    row: Row = {}
    for window in spec.windows:

        def count(*types: str, days: int = window) -> int:
            return len(inside(events, as_of, days, *types))

        delivered = max(count("send") - count("bounce"), 0)
        opens, clicks = count("open"), count("click")
        raw_opens, raw_clicks = opens + count("open_machine"), clicks + count("click_machine")
        row |= {
            f"funnel_sent_count_{window}d": count("send"),
            f"funnel_delivered_count_{window}d": delivered,
            f"funnel_open_count_{window}d": opens,
            f"funnel_open_raw_count_{window}d": raw_opens,
            f"funnel_click_count_{window}d": clicks,
            f"funnel_click_raw_count_{window}d": raw_clicks,
            f"funnel_open_rate_{window}d": over(opens, delivered),
            f"funnel_open_rate_raw_{window}d": over(raw_opens, delivered),
            f"funnel_click_rate_{window}d": over(clicks, delivered),
            f"funnel_click_rate_raw_{window}d": over(raw_clicks, delivered),
            f"funnel_click_to_open_rate_{window}d": over(clicks, opens),
            f"funnel_click_to_open_rate_raw_{window}d": over(raw_clicks, raw_opens),
            f"funnel_reply_rate_{window}d": over(count("reply"), delivered),
            f"funnel_bounce_rate_{window}d": over(count("bounce"), count("send")),
            f"funnel_unsubscribe_rate_{window}d": over(count("unsubscribe"), delivered),
            f"funnel_complaint_rate_{window}d": over(count("complaint"), delivered),
            f"machine_open_share_{window}d": over(count("open_machine"), raw_opens),
        }
    for kind in ("open", "click"):
        days = [event.day for event in events if event.type == kind]
        row[f"days_since_human_{kind}"] = (as_of - max(days)).days if days else None
    sent = max((event.day for event in events if event.type == "send"), default=date.min)
    against = [event.day for event in events if event.type in {"bounce", "unsubscribe", "complaint"}]
    row["reachable"] = int(not any(day >= sent for day in against))
    return row


@given(history=histories())
@settings(max_examples=60)
def test_every_column_equals_a_count_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    spec = full_spec()
    assert built(FAMILY, events, as_of, spec) == {
        user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()
    }


@pytest.mark.parametrize(
    ("days", "reachable"),
    [
        ({"send": 5}, 1),
        ({"unsubscribe": 5}, 0),
        ({"send": 5, "bounce": 5}, 0),
        ({"send": 5, "complaint": 4}, 0),
        ({"send": 5, "unsubscribe": 6}, 1),
        ({"visit": 5}, 1),
    ],
)
def test_who_left_and_was_written_to_again_is_reachable(days: dict[str, int], reachable: int) -> None:
    events = [Daily(0, kind, date(2024, 2, 28 - ago)) for kind, ago in days.items()]
    assert built(FAMILY, events, DAY, full_spec())[0]["reachable"] == reachable


@pytest.mark.parametrize(
    ("roles", "columns"),
    [
        ({}, []),
        ({"send": "send"}, ["funnel_sent_count_3d", "funnel_delivered_count_3d"]),
        (
            {"send": "send", "bounce": "bounce"},
            ["funnel_sent_count_3d", "funnel_delivered_count_3d", "funnel_bounce_rate_3d", "reachable"],
        ),
        ({"open": "open"}, ["funnel_open_count_3d", "days_since_human_open"]),
        ({"unsubscribe": "unsubscribe"}, ["reachable"]),
    ],
)
def test_columns_need_their_roles(roles: dict[str, str], columns: list[str]) -> None:
    spec = spec_of(("purchase", "send", "bounce", "open", "unsubscribe"), windows=(3,), **roles)
    assert [feature.name for feature in FAMILY.features(spec)] == columns
    events = [Daily(0, kind, date(2024, 2, 29)) for kind in ("send", "open", "unsubscribe")]
    if columns:
        assert list(built(FAMILY, events, DAY, spec)[0]) == columns


def test_opens_and_clicks_need_the_purpose_of_tracking() -> None:
    purposes = {feature.name: feature.purposes for feature in FAMILY.features(full_spec())}
    tracked = {name for name, agreed in purposes.items() if "email_tracking" in agreed}
    assert tracked == {name for name in purposes if "open" in name or "click" in name}
    assert all("profiling" in agreed for agreed in purposes.values())
