"""What decides the feature columns: event types, their roles, windows. Fixed by `fit`, kept in the bundle."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from engine.features.catalogue import shared_names
from engine.rollups.packed import MAX_TYPES

_RENAME = 'in the source\'s mapping: event_type = { sql = "CASE WHEN … THEN … END" }.'


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


def feature_spec(config: Config, types: Sequence[str], priced: frozenset[str]) -> FeatureSpec:
    """The features of a configuration over the event types of the data.

    Args:
        config: The configuration.
        types: Event types to use, in a stable order.
        priced: Those whose events have amounts.

    Raises:
        ConfigError: Too many types, or types that would give two columns one name; all of these are named.
    """
    if len(types) > MAX_TYPES:
        raise ConfigError(
            f"{len(types)} event types, at most {MAX_TYPES} can be used",
            code="event-types-too-many",
            hint="List the ones that matter in events.types.",
        )
    weights = config.engagement.weights
    spec = FeatureSpec(
        types=tuple(EventType(name, slug(name), name in priced) for name in types),
        purchase=config.events.purchase,
        send=config.events.send,
        open=config.events.open,
        click=config.events.click,
        windows=config.features.windows,
        weights=tuple(weights.get(name, 0) if weights else 1 for name in types),
        engagement_days=config.engagement.window_days,
        frequency_unit=config.rfm.frequency_unit,
        timezone=config.timezone,
        currency_digits=config.currency_digits,
    )
    shared = [
        f"  {column!r}: {' and '.join(map(repr, names))}" + (" and another feature" if len(names) == 1 else "")
        for names, column in shared_names(spec).items()
    ]
    if shared:
        raise ConfigError(
            "event types that would give two columns one name\n" + "\n".join(shared),
            code="event-type-names",
            hint=f"Rename one of each {_RENAME}",
        )
    return spec
