"""Score cards by their usual names: rules, classes and labels, made for the roles that the configuration names.

- `behaviour`: +10 per open, +20 per click, +30 per item put in the cart, +50 per purchase, in the whole history. No
  source gives cut-offs of the classes low, medium and high: more than 20 points (two opens) and more than 60 (an open
  and a purchase) are Tamis' own.
- `value`: 10 points, linear, for purchases in 182 days, all of them at 4 (more than 3 in 6 months); 5 points,
  logarithmic, for the open rate, all of them at 0.5; 2 per comment or share, without a limit. `high_value` is over 30.
  The open rate is that of the window in `features.windows` nearest to 182 days, the longer of two.
- `engagement`: the engagement score 0–100 as points; over 70, 80 and 85 are `engaged`, `very_engaged` and `exclusive`.
- `maturity`: three ordinal classes over rules of one's own; over a third and over two thirds of 100 points are Tamis'
  own cut-offs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.config import Config, PointRule

HALF_YEAR_DAYS: Final = 182

Labels = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Preset:
    """A score card by its usual name.

    Attributes:
        rules: Those whose roles `[events]` names.
        classes: Points that must be exceeded, by class.
        base: The class of those who exceed none.
        labels: What people read instead of a class, by class and language.
        roles: Roles that some rule needs and `[events]` does not name; the rules are left out.
        notes: What people should know of how it was made.
    """

    rules: tuple[PointRule, ...]
    classes: dict[str, float]
    base: str
    labels: Labels
    roles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def preset_card(name: str, config: Config) -> Preset:
    """The preset with the event types and windows of a configuration.

    Args:
        name: behaviour, value, engagement or maturity.
        config: Names the event types of the roles, and the windows.
    """
    return {"behaviour": _behaviour, "value": _value, "engagement": _engagement, "maturity": _maturity}[name](config)


def _behaviour(config: Config) -> Preset:
    weights = {"open": 10, "click": 20, "cart_add": 30, "purchase": 50}
    roles = {role: getattr(config.events, role) for role in weights}
    return Preset(
        rules=tuple(PointRule(name=role, event=event, points=weights[role]) for role, event in roles.items() if event),
        classes={"high": 60, "medium": 20},
        base="low",
        labels={
            "high": {"en": "high", "fr": "élevé"},
            "medium": {"en": "medium", "fr": "moyen"},
            "low": {"en": "low", "fr": "faible"},
        },
        roles=tuple(role for role, event in roles.items() if not event),
    )


def _value(config: Config) -> Preset:
    rules = list(_value_rules(config))
    days = _nearest_window(config)
    return Preset(
        rules=tuple(rules),
        classes={"high_value": 30},
        base="standard",
        labels={
            "high_value": {"en": "high value", "fr": "valeur élevée"},
            "standard": {"en": "standard", "fr": "valeur standard"},
        },
        roles=tuple(
            role for role in ("purchase", "open", "send", "comment", "share") if not getattr(config.events, role)
        ),
        notes=(f"the open rate is that of {days} days, the window nearest to {HALF_YEAR_DAYS}",)
        if days != HALF_YEAR_DAYS and any(rule.value for rule in rules)
        else (),
    )


def _value_rules(config: Config) -> Iterator[PointRule]:
    events = config.events
    if events.purchase:
        yield PointRule(
            name="purchases",
            event=events.purchase,
            points=10,
            form="linear",
            full_at=4,
            window_days=HALF_YEAR_DAYS,
        )
    if events.open and events.send:
        column = f"open_rate_{_nearest_window(config)}d"
        yield PointRule(name="open_rate", value=column, points=5, form="log", full_at=0.5)
    for role in ("comment", "share"):
        event = getattr(events, role)
        if event:
            yield PointRule(name=role, event=event, points=2)


def _nearest_window(config: Config) -> int:
    return min(config.features.windows, key=lambda days: (abs(days - HALF_YEAR_DAYS), -days))


def _engagement(config: Config) -> Preset:
    del config
    return Preset(
        rules=(PointRule(name="engagement", value="engagement_score", points=1),),
        classes={"exclusive": 85, "very_engaged": 80, "engaged": 70},
        base="less_engaged",
        labels={
            "exclusive": {"en": "exclusive offer", "fr": "offre exclusive"},
            "very_engaged": {"en": "very engaged", "fr": "très engagé"},
            "engaged": {"en": "engaged", "fr": "engagé"},
            "less_engaged": {"en": "less engaged", "fr": "peu engagé"},
        },
    )


def _maturity(config: Config) -> Preset:
    del config
    return Preset(
        rules=(),
        classes={"innovator": 66, "intermediate": 33},
        base="traditional",
        labels={
            "innovator": {"en": "innovator", "fr": "innovant"},
            "intermediate": {"en": "intermediate", "fr": "intermédiaire"},
            "traditional": {"en": "traditional", "fr": "traditionnel"},
        },
    )
