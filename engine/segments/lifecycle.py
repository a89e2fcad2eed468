"""Lifecycle stages by their usual names, as rules: of each preset a user is in exactly one stage.

The rules of a preset are tried from top to bottom and the first that holds wins; their last ones leave nobody out. Only
two numbers come from marketing practice: a subscriber is active with an interaction less than 7 days ago, and inactive
from 30 days without one. All other cut-offs are choices made here, to be changed in `cutoffs`. Days count from the day
of an event to as_of: an event of the day before as_of is 1 day old. An interaction is an event with one of the roles
`open`, `click`, `reply`, `page_view`, `cart_add`, `coupon`, `purchase`, `comment` and `share`, as far as there is an
event type for it; opens and clicks of machines are none.

`subscriber` (needs `open` or `click`):

1. `unsubscribed`, where there is the role `unsubscribe`: an opt-out, and no message sent on a later day.
2. `new_subscriber`: first event less than `new_days` (30) ago.
3. `inactive_subscriber`: no interaction less than `inactive_days` (30) ago.
4. `at_risk_subscriber`: at least `at_risk_interactions` (4) in the `at_risk_days` (30) before the last `at_risk_days`,
   and in the last `at_risk_days` at most `at_risk_share` (0.5) of that: still there, but only by half.
5. `mature_subscriber`: first event at least `mature_days` (365) ago.
6. `active_subscriber`: an interaction less than `active_days` (7) ago.
7. `recently_inactive_subscriber`: the last interaction from `active_days` to less than `inactive_days` ago.

`activity`: the state of each user on the last day before as_of (the growth accounting of daily active users; states and
cut-offs as in retentioneering). An action is an event of any type but sends, bounces, opt-outs, spam complaints and
refunds, and not of a machine:

1. `activity_new`: the first action was on that day.
2. `activity_current`: an action on that day, the one before at most `week_days` (7) earlier.
3. `activity_reactivated`: the one before more than `week_days` and at most `month_days` (30) earlier.
4. `activity_resurrected`: the one before more than `month_days` earlier.
5. `activity_at_risk_weekly`: no action on that day, the last at most `week_days` earlier.
6. `activity_at_risk_monthly`: the last more than `week_days` and at most `month_days` earlier.
7. `activity_dormant`: the last more than `month_days` earlier, or never one.

`buyer` (needs `purchase`):

1. `never_bought`: no purchase.
2. `inactive_buyer`: the last purchase at least `inactive_days` (182) ago.
3. `regular_buyer`: purchases on at least `regular_purchases` (3) days of the last `regular_days` (182).
4. `occasional_buyer`: the other buyers.

`prospect` (needs `purchase` and an interaction beside it):

1. `customer`: a purchase.
2. `hot_prospect`: at least `hot_interactions` (3) interactions in the last `hot_days` (30).
3. `cold_prospect`: fewer.

`funnel` (needs `purchase`, and an interaction beside it and `open`):

1. `loyalty`: purchases on at least `loyal_purchases` (2) days.
2. `decision`: a purchase, or where there is the role `cart_add`, something put in the cart less than `decision_days`
   (30) ago.
3. `consideration`: an interaction other than an open less than `consideration_days` (90) ago.
4. `awareness`: everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from engine.config import Config, Events, Lifecycle
from engine.config_segments import LifecyclePreset
from engine.errors import ConfigError
from engine.segments.definition import Definition
from engine.segments.labels import labels_of
from engine.suggest import did_you_mean

INTERACTIONS: Final = ("open", "click", "reply", "page_view", "cart_add", "coupon", "purchase", "comment", "share")
"""Roles of event types by which a user shows interest."""

CUTOFFS: Final[Mapping[LifecyclePreset, Mapping[str, float]]] = {
    "subscriber": {
        "new_days": 30,
        "active_days": 7,
        "inactive_days": 30,
        "mature_days": 365,
        "at_risk_days": 30,
        "at_risk_interactions": 4,
        "at_risk_share": 0.5,
    },
    "activity": {"week_days": 7, "month_days": 30},
    "buyer": {"inactive_days": 182, "regular_days": 182, "regular_purchases": 3},
    "prospect": {"hot_days": 30, "hot_interactions": 3},
    "funnel": {"loyal_purchases": 2, "decision_days": 30, "consideration_days": 90},
}
"""The usual cut-offs of each preset."""

_SHARES: Final = frozenset({"at_risk_share"})
_ASCENDING: Final[Mapping[LifecyclePreset, tuple[str, str]]] = {
    "subscriber": ("active_days", "inactive_days"),
    "activity": ("week_days", "month_days"),
}
"""Cut-offs of which the second must not be smaller: a stage lies between them."""

Cut = Callable[[str], str]
Rules = dict[str, str]


def lifecycle_definitions(entry: Lifecycle, config: Config) -> tuple[Definition, ...]:
    """The stages of a preset as definitions of one exclusive group, in the order in which they are tried.

    Args:
        entry: The preset and its cut-offs.
        config: The configuration; its event types with a role stand in the rules.

    Raises:
        ConfigError: Cut-offs that do not exist or cannot be, roles without an event type: all that is wrong.
    """
    problems = [*_cutoff_problems(entry), *_role_problems(entry.preset, config.events)]
    if problems:
        raise ConfigError(
            f"the lifecycle preset {entry.preset!r} cannot be used\n" + "\n".join(f"  {line}" for line in problems),
            code="lifecycle-preset",
            hint="Name the event types of the roles in [events]; docs/rules.md has the cut-offs of each preset.",
        )
    values = _values(entry)
    rules = _RULES[entry.preset](config.events, lambda name: f"{values[name]:.15g}")
    return tuple(
        Definition(
            name=name,
            kind="lifecycle",
            group=entry.preset,
            where=where,
            labels=labels_of(name),
            campaigns=entry.campaigns,
            description=f"Stage of the lifecycle preset {entry.preset!r}.",
        )
        for name, where in rules.items()
    )


def _values(entry: Lifecycle) -> dict[str, float]:
    return {**CUTOFFS[entry.preset], **entry.cutoffs}


def _cutoff_problems(entry: Lifecycle) -> list[str]:
    known = CUTOFFS[entry.preset]
    listed = f" (known: {', '.join(known)})"
    problems = [
        f"cutoffs.{name}: unknown{did_you_mean(name, known) or listed}" for name in entry.cutoffs if name not in known
    ]
    for name, value in entry.cutoffs.items():
        if name in _SHARES and not 0 < value <= 1:
            problems.append(f"cutoffs.{name}: expected a share above 0 and at most 1, got {value:g}")
        elif name in known and name not in _SHARES and (value < 1 or value != int(value)):
            problems.append(f"cutoffs.{name}: expected a whole number of at least 1, got {value:g}")
    if entry.preset in _ASCENDING:
        small, large = _ASCENDING[entry.preset]
        values = _values(entry)
        if values[small] > values[large]:
            problems.append(f"cutoffs.{large} ({values[large]:g}) must not be below {small} ({values[small]:g})")
    return problems


def _role_problems(preset: LifecyclePreset, events: Events) -> list[str]:
    problems = []
    if preset in {"buyer", "prospect", "funnel"} and events.purchase is None:
        problems.append("events.purchase names no event type")
    needed = {"subscriber": ("open", "click"), "prospect": _but("purchase"), "funnel": _but("purchase", "open")}
    roles = needed.get(preset, ())
    if roles and not _types(events, roles):
        problems.append(f"none of {', '.join(f'events.{role}' for role in roles)} names an event type")
    return problems


def _subscriber(events: Events, cut: Cut) -> Rules:
    types = _types(events, INTERACTIONS)
    window = cut("at_risk_days")
    recent = _sum(f"event_count({name}, {window})" for name in types)
    double = f"{2 * int(window)}, until => {window}"
    before = _sum(f"event_count({name}, {double})" for name in types)
    active, there = _any_since(types, cut("active_days")), _any_since(types, cut("inactive_days"))
    rules = {}
    if events.unsubscribe is not None:
        out = f"days_since({_quoted(events.unsubscribe)})"
        again = "" if events.send is None else f" AND NOT days_since({_quoted(events.send)}) < {out}"
        rules["unsubscribed"] = f"{out} IS NOT NULL{again}"
    return {
        **rules,
        "new_subscriber": f"tenure_days < {cut('new_days')}",
        "inactive_subscriber": f"NOT ({there})",
        "at_risk_subscriber": (
            f"{before} >= {cut('at_risk_interactions')} AND {recent} <= {cut('at_risk_share')} * ({before})"
        ),
        "mature_subscriber": f"tenure_days >= {cut('mature_days')}",
        "active_subscriber": active,
        "recently_inactive_subscriber": f"({there}) AND NOT ({active})",
    }


def _activity(_: Events, cut: Cut) -> Rules:
    # On the last day before as_of an action is 1 day old, and one of n days earlier n + 1.
    week, month = cut("week_days"), cut("month_days")
    acted, idle = "days_since_last_action = 1", "days_since_last_action - 1"
    pause = "last_action_pause_days"
    return {
        "activity_new": f"{acted} AND {pause} IS NULL",
        "activity_current": f"{acted} AND {pause} <= {week}",
        "activity_reactivated": f"{acted} AND {pause} > {week} AND {pause} <= {month}",
        "activity_resurrected": f"{acted} AND {pause} > {month}",
        "activity_at_risk_weekly": f"days_since_last_action > 1 AND {idle} <= {week}",
        "activity_at_risk_monthly": f"{idle} > {week} AND {idle} <= {month}",
        "activity_dormant": f"NOT {idle} <= {month}",
    }


def _buyer(events: Events, cut: Cut) -> Rules:
    purchase = _types(events, ("purchase",))[0]
    return {
        "never_bought": f"event_count({purchase}) = 0",
        "inactive_buyer": f"days_since({purchase}) >= {cut('inactive_days')}",
        "regular_buyer": f"event_days({purchase}, {cut('regular_days')}) >= {cut('regular_purchases')}",
        "occasional_buyer": f"days_since({purchase}) < {cut('inactive_days')}",
    }


def _prospect(events: Events, cut: Cut) -> Rules:
    purchase = _types(events, ("purchase",))[0]
    counts = _sum(f"event_count({name}, {cut('hot_days')})" for name in _types(events, _but("purchase")))
    hot = f"{counts} >= {cut('hot_interactions')}"
    return {
        "customer": f"event_count({purchase}) >= 1",
        "hot_prospect": hot,
        "cold_prospect": f"NOT {hot}",
    }


def _funnel(events: Events, cut: Cut) -> Rules:
    purchase = _types(events, ("purchase",))[0]
    decided = [f"event_count({purchase}) >= 1"]
    decided += [f"days_since({name}) < {cut('decision_days')}" for name in _types(events, ("cart_add",))]
    considered = _any_since(_types(events, _but("purchase", "open")), cut("consideration_days"))
    return {
        "loyalty": f"event_days({purchase}) >= {cut('loyal_purchases')}",
        "decision": " OR ".join(decided),
        "consideration": considered,
        "awareness": f"NOT ({considered})",
    }


_RULES: Final[Mapping[LifecyclePreset, Callable[[Events, Cut], Rules]]] = {
    "subscriber": _subscriber,
    "activity": _activity,
    "buyer": _buyer,
    "prospect": _prospect,
    "funnel": _funnel,
}


def _but(*roles: str) -> tuple[str, ...]:
    return tuple(role for role in INTERACTIONS if role not in roles)


def _types(events: Events, roles: Collection[str]) -> list[str]:
    """The event types of some roles, each once, as text of the language of rules."""
    names = (getattr(events, role) for role in roles)
    return [_quoted(name) for name in dict.fromkeys(name for name in names if name is not None)]


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _any_since(types: Collection[str], days: str) -> str:
    return " OR ".join(f"days_since({name}) < {days}" for name in types)


def _sum(parts: Iterable[str]) -> str:
    return " + ".join(parts)
