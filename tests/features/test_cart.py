from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.cart import FAMILY
from engine.features.feature import Reads
from engine.features.spec import FeatureSpec
from tests.features.event_rows import Row, Values, built, day_of, in_window, instant, over, spec_of, with_absent

SPEC = spec_of("add", "remove", "buy", "other", priced=["add"], cart_add="add", cart_remove="remove", purchase="buy")
AS_OF = "2024-03-11"
HOUR = 3_600_000_000
AS_OF_DAY = instant(AS_OF) // (24 * HOUR)
LIMIT = 10**9


@dataclass
class Cart:
    begun: int
    last_add: int
    level: Counter[str | None] = field(default_factory=Counter)
    pieces: Counter[str | None] = field(default_factory=Counter)
    paid: Counter[str | None] = field(default_factory=Counter)
    end: str = "open"


def expected(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> dict[int, Values]:
    kinds = [name for name in (spec.cart_add, spec.cart_remove, spec.purchase) if name is not None]
    used = sorted((row for row in rows if row.type in kinds), key=lambda row: (row.time, kinds.index(row.type)))
    return {user: _row([r for r in used if r.user == user], as_of_day, spec) for user in {r.user for r in used}}


def _played(rows: list[Row], spec: FeatureSpec) -> list[Cart]:
    carts: list[Cart] = []
    for row in rows:
        if not carts or carts[-1].end != "open":
            carts.append(Cart(-1, -1))
        cart, item, pieces, day = carts[-1], _item(row, spec), _pieces(row, spec), day_of(row, spec)
        if row.type == "add" and pieces:
            cart.begun = day if cart.begun < 0 else cart.begun
            cart.last_add = day
            cart.level[item] += pieces
            cart.pieces[item] += pieces
        if row.type == "add" and cart.begun >= 0:
            cart.paid[item] += row.amount or 0
        if row.type == "remove":
            cart.level[item] = max(0, cart.level[item] - pieces)
        if cart.begun >= 0 and row.type == "buy":
            cart.end = "bought"
        elif cart.begun >= 0 and not cart.level.total():
            cart.end = "emptied"
    return [cart for cart in carts if cart.begun >= 0]


def _row(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> Values:
    begun = _played(rows, spec)
    open_cart = begun[-1] if begun and begun[-1].end == "open" else None
    touched = [day_of(row, spec) for row in rows if row.type != "buy"]
    left = open_cart.level if open_cart else Counter()
    result: Values = {
        "cart_items_left": left.total(),
        "days_since_last_cart": as_of_day - max(touched) if touched else None,
    }
    if spec.types[0].priced:
        worth = (
            [open_cart.paid[item] * left[item] // open_cart.pieces[item] for item in left if left[item]]
            if open_cart
            else []
        )
        result["cart_value_left"] = sum(worth) / 10**spec.currency_digits
    for window in spec.windows:
        inside = [row for row in rows if in_window(day_of(row, spec), as_of_day, window)]
        moved: Counter[str | None] = Counter()
        for row in inside:
            moved[_item(row, spec)] += {"add": 1, "remove": -1, "buy": 0}[row.type] * _pieces(row, spec)
        started = [cart for cart in begun if in_window(cart.begun, as_of_day, window)]
        bought = sum(cart.end == "bought" for cart in started)
        result[f"cart_adds_{window}d"] = sum(row.n for row in inside if row.type == "add")
        if spec.cart_remove:
            result[f"cart_removes_{window}d"] = sum(row.n for row in inside if row.type == "remove")
        result[f"cart_net_items_{window}d"] = sum(max(0, net) for net in moved.values())
        result[f"carts_{window}d"] = len(started)
        result[f"carts_abandoned_{window}d"] = len(started) - bought
        if spec.purchase:
            result[f"cart_conversion_{window}d"] = over(bought, len(started))
        result[f"cart_abandoned_{window}d"] = int(
            open_cart is not None and in_window(open_cart.last_add, as_of_day, window)
        )
    return result


def _item(row: Row, spec: FeatureSpec) -> str | None:
    return row.item_id if "item_id" in spec.columns else None


def _pieces(row: Row, spec: FeatureSpec) -> int:
    known = row.quantity if "quantity" in spec.columns else None
    return 1 if known is None else min(abs(known), LIMIT)


ROWS = st.lists(
    st.builds(
        Row,
        user=st.integers(0, 1),
        type=st.sampled_from(["add", "add", "add", "remove", "remove", "buy", "other"]),
        # Six hours apart over ten days, so that many are at the same instant.
        time=st.integers(-40, -1).map(lambda step: instant(AS_OF) + 6 * HOUR * step),
        n=st.sampled_from([1, 1, 1, 0]),
        amount=st.one_of(st.none(), st.integers(-500, 1000)),
        quantity=st.one_of(st.none(), st.integers(-2, 4), st.sampled_from([2**63 - 1, -(2**63)])),
        item_id=st.sampled_from([None, "a", "b", ""]),
    ),
    max_size=40,
)


@given(
    rows=ROWS,
    columns=st.sets(st.sampled_from(["item_id", "quantity"])).map(tuple),
    roles=st.sampled_from(
        [{}, {"cart_remove": None}, {"purchase": None}, {"types": spec_of("add", "remove", "buy").types}]
    ),
)
def test_every_feature_is_that_of_the_oracle(rows: list[Row], columns: tuple[str, ...], roles: Values) -> None:
    spec = replace(SPEC, columns=columns, **roles)  # type: ignore[arg-type]
    known = [row for row in rows if row.type in spec.type_names]
    assert built(FAMILY, known, AS_OF, spec) == expected(known, AS_OF_DAY, spec)


def steps(text: str) -> list[Row]:
    """An event per word, an hour apart on the last day: `+a2` adds two of a, `-a` removes one, `buy` buys."""
    rows = []
    for hour, word in enumerate(text.split()):
        kind = {"+": "add", "-": "remove"}.get(word[0], "buy")
        item, quantity = (None, None) if kind == "buy" else (word[1], int(word[2:] or 1))
        amount = 100 * quantity if quantity and kind == "add" else None
        time = instant(f"2024-03-10 {hour:02}:00")
        rows.append(Row(0, kind, time, amount=amount, quantity=quantity, item_id=item))
    return rows


@pytest.mark.parametrize(
    ("text", "carts", "abandoned", "open_cart", "left"),
    [
        ("+a", 1, 1, 1, 1),
        ("+a buy", 1, 0, 0, 0),
        ("+a -a", 1, 1, 0, 0),
        ("+a -a buy", 1, 1, 0, 0),
        ("+a2 -a", 1, 1, 1, 1),
        ("+a -b", 1, 1, 1, 1),
        ("-a +a", 1, 1, 1, 1),
        ("+a -a3 +a", 2, 2, 1, 1),
        ("+a buy -a +b2", 2, 1, 1, 2),
        ("+a0", 0, 0, 0, 0),
        ("buy", 0, 0, 0, 0),
        ("+a +b -a -b +c buy", 2, 1, 0, 0),
    ],
)
def test_carts_begin_and_end(text: str, carts: int, abandoned: int, open_cart: int, left: int) -> None:
    found = built(FAMILY, steps(text), AS_OF, SPEC)[0]
    names = ("carts_2d", "carts_abandoned_2d", "cart_abandoned_2d", "cart_items_left", "cart_value_left")
    assert [found[name] for name in names] == [carts, abandoned, open_cart, left, float(left)]


def test_a_purchase_at_the_instant_of_an_add_comes_after_it() -> None:
    rows = [replace(row, time=instant("2024-03-10 10:00")) for row in steps("+a buy")]
    assert built(FAMILY, rows, AS_OF, SPEC)[0]["cart_conversion_2d"] == 1.0


def test_a_cart_converts_in_the_windows_of_its_beginning() -> None:
    rows = [Row(0, "add", instant("2024-03-05 10:00")), Row(0, "buy", instant("2024-03-10 10:00"))]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert (found["cart_conversion_2d"], found["cart_conversion_7d"], found["days_since_last_cart"]) == (None, 1.0, 6)


@pytest.mark.parametrize(("first", "abandoned"), [("2024-03-08 23:59", 0), ("2024-03-09 00:00", 1)])
def test_an_open_cart_is_abandoned_in_the_windows_of_its_last_add(first: str, abandoned: int) -> None:
    rows = [Row(0, "add", instant("2024-03-01 10:00"), item_id="a"), Row(0, "add", instant(first), item_id="b")]
    found = built(FAMILY, rows, AS_OF, SPEC)[0]
    assert (found["cart_abandoned_2d"], found["carts_7d"], found["cart_items_left"]) == (abandoned, 0, 2)


def test_what_is_left_is_worth_its_share_of_the_adds() -> None:
    rows = [
        Row(0, "add", instant("2024-03-10 10:00"), amount=1000, quantity=3, item_id="a"),
        Row(0, "add", instant("2024-03-10 10:00"), amount=500, item_id="b"),
        Row(0, "remove", instant("2024-03-10 11:00"), amount=333, item_id="a"),
    ]
    assert built(FAMILY, rows, AS_OF, SPEC)[0]["cart_value_left"] == 11.66


def test_what_comes_before_a_cart_begins_is_not_part_of_its_worth() -> None:
    before = Row(1, "add", instant("2024-03-10 09:00"), amount=100, quantity=0, item_id="a")
    add = Row(1, "add", instant("2024-03-10 10:00"), amount=50, item_id="a")
    found = built(FAMILY, [replace(add, user=0), before, add], AS_OF, SPEC)
    assert [found[user]["cart_value_left"] for user in (0, 1)] == [0.5, 0.5]


def test_the_largest_amounts_and_quantities_do_not_wrap_around() -> None:
    huge = np.iinfo(np.int64).max
    rows = [Row(0, "add", instant("2024-03-10 10:00"), amount=10**13, quantity=huge, item_id="a")] * 50
    found = built(FAMILY, [*rows, replace(rows[0], type="remove")], AS_OF, SPEC)[0]
    assert found["cart_items_left"] == 49 * LIMIT
    assert found["cart_value_left"] == 49 * 10**11


def test_users_without_a_cart() -> None:
    found = with_absent(built(FAMILY, [], AS_OF, SPEC), [0], FAMILY, SPEC)[0]
    assert {name for name, value in found.items() if value is None} == {
        "cart_conversion_2d",
        "cart_conversion_7d",
        "days_since_last_cart",
    }
    assert {value for value in found.values() if value is not None} == {0}


def test_it_reads_what_it_needs() -> None:
    types = frozenset({"add", "remove", "buy"})
    assert FAMILY.reads(SPEC) == Reads(types, frozenset({"item_id", "quantity", "amount"}))
    assert FAMILY.reads(replace(SPEC, columns=())) == Reads(types, frozenset({"amount"}))
    assert FAMILY.reads(replace(SPEC, cart_add=None)) == Reads(frozenset())
    assert FAMILY.features(replace(SPEC, cart_add=None)) == ()
