"""What decides the feature columns: event types, their roles, windows. Fixed by `fit`, kept in the bundle."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.events.machines import machine_type


@dataclass(frozen=True)
class EventType:
    """One event type.

    Attributes:
        name: As it is in the log.
        slug: As it is in column names: lower-case ASCII letters, digits and `_`; see `slug`.
        priced: Whether its events have amounts.
        of: The event type it is derived from; None for a type of the log.
        where: The condition that makes it; None for a type of the log.
    """

    name: str
    slug: str
    priced: bool
    of: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that decides which features there are and what they mean.

    Attributes:
        types: The event types; the position is the code in parts and partials.
        purchase, send, open, …, share: Names of the types with a role, or None.
        windows: Window lengths in days, ascending.
        weights: Engagement points per event of each type, in the order of `types`.
        engagement_days: Window of the engagement points.
        frequency_unit: Whether RFM frequency counts orders or days with an order.
        timezone: Zone of the days.
        currency_digits: Decimals of the minor unit.
        families: Names of the families beside the core ones, in the order of their columns.
        columns: Canonical columns that some source maps.
        session_gap_minutes: A pause this long ends a session.
        last_pages: Number of pages in `last_pages`.
        reactivated_after_days: Length of the pause after which a user counts as reactivated.
        half_life_days: Age at which a decayed point counts half; None without decayed points.
        full_open_rate, full_click_rate: Rates that give all points of the logarithmic form; None without them.
        full_purchases: Purchases that give all points of the linear form.
        full_amount_minor: Spend (minor units) that gives all points of the linear form; None without them.
        account: The contact attribute that tells the account of a user; None without account features.
    """

    types: tuple[EventType, ...]
    purchase: str | None
    send: str | None
    open: str | None
    click: str | None
    windows: tuple[int, ...]
    weights: tuple[int, ...]
    engagement_days: int
    frequency_unit: str
    timezone: str
    currency_digits: int
    reply: str | None = None
    bounce: str | None = None
    unsubscribe: str | None = None
    complaint: str | None = None
    page_view: str | None = None
    cart_add: str | None = None
    cart_remove: str | None = None
    refund: str | None = None
    coupon: str | None = None
    comment: str | None = None
    share: str | None = None
    families: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    session_gap_minutes: int = 30
    last_pages: int = 3
    reactivated_after_days: int = 90
    half_life_days: int | None = None
    full_open_rate: float = 0.5
    full_click_rate: float | None = None
    full_purchases: int = 4
    full_amount_minor: int | None = None
    account: str | None = None

    @property
    def type_names(self) -> tuple[str, ...]:
        return tuple(event_type.name for event_type in self.types)

    def code(self, name: str | None) -> int | None:
        """Position of an event type; None for None."""
        return None if name is None else self.type_names.index(name)

    def slug(self, name: str) -> str:
        return self.types[self.type_names.index(name)].slug

    def machine(self, name: str | None) -> str | None:
        """The event type that counts the machine events of a type apart; None where there is none."""
        apart = None if name is None else machine_type(name)
        return apart if apart in self.type_names else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        tuples = {name: tuple(data[name]) for name in ("windows", "weights", "families", "columns")}
        values = {**data, **tuples}
        return cls(**{**values, "types": tuple(EventType(**entry) for entry in data["types"])})


def slug(name: str) -> str:
    """`name` for use in a column name: accents dropped, lower case, everything else `_`.

    Letters, digits and symbols that are no ASCII even without accents are left out, and eight hexadecimal digits of the
    name's SHA-256 (UTF-8, NFC) stand for them: `покупка` is `type_5855ad0b`, `søk` is `sk_4343582a`.
    """
    letters = unicodedata.normalize("NFKD", name)
    lost = any(not letter.isascii() and unicodedata.category(letter)[0] in "LNS" for letter in letters)
    kept = "".join(letter for letter in letters if letter.isascii() or unicodedata.category(letter)[0] not in "LMNS")
    plain = re.sub(r"[^a-z0-9]+", "_", kept.lower()).strip("_") or "type"
    if not lost:
        return plain
    return f"{plain}_{hashlib.sha256(unicodedata.normalize('NFC', name).encode()).hexdigest()[:8]}"
