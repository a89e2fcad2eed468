from __future__ import annotations

from typing import Any

import pytest

from engine.config import Columns, Config, Source, Value
from engine.features.configured import ConfiguredTypes, configured_types


def source(event_type: str, *, constant: bool = False, **columns: str) -> Source:
    kind = Value(value=event_type) if constant else event_type
    mapped = Columns(user_id="u", event_type=kind, event_time="e", **columns)  # type: ignore[arg-type]
    return Source(name=f"s{event_type}", path="x", columns=mapped)


@pytest.mark.parametrize(
    ("sources", "sections", "expected"),
    [
        ([source("t")], {}, ConfiguredTypes((), frozenset(), complete=False)),
        (
            [source("buy", constant=True, amount="a"), source("see", constant=True)],
            {},
            ConfiguredTypes(("buy", "see"), frozenset({"buy"}), complete=True),
        ),
        (
            [source("t", amount="a")],
            {"events": {"types": ("c", "a", "b"), "purchase": "a", "refund": "b"}},
            ConfiguredTypes(("c", "a", "b"), frozenset({"a", "b"}), complete=True),
        ),
        (
            [source("t")],
            {
                "events": {"open": "o", "cart_add": "d"},
                "engagement": {"weights": {"w": 1}},
                "targets": [{"name": "x", "event": "g"}],
                "features": {"events": [{"name": "d", "event": "p", "where": "amount > 1"}]},
            },
            ConfiguredTypes(("o", "w", "g", "p"), frozenset(), complete=False),
        ),
        (
            [source("t", machine="m")],
            {"events": {"open": "o"}},
            ConfiguredTypes(("o", "o_machine"), frozenset(), complete=False),
        ),
        (
            [source("t")],
            {"events": {"types": ("o", "c"), "open": "o", "click": "c"}, "machines": {"open_within_seconds": 2}},
            ConfiguredTypes(("o", "c", "o_machine", "c_machine"), frozenset(), complete=True),
        ),
    ],
)
def test_types_that_a_configuration_names(
    sources: list[Source], sections: dict[str, Any], expected: ConfiguredTypes
) -> None:
    assert configured_types(Config.model_validate({"sources": sources, **sections})) == expected
