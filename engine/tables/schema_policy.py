"""How the columns of published tables may change from one date to the next, so that what reads them keeps working.

A new column is welcome. A column that changes its type is refused, and so is one that goes, unless it belonged to an
entry of the configuration that went: the measure of a rule, the scores of a target or card, the column of a group.
Whoever wants more raises `publish.table_version`; readers know by the number in the manifest that tables are new.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Final, get_args

from engine.errors import ConfigError
from engine.features.measure import MeasureFunction
from engine.tables.layout import manifest_path
from engine.tables.manifest import Manifest, read_manifest
from engine.why.published import published_dates

TABLE_VERSION: Final = "table_version"
"""Key of a manifest's counts."""

_MEASURE: Final = re.compile(rf"({'|'.join(get_args(MeasureFunction))})_.*[0-9a-f]{{8}}")
_SCORES_OF_EVERY_RUN: Final = re.compile(r"user_id|engagement_score|[rfm]_score|rfm_.*|cluster(_.*)?|value_.*")

Columns = Iterable[tuple[str, str]]


def check_schemas(out: Path, as_of: date, tables: Mapping[str, Columns], version: int) -> tuple[str, ...]:
    """Compare tables with those of the newest other published date.

    Args:
        out: The output root.
        as_of: Day of the run; what is published for it plays no part, as it is replaced.
        tables: Columns and types, as a manifest keeps them, of tables that the run publishes or is going to; a table
            that only one of the two dates has is not compared.
        version: `publish.table_version`.

    Returns:
        A sentence per table with columns that came or went.

    Raises:
        ConfigError: Columns that changed their type or went, of all tables, or a version lower than the published one.
    """
    manifest = _newest_other(out, as_of)
    if manifest is None:
        return ()
    published = _version_of(manifest)
    if version < published:
        raise ConfigError(
            f"publish.table_version is {version}, and {manifest.as_of} is published with {published}",
            code="table-version",
            hint=f"Set it to {published} again; a version is never taken back.",
        )
    if version > published:
        return ()
    before = {table.name: dict(table.schema) for table in manifest.tables}
    problems, notes = [], []
    for name in sorted(tables.keys() & before.keys()):
        now, then = dict(tables[name]), before[name]
        gone = [column for column in then if column not in now]
        problems += [
            f"  {name}.{column}: {then[column]} on {manifest.as_of}, {now[column]} now"
            for column in then
            if column in now and now[column] != then[column]
        ]
        problems += [
            f"  {name}.{column}: {then[column]} on {manifest.as_of}, not there now"
            for column in gone
            if not may_go(name, column)
        ]
        notes += _note(name, [column for column in now if column not in then], gone, manifest.as_of)
    if problems:
        raise ConfigError(
            "published columns would change under whoever reads them:\n" + "\n".join(problems),
            code="schema-changed",
            hint="Restore the columns where they come from, or set "
            f"publish.table_version = {published + 1} to begin new tables.",
        )
    return tuple(notes)


def may_go(table: str, column: str) -> bool:
    """Whether a column may be missing from one date to the next: it stands for an entry of the configuration."""
    if table == "features":
        return _MEASURE.fullmatch(column) is not None
    return table in {"scores", "segments"} and _SCORES_OF_EVERY_RUN.fullmatch(column) is None


def _newest_other(out: Path, as_of: date) -> Manifest | None:
    others = [day for day in published_dates(out) if day != as_of]
    return read_manifest(manifest_path(out, others[-1])) if others else None


def _version_of(manifest: Manifest) -> int:
    found = manifest.counts.get(TABLE_VERSION, 1)
    return found if isinstance(found, int) else 1


def _note(table: str, came: list[str], gone: list[str], since: date) -> list[str]:
    parts = [f"{', '.join(columns)} {verb}" for columns, verb in ((came, "came"), (gone, "went")) if columns]
    return [f"columns of {table} since {since}: {'; '.join(parts)}"] if parts else []
