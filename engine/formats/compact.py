"""Upkeep of the tables of a configuration, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from engine.formats.commit import open_tables, table_names
from engine.formats.upkeep import Compaction, TableState, Version
from engine.suggest import did_you_mean
from engine.tables.lock import writer_lock


@dataclass(frozen=True)
class Vacuumed:
    """Files of a table that are in no kept version; their paths are relative to the table."""

    table: str
    files: tuple[str, ...]


def list_tables(config: Config) -> list[TableState]:
    """Every committed table as it is now.

    Raises:
        TamisError: The format has no tables, or the store cannot be read.
    """
    with _opened(config) as (tables, upkeep):
        return [upkeep.state(tables, name) for name in _named(config)]


def table_history(config: Config, name: str, limit: int) -> list[Version]:
    """The last versions of a table, the newest first.

    Raises:
        ConfigError: There is no such table.
        TamisError: The store cannot be read.
    """
    with _opened(config) as (tables, upkeep):
        found: list[Version] = upkeep.history(tables, _named(config, (name,))[0], limit)
        return found


def optimize_tables(config: Config, names: Sequence[str] = ()) -> list[Compaction]:
    """Put small files together: one commit per table, which changes no row and no mark.

    Args:
        config: The configuration.
        names: The tables; all when empty.

    Raises:
        ConfigError: There is no such table.
        ConflictError: Another run is writing.
        TamisError: The store refuses, or cannot be reached.
    """
    with _locked(config, "optimize"), _opened(config) as (tables, upkeep):
        return [upkeep.optimize(tables, name) for name in _named(config, names)]


def vacuum_tables(config: Config, now: datetime, names: Sequence[str] = (), *, dry_run: bool) -> list[Vacuumed]:
    """Remove the files that no version of `publish.keep_days` and `publish.keep_versions` needs.

    Args:
        config: The configuration.
        now: The time.
        names: The tables; all when empty.
        dry_run: Only tell which.

    Raises:
        TamisError: As `optimize_tables`.
    """
    keep = {"keep_days": config.publish.keep_days, "keep_versions": config.publish.keep_versions}
    with _locked(config, "vacuum"), _opened(config) as (tables, upkeep):
        return [
            Vacuumed(name, tuple(upkeep.vacuum(tables, name, now, dry_run=dry_run, **keep)))
            for name in _named(config, names)
        ]


@contextmanager
def _opened(config: Config) -> Iterator[tuple[Any, ModuleType]]:
    with open_tables(config) as tables:
        if config.publish.format == "delta":
            from engine.formats import delta_upkeep as upkeep
        else:
            from engine.formats import iceberg_upkeep as upkeep  # type: ignore[no-redef]
        yield tables, upkeep


@contextmanager
def _locked(config: Config, what: str) -> Iterator[None]:
    with writer_lock(Path(config.out), what):
        yield


def _named(config: Config, names: Sequence[str] = ()) -> list[str]:
    current = list(table_names(config).values())
    versions = range(1, config.publish.table_version + 1)
    known = {name for version in versions for name in table_names(config, version).values()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"no table {', '.join(map(repr, unknown))}{did_you_mean(unknown[0], known)}",
            code="format-table-unknown",
            hint=f"publish.tables has: {', '.join(sorted(known))}.",
        )
    return list(names) or current
