from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.feature import Reads
from engine.features.orders import FAMILY
from engine.features.spec import FeatureSpec
from tests.features.event_rows import Row, Values, built, day_of, in_window, instant, over, spec_of, with_absent

SPEC = spec_of("buy", "refund", "other", priced=["buy", "refund"], purchase="buy", refund="refund")
AS_OF = "2024-03-11"
DAY = 86_400_000_000
AS_OF_DAY = instant(AS_OF) // DAY


def buy(time: str, amount: int | None = None, order: int | None = None, n: int = 1) -> Row:
    return Row(0, "buy", instant(time), n, amount, order=order)


def refund(time: str, amount: int | None = None, order: int | None = None) -> Row:
    return Row(0, "refund", instant(time), 1, amount, order=order)


def expected(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> dict[int, Values]:
    ids = "event_id" in spec.columns
    orders: dict[tuple[int, object], list[Row]] = defaultdict(list)
    refunds: dict[tuple[int, object], list[Row]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.type == "buy" and ids and row.order is not None:
            orders[row.user, row.order].append(row)
        elif row.type == "buy" and row.n:
            orders[row.user, f"row {number}"].append(row)
        elif row.type == "refund" and row.order is not None:
            refunds[row.user, row.order].append(row)
    net: dict[int, list[tuple[int, int | None, bool]]] = defaultdict(list)
    for key, lines in orders.items():
        day = min(day_of(line, spec) for line in lines)
        amounts = [line.amount for line in lines if line.amount is not None]
        amount = sum(amounts) if amounts else None
        back = refunds[key] if ids and spec.refund else []
        given = sum(abs(row.amount) for row in back if row.amount is not None)
        cancelled = any(row.amount is None for row in back)
        if amount is not None and given:
            cancelled |= given >= amount
            amount -= given
        net[key[0]].append((day, amount, cancelled))
    return {user: _row(found, as_of_day, spec) for user, found in net.items()}


def _row(orders: list[tuple[int, int | None, bool]], as_of_day: int, spec: FeatureSpec) -> Values:
    kept = [(day, amount) for day, amount, cancelled in orders if not cancelled]
    unit = 10**spec.currency_digits
    last = max((day for day, _ in kept), default=None)
    result: Values = {"days_since_last_net_order": None if last is None else as_of_day - last}
    for window in spec.windows:
        every = [day for day, _, _ in orders if in_window(day, as_of_day, window)]
        inside = [(day, amount) for day, amount in kept if in_window(day, as_of_day, window)]
        amounts = [amount for _, amount in inside if amount is not None]
        result[f"order_count_net_{window}d"] = len(inside)
        result[f"order_amount_net_{window}d"] = sum(amounts) / unit
        result[f"order_amount_max_{window}d"] = max(amounts) / unit if amounts else None
        result[f"order_amount_min_{window}d"] = min(amounts) / unit if amounts else None
        result[f"order_amount_median_{window}d"] = 2 * median(amounts) / (2 * unit) if amounts else None
        if spec.refund and "event_id" in spec.columns:
            result[f"order_cancelled_share_{window}d"] = over(len(every) - len(inside), len(every))
    return result


ROWS = st.lists(
    st.builds(
        Row,
        user=st.integers(0, 1),
        type=st.sampled_from(["buy", "buy", "buy", "refund", "other"]),
        time=st.integers(-20, -1).map(lambda half: instant(AS_OF) + half * DAY // 2),
        n=st.sampled_from([1, 1, 0]),
        amount=st.one_of(st.none(), st.integers(-300, 900), st.just(10**13)),
        order=st.sampled_from([None, 0, 1, 2, 2**64 - 1]),
    ),
    max_size=30,
)


@given(
    rows=ROWS,
    refunds=st.sampled_from(["refund", None]),
    columns=st.sampled_from([("event_id", "amount"), ("amount",)]),
    digits=st.sampled_from([0, 2, 3]),
)
def test_every_feature_is_that_of_the_oracle(
    rows: list[Row], refunds: str | None, columns: tuple[str, ...], digits: int
) -> None:
    spec = replace(SPEC, refund=refunds, columns=columns, currency_digits=digits)
    assert built(FAMILY, rows, AS_OF, spec) == expected(rows, AS_OF_DAY, spec)


REFUNDS = [
    # What came back for an order of 10.00: orders left, amount left, share cancelled.
    ([], 1, 10.0, 0.0),
    ([250], 1, 7.5, 0.0),
    ([-250], 1, 7.5, 0.0),
    ([250, 250], 1, 5.0, 0.0),
    ([0], 1, 10.0, 0.0),
    ([999, 2], 0, 0.0, 1.0),
    ([1000], 0, 0.0, 1.0),
    ([None], 0, 0.0, 1.0),
    ([100, None], 0, 0.0, 1.0),
]


@pytest.mark.parametrize(("back", "count", "amount", "share"), REFUNDS)
def test_a_refund_reaches_back_to_its_order(back: list[int | None], count: int, amount: float, share: float) -> None:
    # The order is out of the shorter window; the refunds are inside.
    rows = [buy("2024-03-05 10:00", 1000, 7), *(refund("2024-03-10 10:00", part, 7) for part in back)]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert found["order_count_net_7d"] == count
    assert found["order_amount_net_7d"] == amount
    assert found["order_cancelled_share_7d"] == share
    assert found["order_cancelled_share_2d"] is None
    assert found["days_since_last_net_order"] == (6 if count else None)


@pytest.mark.parametrize(("back", "count"), [(250, 1), (None, 0)])
def test_an_order_without_an_amount_is_cancelled_by_a_refund_without_one(back: int | None, count: int) -> None:
    found = built(FAMILY, [buy("2024-03-10 10:00", None, 7), refund("2024-03-10 11:00", back, 7)], AS_OF, SPEC)[0]
    assert (found["order_count_net_2d"], found["order_amount_net_2d"]) == (count, 0.0)
    assert found["order_amount_max_2d"] is None


def test_lines_of_an_order_are_one_order_of_the_day_of_the_first() -> None:
    rows = [buy("2024-03-09 00:00", 100, 1, n=0), buy("2024-03-08 23:59", 200, 1), buy("2024-03-10 08:00", 50)]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert [found[f"order_{name}_7d"] for name in ("count_net", "amount_max", "amount_min")] == [2, 3.0, 0.5]
    assert [found[f"order_{name}_2d"] for name in ("count_net", "amount_max", "amount_min")] == [1, 0.5, 0.5]


def test_refunds_without_an_order_or_of_another_user_change_nothing() -> None:
    rows = [buy("2024-03-10 10:00", 1000, 7), refund("2024-03-10 11:00"), refund("2024-03-10 11:00", 10, 8)]
    rows.append(replace(refund("2024-03-10 11:00", None, 7), user=1))
    found = built(FAMILY, rows, AS_OF, SPEC)
    assert set(found) == {0}
    assert found[0]["order_amount_net_2d"] == 10.0


def test_half_cents_of_a_median_are_kept() -> None:
    rows = [buy("2024-03-10 10:00", 57), buy("2024-03-10 11:00", 58)]
    assert built(FAMILY, rows, AS_OF, SPEC)[0]["order_amount_median_2d"] == 0.575


def test_users_without_purchases_have_no_orders() -> None:
    found = with_absent(built(FAMILY, [refund("2024-03-10 10:00")], AS_OF, SPEC), [0], FAMILY, SPEC)[0]
    sums = {"order_count_net_2d": 0, "order_count_net_7d": 0, "order_amount_net_2d": 0, "order_amount_net_7d": 0}
    assert {name: value for name, value in found.items() if value is not None} == sums


@pytest.mark.parametrize(
    ("changes", "types", "columns"),
    [
        ({}, {"buy", "refund"}, {"order", "amount"}),
        ({"columns": ("amount",)}, {"buy"}, {"amount"}),
        ({"refund": None}, {"buy"}, {"order", "amount"}),
        ({"types": spec_of("buy", "refund", "other").types}, {"buy", "refund"}, {"order"}),
        # Amounts given back tell a partial refund from a cancellation.
        ({"types": spec_of("buy", "refund", priced=["refund"]).types}, {"buy", "refund"}, {"order", "amount"}),
        ({"purchase": None}, set(), set()),
    ],
)
def test_it_reads_what_it_needs(changes: Values, types: set[str], columns: set[str]) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    assert FAMILY.reads(spec) == Reads(frozenset(types), frozenset(columns))
    assert bool(FAMILY.features(spec)) == bool(types)


def test_without_amounts_there_are_counts_alone() -> None:
    spec = replace(SPEC, types=spec_of("buy", "refund", "other").types)
    rows = [buy("2024-03-10 10:00", order=1), buy("2024-03-10 10:00", order=2), refund("2024-03-10 11:00", order=1)]
    found = built(FAMILY, rows, AS_OF, spec)[0]
    assert (found["order_count_net_2d"], found["order_cancelled_share_2d"]) == (1, 0.5)
    assert not [name for name in found if "amount" in name]
