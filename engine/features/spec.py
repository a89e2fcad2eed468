"""What decides the feature columns: event types, their roles, windows. Fixed by `fit`, kept in the bundle."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EventType:
    """One event type.

    Attributes:
        name: As it is in the log.
        slug: As it is in column names: lower-case ASCII letters, digits and `_`; see `slug`.
        priced: Whether its events have amounts.
    """

    name: str
    slug: str
    priced: bool


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that decides which features there are and what they mean.

    Attributes:
        types: The event types; the position is the code in parts and partials.
        purchase, send, open, click: Names of the types with a role, or None.
        windows: Window lengths in days, ascending.
        weights: Engagement points per event of each type, in the order of `types`.
        engagement_days: Window of the engagement points.
        frequency_unit: Whether RFM frequency counts orders or days with an order.
        timezone: Zone of the days.
        currency_digits: Decimals of the minor unit.
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

    @property
    def type_names(self) -> tuple[str, ...]:
        return tuple(event_type.name for event_type in self.types)

    def code(self, name: str | None) -> int | None:
        """Position of an event type; None for None."""
        return None if name is None else self.type_names.index(name)

    def slug(self, name: str) -> str:
        return self.types[self.type_names.index(name)].slug

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        values = {**data, "windows": tuple(data["windows"]), "weights": tuple(data["weights"])}
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
