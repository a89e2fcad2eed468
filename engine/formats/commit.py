"""What is published locally is committed to a table format: each table and date that the format does not hold yet.

The local tables are published first and are the truth. A process that dies between them and the commit, or between
two commits, leaves dates that the format does not hold; whoever comes next finds them by their marks and commits them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

from engine.config import Config
from engine.errors import ConfigError
from engine.formats.failures import require
from engine.formats.part import SCHEMA_CHANGED, Part
from engine.formats.receipts import Receipts, read_receipts, write_receipts
from engine.remote.address import is_remote
from engine.remote.upload import check_writable
from engine.tables import disk
from engine.tables.layout import TABLES, manifest_path
from engine.tables.lock import writer_lock
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import recover
from engine.tables.schema_policy import TABLE_VERSION
from engine.why.published import published_dates

_PACKAGES: Final = {"delta": ("deltalake", "delta"), "iceberg": ("pyiceberg", "iceberg")}
"""Package and extra of each format."""

_OWN: Final = frozenset(
    {"_work", "_manifests", "_bundles", "_rollups", "_reports", "_runs", "_exports", "_register", "_formats"}
)
"""Folders of an output root that are Tamis's own."""


class FormatTables(Protocol):
    """Tables of one format at one address."""

    @property
    def url(self) -> str:
        """The address."""
        ...

    def identity(self, table: str) -> str | None:
        """What a table is known by as long as it is not made anew; None when there is none."""
        ...

    def mark(self, table: str, as_of: date) -> int | None:
        """The mark of what a table holds of a date; None when nothing was ever committed for it."""
        ...

    def rows(self, table: str, as_of: date) -> int:
        """The rows that a table has of a date: another number than was committed when somebody set the table back."""
        ...

    def commit(self, part: Part) -> int | None:
        """Let a part take the place of its date; returns the version or snapshot that has it."""
        ...


@dataclass(frozen=True)
class Committed:
    """A table and date that was committed.

    Attributes:
        table: Name of the table in the format.
        as_of: The date.
        run_id: The run that published it.
        rows: Its rows; 0 when the date was taken out of the table.
        files: Its files.
        version: Version (Delta) or snapshot (Iceberg) of the table that has it.
    """

    table: str
    as_of: date
    run_id: str
    rows: int
    files: int
    version: int | None


@dataclass(frozen=True)
class Outcome:
    """What a look at all dates came to.

    Attributes:
        committed: What was committed, in the order of dates and tables.
        refused: Earlier dates that cannot be in the same table, as a column has another type there; one line each.
    """

    committed: tuple[Committed, ...] = ()
    refused: tuple[str, ...] = ()


def check_format(config: Config) -> None:
    """Stop before any work when the tables of the format could not be committed to.

    Raises:
        ConfigError: The format's package is not installed, its tables would be among the published ones, or the store
            refuses the credentials or has no such bucket.
        TransientError: The store cannot be reached.
    """
    kind = config.publish.format
    if kind == "parquet":
        if is_remote(config.publish.url or ""):
            check_writable(tables_url(config))
        return
    require(*_PACKAGES[kind])
    url = tables_url(config)
    if is_remote(url):
        check_writable(url)
    else:
        _check_folder(config, Path(url).resolve())
    if config.publish.catalog is None and not is_remote(url):
        # Folders are made when there is something to put into them.
        return
    with open_tables(config) as tables:
        tables.identity(table_names(config)[config.publish.tables[0]])


def _check_folder(config: Config, url: Path) -> None:
    """Stop when tables of the format would be among those that are published: runs replace what is there."""
    out = Path(config.out).resolve()
    if url.is_relative_to(out):
        first = (*url.relative_to(out).parts, "")[0]
        clashes = not first.startswith("_") or first in _OWN
    else:
        clashes = any(out.is_relative_to(url / name) for name in table_names(config).values())
    if clashes:
        raise ConfigError(
            f"publish.url {str(url)!r} and out {str(out)!r} overlap: readers would take files of both for one table",
            code="out-overlap",
            hint=f"Leave publish.url out, for {str(out / f'_{config.publish.format}')!r}, or name a folder beside out.",
        )


def commit_run(config: Config, as_of: date) -> dict[str, Any]:
    """Commit what a run has published, and what earlier ones left; call it under the lock, after all is published.

    Returns:
        Nothing for Parquet; else `formats`, for the counts of the run: format, address, commits by table and date,
        and earlier dates that were refused.

    Raises:
        TamisError: As `commit_published`.
    """
    if config.publish.format == "parquet" and not is_remote(config.publish.url or ""):
        return {}
    outcome = commit_published(config, must=(as_of,))
    commits: dict[str, list[str]] = {}
    for one in outcome.committed:
        commits.setdefault(one.table, []).append(one.as_of.isoformat())
    found: dict[str, Any] = {"format": config.publish.format, "url": tables_url(config), "commits": commits}
    if outcome.refused:
        found["refused"] = list(outcome.refused)
    return {"formats": found}


