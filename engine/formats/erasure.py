"""Erase people from the tables of formats, older versions and logs included; and find what these hold of people.

What is published locally is erased before, by `engine.erasure`; its dates are committed first, so that a format holds
them as they are now. What is left (dates that are no longer published locally) is written again here. Then every
version before goes: time travel to before an erasure is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from engine.config import Config
from engine.errors import IntegrityError
from engine.formats.commit import commit_published, open_tables, tables_url
from engine.formats.people import Names, People, Place, read_rows
from engine.formats.upkeep import Erased
from engine.remote.address import is_remote
from engine.tables.layout import TABLES

if TYPE_CHECKING:
    import polars as pl

_DEFAULTS: Final = {"delta": ("_delta", "."), "iceberg": ("_iceberg", "catalog.db")}
"""Folder under the output root that is used when a configuration names none, and what is in it when it is."""


@dataclass(frozen=True)
class FormatErasure:
    """What was erased, or would be: one entry per table that held some of the people, in any version."""

    tables: tuple[Erased, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the newest versions."""
        return sum(one.rows for one in self.tables)

    def to_dict(self) -> list[dict[str, object]]:
        """The entries as values that JSON has."""
        return [asdict(one) for one in self.tables]


@dataclass(frozen=True)
class HeldRows:
    """Rows that a file of a table holds of people; `is_current` tells the newest version from earlier ones."""

    format: str
    table: str
    path: str
    is_current: bool
    rows: pl.DataFrame


def erase_in_formats(config: Config, people: pl.Series, names: Names | None = None) -> FormatErasure:
    """Erase people from every table of a format that the configuration leads to; call it under `writer_lock`.

    The tables of the configuration, and those in `_delta` and `_iceberg` under the output root. Afterwards no file
    below them holds a row of the people: not in the newest version, in older ones, in logs, checkpoints, manifests, or
    in what killed attempts left. Doing it again does nothing; after a kill it goes on.

    No other writer may write to these tables meanwhile: what it is about to commit would be removed.

    Args:
        config: The configuration.
        people: Their ids, as they are published.
        names: Finds everything they are known by.

    Raises:
        ConfigError: The format's package is not installed, the store refuses, or a branch or tag keeps a snapshot.
        ConflictError: Other writers were faster each time.
        IntegrityError: A file still holds some of the people; their ids are not told.
        TransientError: The store cannot be reached.
    """
    some = People.of(people, names)
    if not len(some):
        return FormatErasure()
    if _configured(config):
        commit_published(config)
    done: list[Erased] = []
    for place in _places(config):
        if place.format == "parquet":
            from engine.formats import erasure_uploaded as uploaded

            done += uploaded.erase(place.url, some)
            continue
        with place.opened() as (tables, erasure):
            done += [erasure.erase(tables, name, some) for name in _ours(erasure.table_names(tables))]
    left = find_in_formats(config, people, names)
    if left.tables:
        tables = ", ".join(f"{one.table} ({one.format})" for one in left.tables)
        raise IntegrityError(
            f"tables still hold people who were erased: {tables}",
            code="erasure-incomplete",
            hint="Another writer may have committed meanwhile; erase again when none is writing.",
        )
    return FormatErasure(tuple(one for one in done if one.rewritten or one.removed))


def find_in_formats(config: Config, people: pl.Series, names: Names | None = None) -> FormatErasure:
    """What `erase_in_formats` would find: `rows` of the newest version, `rewritten` its files, `removed` all files.

    Raises:
        TamisError: As `erase_in_formats`.
    """
    found: dict[tuple[str, str], Erased] = {}
    for kind, table, _, path, rows, is_current in _held(config, People.of(people, names)):
        del path
        told = found.setdefault((kind, table), Erased(kind, table))
        found[kind, table] = replace(
            told,
            rows=told.rows + (rows if is_current else 0),
            rewritten=told.rewritten + is_current,
            removed=told.removed + 1,
        )
    return FormatErasure(tuple(found.values()))


def rows_in_formats(config: Config, people: pl.Series, names: Names | None = None) -> Iterator[HeldRows]:
    """Every row that files of formats hold of people, those of older versions too; none of a file that only names them.

    Raises:
        TamisError: As `erase_in_formats`.
    """
    some = People.of(people, names)
    for kind, table, place, path, rows, is_current in _held(config, some):
        if rows:
            yield HeldRows(kind, table, path, is_current, read_rows(place, path, some))


@dataclass(frozen=True)
class _Tables:
    """Tables of a format at an address."""

    format: str
    url: str
    config: Config

    @contextmanager
    def opened(self) -> Iterator[tuple[Any, ModuleType]]:
        """The tables, and how people are erased from such ones."""
        with open_tables(self.config) as tables:
            if self.format == "delta":
                from engine.formats import erasure_delta as erasure
            else:
                from engine.formats import erasure_iceberg as erasure  # type: ignore[no-redef]
            yield tables, erasure


def _configured(config: Config) -> bool:
    return config.publish.format != "parquet" or is_remote(config.publish.url or "")


def _places(config: Config) -> list[_Tables]:
    """Where tables may be: what is configured, and the folders that are used when a configuration names none."""
    places = []
    if _configured(config):
        url = tables_url(config)
        places.append(_Tables(config.publish.format, url, config))
    for kind, (folder, sign) in _DEFAULTS.items():
        path = Path(config.out) / folder
        other = config.publish.model_copy(update={"format": kind, "url": None, "catalog": None})
        place = _Tables(kind, str(path), config.model_copy(update={"publish": other}))
        is_known = any(Path(one.url).absolute() == path.absolute() for one in places if not is_remote(one.url))
        if path.is_dir() and (path / sign).exists() and not is_known:
            places.append(place)
    return [one for one in places if is_remote(one.url) or Path(one.url).is_dir()]


def _ours(names: list[str]) -> list[str]:
    return [name for name in names if name in TABLES or name.rpartition("_v")[0] in TABLES]


def _held(config: Config, people: People) -> Iterator[tuple[str, str, Place, str, int, bool]]:
    """Format, table, place, path, rows, and whether it is of the newest version, of each file that holds people."""
    if not len(people):
        return
    for place in _places(config):
        if place.format == "parquet":
            from engine.formats import erasure_uploaded as uploaded

            found = uploaded.held_files(place.url, people)
            current = uploaded.current_files(place.url) if found else set()
            for path, rows in found.items():
                yield "parquet", path.partition("/")[0], Place.at(place.url), path, rows, path in current
            continue
        with place.opened() as (tables, erasure):
            for name in _ours(erasure.table_names(tables)):
                found = erasure.held_files(tables, name, people)
                current = erasure.current_files(tables, name) if found else set()
                for path, rows in found.items():
                    yield place.format, name, Place.at(tables.uri(name)), path, rows, path in current
