from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.feature import Reads
from engine.features.items import FAMILY
from engine.features.spec import FeatureSpec
from tests.features.event_rows import Row, Values, built, day_of, in_window, instant, over, spec_of, with_absent

SPEC = spec_of("buy", "other", priced=["buy"], purchase="buy")
AS_OF = "2024-03-11"
DAY = 86_400_000_000
AS_OF_DAY = instant(AS_OF) // DAY
MAPPED = ("event_id", "item_id", "category", "quantity", "promotion")


def buy(time: str, **values: object) -> Row:
    return Row(0, "buy", instant(time), **values)  # type: ignore[arg-type]


def expected(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> dict[int, Values]:
    orders: dict[int, dict[object, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows):
        if row.type == "buy" and "event_id" in spec.columns and row.order is not None:
            orders[row.user][row.order].append(row)
        elif row.type == "buy" and row.n:
            orders[row.user][f"row {number}"].append(row)
    return {user: _row(list(found.values()), as_of_day, spec) for user, found in orders.items()}


def _row(orders: list[list[Row]], as_of_day: int, spec: FeatureSpec) -> Values:
    result: Values = {}
    mapped = set(spec.columns)
    for window in spec.windows:
        inside = [o for o in orders if in_window(min(day_of(line, spec) for line in o), as_of_day, window)]
        if "item_id" in mapped:
            items = [{line.item_id for line in order} - {None} for order in inside]
            often = Counter(item for order in items for item in order)
            named = [order for order in items if order]
            result[f"distinct_items_{window}d"] = len(often)
            result[f"repeat_item_share_{window}d"] = over(sum(times > 1 for times in often.values()), len(often))
            result[f"items_per_order_{window}d"] = over(sum(map(len, named)), len(named))
        if mapped & {"item_id", "quantity"}:
            known = [line.quantity if "quantity" in mapped else None for order in inside for line in order]
            pieces = sum(1 if quantity is None else min(abs(quantity), 10**9) for quantity in known)
            result[f"basket_size_{window}d"] = over(pieces, len(inside))
        if "category" in mapped:
            result.update(_categories([line for order in inside for line in order], window, spec))
        if "promotion" in mapped:
            used = sum(any(line.promotion is not None for line in order) for order in inside)
            result[f"promotion_orders_{window}d"] = used
            result[f"promotion_share_{window}d"] = over(used, len(inside))
    return result


def _categories(lines: list[Row], window: int, spec: FeatureSpec) -> Values:
    named = [(line.category, line.amount or 0) for line in lines if line.category is not None]
    count = Counter(category for category, _ in named)
    spent = {category: sum(amount for other, amount in named if other == category) for category in count}
    priced = spec.types[0].priced
    measure = spent if priced else count
    # Names are compared as UTF-8 bytes.
    ranked = sorted(count, key=lambda name: (-measure[name], -count[name], name.encode()))
    return {
        f"distinct_categories_{window}d": len(count),
        f"favourite_category_{window}d": ranked[0] if ranked else None,
        f"favourite_category_share_{window}d": over(measure[ranked[0]], sum(measure.values())) if ranked else None,
    }


ROWS = st.lists(
    st.builds(
        Row,
        user=st.integers(0, 1),
        type=st.sampled_from(["buy", "buy", "buy", "other"]),
        time=st.integers(-20, -1).map(lambda half: instant(AS_OF) + half * DAY // 2),
        n=st.sampled_from([1, 1, 0]),
        amount=st.one_of(st.none(), st.sampled_from([-200, 0, 100, 200])),
        quantity=st.one_of(st.none(), st.integers(-3, 5), st.sampled_from([2**63 - 1, -(2**63)])),
        order=st.sampled_from([None, 0, 1, 2, 2**64 - 1]),
        item_id=st.sampled_from([None, "", "a", "b", "c"]),
        category=st.sampled_from([None, "shoes", "Shoes", "été", "hats"]),
        promotion=st.sampled_from([None, None, "spring"]),
    ),
    max_size=30,
)


@given(rows=ROWS, columns=st.sets(st.sampled_from(MAPPED)), priced=st.booleans())
def test_every_feature_is_that_of_the_oracle(rows: list[Row], columns: set[str], priced: bool) -> None:
    types = spec_of("buy", "other", priced=["buy"] if priced else []).types
    spec = replace(SPEC, columns=tuple(columns), types=types)
    if columns - {"event_id"}:
        assert built(FAMILY, rows, AS_OF, spec) == expected(rows, AS_OF_DAY, spec)
    else:
        assert FAMILY.features(spec) == ()
        assert FAMILY.reads(spec) == Reads(frozenset())


CATEGORIES = [
    # Category and amount of each line; the favourite and its share.
    ([("hats", 100), ("shoes", 300)], "shoes", 0.75),
    ([("shoes", 100), ("hats", 100)], "hats", 0.5),
    ([("shoes", 50), ("shoes", 50), ("hats", 100)], "shoes", 0.5),
    ([("shoes", None), ("hats", None), ("shoes", None)], "shoes", None),
    ([("shoes", -100), ("hats", 100)], "hats", None),
    ([(None, 900), ("hats", 100)], "hats", 1.0),
    ([(None, 900)], None, None),
]


@pytest.mark.parametrize(("lines", "favourite", "share"), CATEGORIES)
def test_the_favourite_category(
    lines: list[tuple[str | None, int | None]], favourite: str | None, share: float | None
) -> None:
    rows = [buy("2024-03-10 10:00", category=category, amount=amount, order=1) for category, amount in lines]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert found["favourite_category_2d"] == favourite
    assert found["favourite_category_share_2d"] == share


def test_lines_follow_the_first_line_of_their_order() -> None:
    rows = [buy("2024-03-08 23:59", order=1, item_id="a"), buy("2024-03-09 00:01", order=1, item_id="b", n=0)]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert (found["distinct_items_2d"], found["distinct_items_7d"], found["basket_size_7d"]) == (0, 2, 2.0)


def test_an_item_twice_in_one_order_is_not_repeated() -> None:
    once = [buy("2024-03-10 10:00", order=1, item_id="a"), buy("2024-03-10 10:00", order=1, item_id="a", n=0)]
    again = buy("2024-03-05 10:00", order=2, item_id="a")
    assert built(FAMILY, once, AS_OF, SPEC)[0]["repeat_item_share_7d"] == 0
    found = built(FAMILY, [*once, again], AS_OF, SPEC)[0]
    assert (found["repeat_item_share_2d"], found["repeat_item_share_7d"]) == (0.0, 1.0)
    third = buy("2024-03-06 10:00", order=3, item_id="a")
    other = buy("2024-03-06 10:00", order=3, item_id="b")
    assert built(FAMILY, [*once, again, third, other], AS_OF, SPEC)[0]["repeat_item_share_7d"] == 0.5


def test_users_without_purchases_have_counts_of_zero() -> None:
    found = with_absent(built(FAMILY, [], AS_OF, SPEC), [0], FAMILY, SPEC)[0]
    zeros = ("distinct_items", "distinct_categories", "promotion_orders")
    assert {name: value for name, value in found.items() if value is not None} == {
        f"{name}_{window}d": 0 for name in zeros for window in SPEC.windows
    }


def test_it_reads_what_it_needs() -> None:
    read = frozenset({"item_id", "category", "quantity", "promotion", "order", "amount"})
    assert FAMILY.reads(SPEC) == Reads(frozenset({"buy"}), read)
    assert FAMILY.reads(replace(SPEC, columns=("item_id", "amount"))).columns == {"item_id"}
    assert FAMILY.features(replace(SPEC, purchase=None)) == ()
