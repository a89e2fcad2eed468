"""Which event types are an act of the person, so that the clock of retention begins again.

French guidance counts the three years of a prospect from the last contact that comes from them: a click, a purchase, an
answer. That a message was sent, delivered or opened is none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.suggest import did_you_mean

ROLES: Final = ("purchase", "click", "reply", "page_view", "cart_add", "cart_remove", "coupon", "comment", "share")
"""Roles of `[events]` whose event types are acts."""
NAMED: Final = ("login", "visit")
"""Event types that are acts by their name, as there is no role for them."""
NEVER: Final = ("send", "open", "bounce")
"""Roles whose event types are of the sender or of a mail program."""


def act_types(config: Config) -> tuple[str, ...]:
    """The event types that are acts, sorted; those of `retention.acts` alone where it names any.

    Raises:
        ConfigError: `retention.acts` names the type of messages sent, opened or bounced.
    """
    named = config.retention.acts
    roles = {role: getattr(config.events, role) for role in NEVER}
    wrong = [f"  {name!r} is events.{role}" for name in named for role, known in roles.items() if name == known]
    if wrong:
        raise ConfigError(
            "\n".join(["retention.acts: these are no acts of the person:", *wrong]),
            code="retention-acts",
            hint="List what a person does: clicks, purchases, logins, replies, visits.",
        )
    if named:
        return tuple(sorted(set(named)))
    found = {getattr(config.events, role) for role in ROLES} - {None}
    return tuple(sorted(found | set(NAMED)))


def check_acts(config: Config, types: Collection[str], *, all_known: bool) -> tuple[str, ...]:
    """The acts that the log has.

    Args:
        config: The configuration.
        types: The event types of the log.
        all_known: Whether these are all there are.

    Raises:
        ConfigError: One that was named is not in the log (nobody would have acted), or none at all is.
    """
    acts = act_types(config)
    missing = [name for name in config.retention.acts if name not in types] if all_known else []
    if missing:
        known = did_you_mean(missing[0], sorted(types))
        raise ConfigError(
            f"retention.acts: the log has no event {', '.join(map(repr, missing))}{known}",
            code="retention-acts",
            hint="A name that is not right would erase everybody who did it.",
        )
    there = tuple(name for name in acts if name in types or not all_known)
    if not there:
        raise ConfigError(
            "retention.person_days: no event type of the log is known to be an act of the person",
            code="retention-acts",
            hint="Name the types of purchases, clicks or visits in [events], or list acts in retention.acts.",
        )
    return there
