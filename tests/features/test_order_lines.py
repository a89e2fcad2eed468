from __future__ import annotations

from dataclasses import replace

import pytest

from engine.features.order_lines import number_orders
from tests.features.event_rows import Row, frame_of, spec_of

SPEC = spec_of("buy", purchase="buy")
# User, order id, n.
LINES = [(1, 7, 0), (0, 7, 1), (1, 7, 1), (0, None, 1), (0, 0, 1), (0, None, 1), (1, 2**64 - 1, 1), (0, None, 0)]


@pytest.mark.parametrize(
    ("columns", "orders"),
    [
        (("event_id",), [{(1, 7, 0), (1, 7, 1)}, {(0, 7, 1)}, {(0, 0, 1)}, {(1, 2**64 - 1, 1)}]),
        ((), [{line} for line in LINES if line[2] and line[1] is not None]),
    ],
)
def test_rows_with_one_id_and_user_are_one_order(
    columns: tuple[str, ...], orders: list[set[tuple[int, int | None, int]]]
) -> None:
    rows = [Row(user, "buy", 0, n, order=order) for user, order, n in LINES]
    lines, count = number_orders(frame_of(rows, SPEC), replace(SPEC, columns=columns))
    numbered: dict[int, list[tuple[int, int | None, int]]] = {}
    for number, *line in lines.select("order_number", "user", "order", "n").rows():
        numbered.setdefault(number, []).append(tuple(line))
    # Each row without an id is an order of its own, its further lines are of none.
    alone = [{(0, None, 1)}, {(0, None, 1)}]
    assert sorted(numbered) == list(range(count))
    found = [set(found) for found in numbered.values()]
    assert sorted(found, key=str) == sorted([*orders, *alone], key=str)
    assert lines["order_number"].is_sorted()
    assert lines["user"].is_sorted()
