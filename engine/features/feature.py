"""What a feature is, and a family of them: columns, what they are made of, and the function that computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.features.spec import FeatureSpec

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes:
        name: Column name; says the unit and the window.
        dtype: Int64, Float64; Date and String for what is no number.
        unit: `count`, `days`, `money` (major units), `ratio`, `points`, `flag` (0 or 1), `date`, `month`, …
        meaning: What it is, in one sentence.
        window_days: Length of the half-open window that ends at `as_of`; None for the whole history.
        absent: Value for a user without any event that the feature is made of.
        types: Event types it is made of; empty for all.
        purposes: What a user must have agreed to for it to be used (`email_tracking`, `profiling`, …).
        counted: Of a rate, those of its types that are counted per the others: without them it would be 0 and say
            that nothing happened. Empty for what is no rate.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    window_days: int | None = None
    absent: int | None = None
    types: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ("profiling",)
    counted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reads:
    """What a family needs of the log.

    Attributes:
        types: Names of the event types whose events it reads.
        columns: Canonical columns beside user, type and time that it reads.
    """

    types: frozenset[str]
    columns: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Family:
    """Features that are computed together, on demand.

    Attributes:
        name: As it stands in `features.families`.
        grain: What `build` is given: `daily` partials or `events`.
        features: The columns for a specification; empty when the roles or columns it needs are not there.
        reads: What it needs of the log.
        build: From the bucket's rows before `as_of` to `user` and the columns of `features`, at most one row per user.

    `build(rows, as_of_day, spec)` gets rows in no particular order. `daily` rows are of a user, type and day, of which
    there may be several: `user` (UInt32), `type` (UInt16, position in `spec.types`), `day` (Int32, days since
    1970-01-01 in the configured zone), `events`, `amount_minor` (Int64). `events` rows are source rows after
    de-duplication, of the types and with the columns it reads: `user`, `type`, `day`, `time` (Int64, µs since 1970
    UTC), `n` (Int64: 1, or 0 for a further line of an order that is counted already) and the canonical columns
    (`amount` Int64 minor units, `quantity`, `duration_ms` Int64, `order` UInt64, the others String or Boolean), null
    where the source has none. Users without rows get each feature's `absent`.
    """

    name: str
    grain: Literal["daily", "events"]
    features: Callable[[FeatureSpec], tuple[Feature, ...]]
    reads: Callable[[FeatureSpec], Reads]
    build: Callable[[pl.DataFrame, int, FeatureSpec], pl.DataFrame]
