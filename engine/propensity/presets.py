"""Targets by their usual name: what a preset stands for in terms of event types, roles and populations.

| preset | predicts | of whom |
|---|---|---|
| `purchase` | a purchase | everyone |
| `repeat_purchase` | a purchase | who has bought before |
| `click` | a click | everyone |
| `coupon_use` | a coupon used | everyone |
| `unsubscribe` | an opt-out | everyone |
| `reactivation` | a purchase | whose last one is `features.reactivated_after_days` days old or more |
| `churn` | no purchase | whose last one is younger than that |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.config_features import Events
    from engine.config_learning import Target, TargetPreset


@dataclass(frozen=True)
class _Preset:
    """Of what a target is made.

    Attributes:
        role: The role in `[events]` whose event type is predicted.
        population: Condition over the days since the last such event; `{days}` and `{pause}` are filled in.
        absent: Whether it is the absence that is predicted.
    """

    role: str
    population: str | None = None
    absent: bool = False


_PRESETS: Final[dict[TargetPreset, _Preset]] = {
    "purchase": _Preset("purchase"),
    "repeat_purchase": _Preset("purchase", "{days} IS NOT NULL"),
    "click": _Preset("click"),
    "coupon_use": _Preset("coupon"),
    "unsubscribe": _Preset("unsubscribe"),
    "reactivation": _Preset("purchase", "{days} >= {pause}"),
    "churn": _Preset("purchase", "{days} < {pause}", absent=True),
}

FILLED: Final = ("event", "absent", "population")
"""Keys of a target that a preset gives."""


def missing_role(target: Target, events: Events) -> str | None:
    """What to set where a target's preset plays a role without an event type; None where nothing is missing."""
    if target.preset is None or target.event.strip():
        return None
    role = _PRESETS[target.preset].role
    if (getattr(events, role) or "").strip():
        return None
    return f"the preset {target.preset!r} needs an event type: set events.{role}, or event here"


def resolve(target: Target, events: Events, reactivated_after_days: int) -> Target:
    """The target with everything that its preset gives; what the target states itself is kept.

    A target that is resolved already comes out as it went in.

    Args:
        target: A target whose preset, if it has one, misses no role.
        events: Event types by role.
        reactivated_after_days: A last event this many days old or older is a pause.
    """
    if target.preset is None:
        return target
    preset = _PRESETS[target.preset]
    event = target.event if target.event.strip() else str(getattr(events, preset.role))
    changes: dict[str, object] = {"event": event}
    if "absent" not in target.model_fields_set:
        changes["absent"] = preset.absent
    if target.population is None and preset.population is not None:
        # Polars, which the names of columns are made with, is not loaded for a configuration without presets.
        from engine.features.spec import slug

        days = f"days_since_{slug(event)}"
        changes["population"] = preset.population.format(days=days, pause=reactivated_after_days)
    return target.model_copy(update=changes)
