"""Feature records in few words: the type follows from the kind of number, the purposes from the event types."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from engine.features.feature import Feature
from engine.features.spec import FeatureSpec


def tracked_types(spec: FeatureSpec) -> frozenset[str]:
    """Opens and clicks, by people or machines, and what is derived from them: what e-mail tracking sees."""
    direct = {spec.open, spec.click, spec.machine(spec.open), spec.machine(spec.click)} - {None}
    return frozenset(
        event_type.name for event_type in spec.types if event_type.name in direct or event_type.of in direct
    )


def log_types(spec: FeatureSpec) -> tuple[str, ...]:
    """Types whose events each stand for one thing that happened: none that is derived, none of machines."""
    machines = {spec.machine(name) for name in spec.type_names}
    return tuple(kind.name for kind in spec.types if kind.of is None and kind.name not in machines)


def purposes(types: Collection[str], spec: FeatureSpec) -> tuple[str, ...]:
    """What a user must have agreed to for a feature made of these event types; no types stand for all of them."""
    tracked = tracked_types(spec)
    return ("profiling", "email_tracking") if tracked & set(types or spec.type_names) else ("profiling",)


def integer(
    spec: FeatureSpec,
    name: str,
    unit: str,
    meaning: str,
    types: Collection[str | None],
    *,
    window: int | None = None,
    absent: int | None = None,
) -> Feature:
    """An Int64 column made of `types` (None stands for a role without a type)."""
    known = tuple(name for name in types if name is not None)
    return Feature(name, pl.Int64(), unit, meaning, window, absent, known, purposes(known, spec))


def real(
    spec: FeatureSpec,
    name: str,
    unit: str,
    meaning: str,
    types: Collection[str | None],
    *,
    window: int | None = None,
    absent: int | None = None,
    counted: Collection[str | None] = (),
) -> Feature:
    """A Float64 column made of `types`; of a rate, `counted` are those above the line."""
    known = tuple(name for name in types if name is not None)
    above = tuple(name for name in counted if name is not None)
    return Feature(name, pl.Float64(), unit, meaning, window, absent, known, purposes(known, spec), above)
