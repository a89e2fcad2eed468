"""What a mapped source holds: its event types with their counts, and the days it covers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.config import Source
from engine.errors import DataError
from engine.events.files import find_files
from engine.events.ingest import reading, scan, source_mapping


@dataclass(frozen=True)
class Survey:
    """Rows that the mapping keeps, over all files.

    Attributes:
        types: Rows per event type, the most frequent first.
        users: Distinct users per event type.
        first_day: Day (UTC) of the first event.
        last_day: Day (UTC) of the last event.
    """

    types: dict[str, int]
    users: dict[str, int]
    first_day: date
    last_day: date


def survey_source(source: Source) -> Survey:
    """Read a source once and count.

    Raises:
        ConfigError: No file matches.
        DataError: A mapping that does not fit, a file that cannot be read, or no usable row.
    """
    parts = []
    for file in find_files(source.name, source.path):
        with reading(f"source {source.name!r}", str(file)):
            frame = scan(str(file))
            mapping = source_mapping(source, frame, currency_digits=2)
        names = ("user_id", "event_type", "event_time")
        kept = frame.filter(mapping.keep & (mapping.reject == 0))
        parts.append(kept.select(mapping.canonical[name].alias(name) for name in names))
    try:
        counted = (
            pl.concat(parts)
            .group_by("event_type")
            .agg(
                rows=pl.len(),
                users=pl.col("user_id").n_unique(),
                first=pl.col("event_time").min(),
                last=pl.col("event_time").max(),
            )
            .sort(["rows", "event_type"], descending=[True, False])
            .collect()
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        message = f"source {source.name!r}: its files cannot be read ({type(error).__name__})"
        raise DataError(message, code="input-unreadable", hint="`tamis check` names the files.") from error
    if counted.is_empty():
        message = f"source {source.name!r}: no row has a user, an event type and a time"
        raise DataError(message, code="events-empty", hint="Name other columns: --user, --type, --time.")
    return Survey(
        types=dict(counted.select("event_type", "rows").iter_rows()),
        users=dict(counted.select("event_type", "users").iter_rows()),
        first_day=counted["first"].dt.date().min(),  # type: ignore[arg-type]
        last_day=counted["last"].dt.date().max(),  # type: ignore[arg-type]
    )
