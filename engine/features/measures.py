"""The columns of measures: what they need of the store, and their values for the users of a bucket.

In: the measures of all rules, and the rows of a bucket. Out: one column per measure. A kind of events is one code of
the store, filtered or not, so that the functions that look at days read partials alone; those whose answer depends on
the order within a day read single events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from engine.events.condition import condition
from engine.features.measure import NEEDS_TIMES, EventRef, Measure
from engine.features.measures_days import Partials, day_columns
from engine.features.measures_times import event_column, in_order
from engine.features.spec import FeatureSpec
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code
from engine.rollups.update import Wanted


def event_code(event: str, where: str | None, spec: FeatureSpec) -> Code:
    """What stands in the store for the events of a type under a condition, and under that of a derived type.

    Args:
        event: Name of a type of `spec`.
        where: A further condition; None for all events.
        spec: The feature specification.
    """
    kind = spec.types[spec.type_names.index(event)]
    conditions = [text for text in (kind.where, where) if text is not None]
    both = " AND ".join(f"({text})" for text in conditions) if len(conditions) > 1 else None
    return Code(kind.of or kind.name, both or next(iter(conditions), None))


def needs_rows(measures: Sequence[Measure]) -> bool:
    """Whether all rows must be read: totals that are brought forward answer no measure."""
    return bool(measures)


def measure_wants(measures: Sequence[Measure], spec: FeatureSpec) -> Wanted:
    """What measures need of the log: kinds of events by day, or single events with the columns of their conditions."""
    codes = {measure: _codes(measure, spec) for measure in measures}
    single = [code for measure in codes if measure.function in NEEDS_TIMES for code in codes[measure]]
    columns = {name for code in single if code.where is not None for name in condition(code.where, "where")[1]}
    if columns and "event_id" in spec.columns:
        # A condition looks at an order as a whole, and its lines are put together by their id.
        columns.add("order")
    return Wanted(
        codes=tuple(
            dict.fromkeys(code for measure in codes if measure.function not in NEEDS_TIMES for code in codes[measure])
        ),
        event_types=tuple(sorted({code.event_type for code in single})),
        event_columns=tuple(sorted(columns)),
    )


def measure_columns(
    measures: Sequence[Measure], bucket: Bucket, as_of_day: int, spec: FeatureSpec, codes: Sequence[Code]
) -> pl.DataFrame:
    """The measures of every user with an event before `as_of_day`.

    Args:
        measures: What is asked; each once in the result, in the order of their first place.
        bucket: Users and rows; single events with what `measure_wants` names where some measure reads them.
        as_of_day: First day that does not count (days since 1970-01-01).
        spec: The feature specification.
        codes: What each number in the column `type` of the rows stands for.

    Returns:
        `user` (UInt32, ascending) and `measure.name` of each measure, in its type.
    """
    users = bucket.users.height
    place = {code: position for position, code in enumerate(codes)}
    asked = tuple(dict.fromkeys(measures))
    columns: dict[str, pl.Series] = {}
    by_kind: dict[Code, list[Measure]] = {}
    for measure in asked:
        if measure.function not in NEEDS_TIMES:
            by_kind.setdefault(_codes(measure, spec)[0], []).append(measure)
    if by_kind:
        partials = Partials.of(bucket.daily, users, as_of_day)
        for code, several in by_kind.items():
            found = day_columns(several, partials.of_type(place[code]), spec.currency_digits)
            columns |= {measure.name: column for measure, column in zip(several, found, strict=True)}
        del partials
    timed = [measure for measure in asked if measure.function in NEEDS_TIMES]
    if timed:
        wanted = measure_wants(timed, spec)
        types = {name: place[Code(name)] for name in wanted.event_types}
        events = in_order(bucket.events, users, as_of_day, types, wanted.event_columns, spec.currency_digits)
        columns |= {measure.name: event_column(measure, events, _codes(measure, spec)) for measure in timed}
    own = bucket.daily.filter((pl.col("day") < as_of_day) & (pl.col("type") < len(spec.types)))
    seen = np.zeros(users, dtype=np.bool_)
    seen[own["user"].to_numpy()] = True
    number = pl.Series("user", np.arange(users, dtype=np.uint32))
    return pl.DataFrame([number, *(columns[one.name].alias(one.name) for one in asked)]).filter(pl.Series(seen))


def _codes(measure: Measure, spec: FeatureSpec) -> tuple[Code, ...]:
    return tuple(_code(event, spec) for event in measure.events)


def _code(event: EventRef, spec: FeatureSpec) -> Code:
    return event_code(event.type, event.where, spec)
