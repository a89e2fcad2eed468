"""What a rule may name: columns with their types and units, event types, segments."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

    from engine.features.spec import FeatureSpec

STAND_IN: Final = date(2000, 1, 1)
"""What `as_of` is while rules are only checked."""


@dataclass(frozen=True)
class Scope:
    """The words of a rule beside those of the language.

    Attributes:
        columns: Columns of the user's row: features, scores, contact attributes, with their types.
        units: Unit of those that have one, as in the feature catalogue (`ratio`, `count`, `days`, …).
        spec: The features, for event functions; None where they cannot be answered.
        segments: Names of the segments (NFC) that `in_segment` may ask for; None where there are none to ask for.
        as_of: The day of the run; None while rules are only checked.
    """

    columns: Mapping[str, pl.DataType]
    units: Mapping[str, str] = field(default_factory=dict)
    spec: FeatureSpec | None = None
    segments: frozenset[str] | None = None
    as_of: date | None = None

    @cached_property
    def spelling(self) -> dict[str, str]:
        """The columns by their names in Unicode NFC."""
        return {unicodedata.normalize("NFC", column): column for column in self.columns}

    @property
    def day(self) -> date:
        """`as_of`, or what stands in for it."""
        return STAND_IN if self.as_of is None else self.as_of
