from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from engine.config import Config, Target
from engine.config_file import load_config
from engine.config_learning import TargetPreset
from engine.errors import ConfigError

COLUMNS = {"user_id": "u", "event_type": "t", "event_time": "e"}
EVENTS = {"purchase": "Achat été", "click": "mail click", "coupon": "coupon", "unsubscribe": "opt-out"}
BOUGHT = "days_since_achat_ete"


def resolved(target: dict[str, Any], events: dict[str, Any] | None = None, **sections: Any) -> Target:
    config = Config.model_validate(
        {
            "sources": ({"name": "log", "path": "log.parquet", "columns": COLUMNS},),
            "events": EVENTS if events is None else events,
            "targets": ({"name": "t", **target},),
            **sections,
        }
    )
    assert Config.model_validate(config.model_dump()) == config
    return config.targets[0]


@pytest.mark.parametrize(
    ("preset", "event", "absent", "population"),
    [
        ("purchase", "Achat été", False, None),
        ("repeat_purchase", "Achat été", False, f"{BOUGHT} IS NOT NULL"),
        ("click", "mail click", False, None),
        ("coupon_use", "coupon", False, None),
        ("unsubscribe", "opt-out", False, None),
        ("reactivation", "Achat été", False, f"{BOUGHT} >= 45"),
        ("churn", "Achat été", True, f"{BOUGHT} < 45"),
    ],
)
def test_what_a_preset_stands_for(preset: str, event: str, absent: bool, population: str | None) -> None:
    target = resolved({"preset": preset}, features={"reactivated_after_days": 45})
    assert (target.event, target.absent, target.population) == (event, absent, population)
    assert (target.where, target.horizon_days, target.preset) == (None, 30, preset)


def test_every_preset_can_be_used() -> None:
    assert {resolved({"preset": preset}).event for preset in get_args(TargetPreset)} == set(EVENTS.values())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"preset": "churn", "population": "tenure_days > 5"}, ("Achat été", True, "tenure_days > 5")),
        ({"preset": "churn", "absent": False}, ("Achat été", False, f"{BOUGHT} < 90")),
        ({"preset": "churn", "event": "visit"}, ("visit", True, "days_since_visit < 90")),
        ({"preset": "purchase", "absent": True}, ("Achat été", True, None)),
        ({"preset": "purchase", "population": "tenure_days > 5"}, ("Achat été", False, "tenure_days > 5")),
        ({"event": "visit"}, ("visit", False, None)),
        ({"event": "visit", "absent": True, "population": "tenure_days > 5"}, ("visit", True, "tenure_days > 5")),
    ],
)
def test_what_the_file_states_wins(target: dict[str, Any], expected: tuple[str, bool, str | None]) -> None:
    found = resolved({**target, "where": "amount > 1", "horizon_days": 7})
    assert (found.event, found.absent, found.population) == expected
    assert (found.where, found.horizon_days) == ("amount > 1", 7)


@pytest.mark.parametrize(
    ("preset", "role"),
    [
        ("purchase", "purchase"),
        ("repeat_purchase", "purchase"),
        ("click", "click"),
        ("coupon_use", "coupon"),
        ("unsubscribe", "unsubscribe"),
        ("reactivation", "purchase"),
        ("churn", "purchase"),
    ],
)
def test_a_preset_without_its_role_says_what_to_set(preset: str, role: str) -> None:
    for events in ({}, {**EVENTS, role: " "}):
        with pytest.raises(ValueError, match=f"'{preset}' needs an event type: set events.{role}"):
            resolved({"preset": preset}, events=events)
    assert resolved({"preset": preset, "event": "visit"}, events={}).event == "visit"


FILE = """\
[[sources]]
name = "log"
path = "log.parquet"
columns = { user_id = "u", event_type = "t", event_time = "e" }

[[targets]]
name = "gone"
preset = "churn"
horizon_days = 14

[[targets]]
name = "clicks"
preset = "click"
"""


def test_every_preset_that_misses_its_role_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tamis.toml"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "2 problems" in caught.value.message
    assert "line 8: targets.gone.preset: the preset 'churn'" in caught.value.message
    assert "set events.purchase" in caught.value.message
    assert "line 13: targets.clicks.preset: the preset 'click'" in caught.value.message


def test_values_of_a_preset_are_shown_with_their_origin(tmp_path: Path) -> None:
    file = tmp_path / "tamis.toml"
    file.write_text(FILE, encoding="utf-8")
    loaded = load_config(file, overrides={"events.purchase": "order", "events.click": "tap"})
    shown = {key: (loaded.values[key], loaded.origins[key]) for key in loaded.values if key.startswith("targets.gone")}
    assert shown == {
        "targets.gone.name": ("gone", f"{file}:7"),
        "targets.gone.preset": ("churn", f"{file}:8"),
        "targets.gone.event": ("order", "preset churn"),
        "targets.gone.where": (None, "default"),
        "targets.gone.absent": (True, "preset churn"),
        "targets.gone.population": ("days_since_order < 90", "preset churn"),
        "targets.gone.horizon_days": (14, f"{file}:9"),
        "targets.gone.purposes": ([], "default"),
    }
    stated = load_config(file, overrides={"events.click": "tap", "targets.gone.event": "visit"})
    assert stated.origins["targets.gone.event"] == "command line"
    assert stated.values["targets.gone.population"] == "days_since_visit < 90"