def commit_published(config: Config, *, days: Collection[date] | None = None, must: Collection[date] = ()) -> Outcome:
    """Commit each table of each published date that the format does not hold, the oldest date first.

    A date that is no longer published locally stays in the format.

    Args:
        config: The configuration; its output root is locked by the caller.
        days: Only these dates; they are looked up in the tables themselves, whatever was noted before.
        must: Dates that have to be committed; others may be refused when their types differ from the table's.

    Raises:
        ConfigError: The format's package is not installed, a date is not published, the type of a column has changed,
            or the store refuses.
        IntegrityError: A published file is not what its manifest says.
        ConflictError: Other writers were faster each time.
        TransientError: The store cannot be reached.
    """
    out = Path(config.out)
    published = published_dates(out)
    _check_published(days or (), published)
    if config.publish.format == "parquet" and is_remote(config.publish.url or ""):
        from engine.formats.parquet import upload_published

        return upload_published(config, tables_url(config), days, must)
    committed: list[Committed] = []
    refused: list[str] = []
    with open_tables(config) as tables:
        receipts = Receipts(tables.url) if days is not None else read_receipts(out, tables.url)
        asked = published if days is None else sorted(set(days))
        identities: dict[str, str | None] = {}
        # New tables take their types from the dates that have to be in them.
        for day in sorted(asked, key=lambda day: (day not in must, day)):
            noted = False
            for part in _parts(config, read_manifest(manifest_path(out, day))):
                if part.table not in identities:
                    identities[part.table] = tables.identity(part.table)
                if receipts.knows(part.table, identities[part.table], day, part.mark):
                    continue
                try:
                    done = _commit(tables, part)
                except ConfigError as error:
                    if error.code != SCHEMA_CHANGED or days is not None or day in must:
                        raise
                    refused.append(error.message)
                    continue
                committed += [] if done is None else [done]
                identities[part.table] = identities[part.table] or tables.identity(part.table)
                receipts.note(part.table, identities[part.table], day, part.mark)
                noted = True
            if noted and days is None:
                write_receipts(out, receipts)
    return Outcome(tuple(committed), tuple(refused))


def publish_again(config: Config, as_of: date | None = None) -> Outcome:
    """Commit what is published locally and not in the format: one date, or all of them.

    Args:
        config: The configuration.
        as_of: The date; every published one when None.

    Raises:
        ConfigError: Nothing is published, or as `commit_published`.
        ConflictError: Another run is writing to the same output.
        TamisError: As `commit_published`.
    """
    out = Path(config.out)
    check_format(config)
    if not out.is_dir():
        raise ConfigError(
            f"nothing is published: there is no folder {out}",
            code="format-not-published",
            hint="`tamis run` publishes a date.",
        )
    with writer_lock(out, "publish"):
        recover(out)
        return commit_published(config, days=None if as_of is None else (as_of,))


@contextmanager
def open_tables(config: Config) -> Iterator[FormatTables]:
    """The tables of the configuration's format.

    Raises:
        ConfigError: The format is `parquet`, or its package is not installed.
    """
    url = tables_url(config)
    if config.publish.format == "delta":
        require(*_PACKAGES["delta"])
        from engine.formats.delta import DeltaTables

        yield DeltaTables(url, config.publish.keep_days)
    elif config.publish.format == "iceberg":
        require(*_PACKAGES["iceberg"])
        from engine.formats.iceberg import open_iceberg

        with open_iceberg(url, config.publish.catalog or _catalog(config, url)) as tables:
            yield tables
    else:
        raise ConfigError(
            "publish.format is 'parquet': the tables are folders of files, and there is nothing to commit to",
            code="format-none",
            hint='Set publish.format to "delta" or "iceberg".',
        )


def tables_url(config: Config) -> str:
    """Where the tables of the format are."""
    return config.publish.url or str(Path(config.out) / f"_{config.publish.format}")


def table_names(config: Config, version: int | None = None) -> dict[str, str]:
    """Name in the format of each published table that is committed, in the order in which they are switched.

    Args:
        config: The configuration.
        version: Version of the tables; that of the configuration when None.
    """
    number = config.publish.table_version if version is None else version
    suffix = "" if number == 1 else f"_v{number}"
    return {name: f"{name}{suffix}" for name in TABLES if name in config.publish.tables}


def _catalog(config: Config, url: str) -> str:
    if "://" not in url:
        folder, name = Path(url), "catalog.db"
    else:
        folder, name = Path(config.out) / "_formats", f"catalog-{sha256(url.encode()).hexdigest()[:10]}.db"
    from sqlalchemy.engine import URL

    disk.make_folder(folder)
    # Some characters of a path have a meaning in an address.
    return URL.create("sqlite", database=str(folder.absolute() / name)).render_as_string(hide_password=False)


def _parts(config: Config, manifest: Manifest) -> list[Part]:
    # A date goes into the tables of the version that it was published with.
    version = manifest.counts.get(TABLE_VERSION, 1)
    names = table_names(config, version if isinstance(version, int) else 1)
    records = {table.name: table for table in manifest.tables}
    return [
        Part(named, manifest.as_of, manifest.run_id, Path(config.out), records.get(name))
        for name, named in names.items()
    ]


def _commit(tables: FormatTables, part: Part) -> Committed | None:
    held = tables.mark(part.table, part.as_of)
    if held is None and part.record is None:
        return None
    # A mark stays when a table is set back to an earlier version.
    if held == part.mark and tables.rows(part.table, part.as_of) == part.rows:
        return None
    version = tables.commit(part)
    return Committed(part.table, part.as_of, part.run_id, part.rows, len(part.files), version)


def _check_published(days: Collection[date], published: Collection[date]) -> None:
    missing = sorted(set(days) - set(published))
    if missing:
        last = ", ".join(day.isoformat() for day in sorted(published)[-10:]) or "none"
        raise ConfigError(
            f"nothing is published for {', '.join(day.isoformat() for day in missing)}",
            code="format-not-published",
            hint=f"Published dates: {last}.",
        )
