"""Event types that only count for users who agreed to a purpose: which they are, and what is left without them.

In: the rows of a bucket and what its users agreed to. Out: the rows that may be used of each of them, and features and
measures in which what cannot be told is null instead of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Final

import numpy as np
import polars as pl

from engine.config_consent import Consent
from engine.events.machines import machine_type
from engine.features.catalogue import catalogue, user_catalogue
from engine.features.feature import Feature
from engine.features.measure import Measure
from engine.features.spec import FeatureSpec
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code

LACKS: Final = "__lacks"
"""Purposes of inputs that a user did not agree to (UInt32): bit `n` is `Inputs.purposes[n]`; 0: all events count."""


@dataclass(frozen=True)
class Inputs:
    """Event types of the log that only count for users who agreed to a purpose.

    Attributes:
        purposes: The purposes, sorted; their positions are their bits.
        types: Each such type of the log with the purposes that it needs, as bits; sorted. Events of machines are
            among them, and what is derived from a type needs what the type needs.
    """

    purposes: tuple[str, ...]
    types: tuple[tuple[str, int], ...]

    @property
    def all(self) -> int:
        """The bits of all purposes."""
        return (1 << len(self.purposes)) - 1

    def of_type(self, name: str) -> int:
        """What events of a type of the log need, as bits; 0 for a type that always counts."""
        return dict(self.types).get(name, 0)

    def of_kind(self, name: str, spec: FeatureSpec) -> int:
        """What events of a type need that may be derived from another one, as bits."""
        kind = spec.types[spec.type_names.index(name)]
        return self.of_type(kind.of or kind.name)

    def to_json(self) -> dict[str, list[str]]:
        """Types by purpose."""
        return {
            purpose: [name for name, bits in self.types if bits >> place & 1]
            for place, purpose in enumerate(self.purposes)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[str]]) -> Inputs:
        """What `to_json` wrote."""
        purposes = tuple(sorted(data))
        types: dict[str, int] = {}
        for place, purpose in enumerate(purposes):
            for name in data[purpose]:
                types[name] = types.get(name, 0) | (1 << place)
        return cls(purposes, tuple(sorted(types.items())))


def inputs_of(consent: Consent | None) -> Inputs | None:
    """The inputs that count for some users only; None where none are named, or where users without them are left out.

    The events of machines, which are kept apart under a type of their own, count as those of the type.
    """
    if consent is None or consent.without_inputs == "leave_out":
        return None
    named = {purpose: names for purpose, names in consent.inputs.items() if names}
    if not named:
        return None
    return Inputs.from_json(
        {purpose: [name for one in names for name in (one, machine_type(one))] for purpose, names in named.items()}
    )


def asked_of_all(consent: Consent) -> tuple[str, ...]:
    """What a user must have agreed to for anything to be computed: with `leave_out`, to the inputs, too."""
    inputs = consent.inputs if consent.without_inputs == "leave_out" else {}
    return tuple(dict.fromkeys((*consent.process, *(purpose for purpose, names in inputs.items() if names))))


def usable_rows(bucket: Bucket, kinds: Sequence[Code], inputs: Inputs, lacks: pl.Series) -> Bucket:
    """The rows of a bucket that may be used: of each user those whose purposes the user does not lack.

    Args:
        bucket: Users and rows.
        kinds: What each number in the column `type` of the rows stands for.
        inputs: The inputs.
        lacks: `LACKS` of each user of `bucket.users`, in their order.
    """
    needs = np.array([inputs.of_type(code.event_type) for code in kinds], dtype=np.uint32)
    lacked = lacks.to_numpy()
    if not needs.any() or not lacked.any():
        return bucket

    def kept(rows: pl.DataFrame) -> pl.DataFrame:
        stays = (needs[rows["type"].to_numpy()] & lacked[rows["user"].to_numpy()]) == 0
        return rows if stays.all() else rows.filter(pl.Series(stays))

    return replace(bucket, daily=kept(bucket.daily), events=None if bucket.events is None else kept(bucket.events))


def without_unknown(
    features: pl.DataFrame, spec: FeatureSpec, inputs: Inputs, measures: Sequence[Measure] = ()
) -> pl.DataFrame:
    """Features and measures, null where they tell of events that do not count for the user.

    A column is null when it is made of such types alone, or is a rate of such events per others; a measure when one of
    its kinds of events does not count. All other columns are made of the events that are left.

    Args:
        features: `LACKS`, the columns of `user_catalogue` and those of the measures, made of `usable_rows`.
        spec: The features.
        inputs: The inputs.
        measures: What rules ask beside the features.
    """
    if not (features[LACKS] > 0).any():
        return features
    lacks: dict[tuple[int, ...], list[str]] = {}
    for feature in user_catalogue(spec):
        needs = _needs(feature, spec, inputs)
        if needs:
            lacks.setdefault(needs, []).append(feature.name)
    columns = [
        pl.when(pl.all_horizontal(_misses(bits) for bits in needs)).then(None).otherwise(pl.col(name)).alias(name)
        for needs, names in lacks.items()
        for name in names
    ]
    for measure in measures:
        bits = _together(inputs.of_kind(event.type, spec) for event in measure.events)
        if bits:
            columns.append(pl.when(_misses(bits)).then(None).otherwise(pl.col(measure.name)).alias(measure.name))
    return features.with_columns(columns)


def unknown_columns(spec: FeatureSpec, inputs: Inputs) -> frozenset[str]:
    """The features, those of accounts among them, that are null or empty where no input counts for anybody."""
    return frozenset(
        feature.name
        for feature in catalogue(spec)
        if _needs(feature, spec, inputs) or _all_need(set(feature.types) - set(feature.counted), spec, inputs)
    )


def _needs(feature: Feature, spec: FeatureSpec, inputs: Inputs) -> tuple[int, ...]:
    """Bits: who lacks one of each of them has no such feature; empty when something is left for everybody."""
    made_of = feature.counted or feature.types
    return tuple(sorted({inputs.of_kind(name, spec) for name in made_of})) if _all_need(made_of, spec, inputs) else ()


def _all_need(types: Collection[str], spec: FeatureSpec, inputs: Inputs) -> bool:
    return bool(types) and all(inputs.of_kind(name, spec) for name in types)


def _misses(bits: int) -> pl.Expr:
    return (pl.col(LACKS) & pl.lit(bits, pl.UInt32)) != 0


def _together(several: Iterable[int]) -> int:
    return reduce(or_, several, 0)
