from __future__ import annotations

from typing import Any

import polars as pl

from engine.config import Columns, Config, PointCard, Source
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.points.cards import Card, CompiledCards, compile_cards, resolved_cards
from engine.rules.scope import Scope
from tests.features.specs import spec_of

ROLES = {
    "purchase": "purchase",
    "send": "send",
    "open": "open",
    "click": "click",
    "cart_add": "cart",
    "comment": "comment",
    "share": "share",
}
TYPES = (*ROLES.values(), "complaint")


def config_of(*cards: dict[str, Any] | PointCard, **sections: Any) -> Config:
    source = Source(name="log", path="log.parquet", columns=Columns(user_id="u", event_type="t", event_time="e"))
    return Config.model_validate({"sources": (source,), "events": ROLES, **sections, "points": cards})


def rule_spec(**changes: object) -> FeatureSpec:
    roles = {role: name for role, name in ROLES.items() if role != "purchase"}
    return spec_of(TYPES, columns=("amount", "category"), **{**roles, "windows": (7, 30, 182), **changes})


def scope_of(spec: FeatureSpec | None = None, **columns: pl.DataType) -> Scope:
    spec = rule_spec() if spec is None else spec
    features = {feature.name: feature.dtype for feature in catalogue(spec)}
    return Scope({**features, "engagement_score": pl.Float64(), **columns}, spec=spec)


def cards_of(*cards: dict[str, Any], **sections: Any) -> tuple[Card, ...]:
    return resolved_cards(config_of(*cards, **sections))


def compiled_of(*cards: dict[str, Any], **columns: pl.DataType) -> CompiledCards:
    return compile_cards(cards_of(*cards), scope_of(**columns))
