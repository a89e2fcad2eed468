from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings

from engine.features.spec import FeatureSpec
from engine.features.value import FAMILY
from tests.features.dailies import Daily, Row, built, by_user, full_spec, histories, inside, over
from tests.features.specs import spec_of


def expected(events: list[Daily], as_of: date, spec: FeatureSpec) -> Row:
    row: Row = {}
    for window in spec.windows:
        purchases, refunds = (inside(events, as_of, window, kind) for kind in ("purchase", "refund"))
        spent = sum(event.amount for event in purchases)
        returned = 0
        for day in {event.day for event in refunds}:
            returned += abs(sum(event.amount for event in refunds if event.day == day))
        row |= {
            f"purchase_mean_amount_{window}d": over(spent, 100 * len(purchases)),
            f"purchase_net_count_{window}d": len(purchases) - len(refunds),
            f"refund_rate_{window}d": over(len(refunds), len(purchases)),
            f"purchase_net_amount_{window}d": (spent - returned) / 100,
            f"refunded_share_{window}d": over(returned, spent),
        }
    return row


@given(history=histories(("purchase", "refund", "visit")))
@settings(max_examples=60)
def test_every_column_equals_a_sum_in_plain_python(history: tuple[date, list[Daily]]) -> None:
    as_of, events = history
    spec = full_spec()
    assert built(FAMILY, events, as_of, spec) == {
        user: expected(own, as_of, spec) for user, own in by_user(events, as_of).items()
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_a_refund_is_given_back_whatever_its_sign(sign: int) -> None:
    events = [Daily(0, "purchase", date(2024, 2, 28), 1057), Daily(0, "refund", date(2024, 2, 29), sign * 57)]
    row = built(FAMILY, events, date(2024, 3, 1), full_spec())[0]
    assert (row["purchase_net_amount_3d"], row["refunded_share_3d"]) == (10.0, 57 / 1057)


@pytest.mark.parametrize(
    ("priced", "roles", "columns"),
    [
        ((), {}, []),
        (("purchase",), {}, ["purchase_mean_amount_3d"]),
        (("purchase",), {"refund": "refund"}, ["purchase_mean_amount_3d", "purchase_net_count_3d", "refund_rate_3d"]),
        (("purchase",), {"purchase": None, "refund": "refund"}, []),
    ],
)
def test_columns_need_roles_and_amounts(
    priced: tuple[str, ...], roles: dict[str, str | None], columns: list[str]
) -> None:
    spec = spec_of(("purchase", "refund"), priced, windows=(3,), **roles)
    assert [feature.name for feature in FAMILY.features(spec)] == columns
