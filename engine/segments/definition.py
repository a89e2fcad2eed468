"""What a segment is, whichever way it was configured: by a rule, a list, a lifecycle preset, an arm or an RFM map."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

SegmentKind = Literal["rule", "list", "lifecycle", "arm", "fallback"]


@dataclass(frozen=True)
class StaticList:
    """A list of users, frozen on a day.

    Attributes:
        path: The file, absolute.
        frozen_on: First day on which its users are members.
        expires_on: First day on which they no longer are; None: never.
        refuse_unknown: Whether an id that no event has stops the run.
    """

    path: str
    frozen_on: date
    expires_on: date | None
    refuse_unknown: bool


@dataclass(frozen=True)
class Arm:
    """One arm of an experiment: the users whose place is in `[low, high)`.

    The place of a user is the first 8 hexadecimal digits of SHA-256(key ":" id), as an integer, ÷ 2^32: any engine can
    repeat it.

    Attributes:
        experiment: Its name.
        key: Text hashed with the id.
        low, high: Bounds as integers, 0 to 2^32.
    """

    experiment: str
    key: str
    low: int
    high: int


@dataclass(frozen=True)
class Definition:
    """A segment.

    Attributes:
        name: Unicode NFC.
        kind: Where its members come from; `fallback`: of the RFM map, or the one that takes whoever is left.
        group: Exclusive group; None for a tag.
        where: The rule; None for lists and fallbacks. For an arm, who takes part; None: everyone.
        list: For a list.
        arm: For an arm.
        priority: More is tried first within the group; equals in the order of the definitions.
        labels: Language and text.
        campaigns, cost, description: As configured.
        version: Eight hexadecimal digits of a hash of what decides who is in it: kind, group, rule or list's content.
        purposes: What users must have agreed to, all of it, to be in it.
    """

    name: str
    kind: SegmentKind
    group: str | None
    where: str | None = None
    list: StaticList | None = None
    arm: Arm | None = None
    priority: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    campaigns: tuple[str, ...] = ()
    cost: float | None = None
    description: str = ""
    version: str = field(default="", compare=False)
    purposes: tuple[str, ...] = ()
