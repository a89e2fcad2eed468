from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from engine.config_consent import Consent
from engine.consent.read import ConsentRecord, PermitsTask, write_permits

DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = ("user_id", "purpose", "status", "at", "form_version", "source")

Row = tuple[Any, str | None, Any, datetime | None]


def frame(rows: Iterable[Row | Sequence[Any]], user: pl.DataType | None = None) -> pl.DataFrame:
    whole = [(*row, "v1", "web")[:6] if len(row) < 6 else tuple(row) for row in rows]
    schema = {
        "user_id": user or pl.String(),
        "purpose": pl.String(),
        "status": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "form_version": pl.String(),
        "source": pl.String(),
    }
    return pl.DataFrame(whole, schema, orient="row")


def saved(data: pl.DataFrame, path: Path) -> Path:
    data.write_parquet(path)
    return path


def permits(
    consent: Consent, folder: Path, day: date = DAY, user_dtype: str = "String", zone: str = "UTC", **more: Any
) -> tuple[ConsentRecord, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]]:
    """The record, and by user the purposes that were granted, and those that were withdrawn."""
    folder.mkdir(exist_ok=True)
    part = folder / "permits.parquet"
    record = write_permits(PermitsTask(consent, day, zone, str(part), user_dtype, **more))
    found = pl.read_parquet(part)
    assert found.equals(found.sort("user_key", "user_id"))

    def names(bits: int) -> tuple[str, ...]:
        return tuple(name for place, name in enumerate(consent.known) if bits >> place & 1)

    rows = found.sort("user_id").select("user_id", "purposes", "refused").iter_rows()
    return record, {user: (names(granted), names(withdrawn)) for user, granted, withdrawn in rows}
