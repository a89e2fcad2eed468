"""What is published for one date, opened to be asked: tables, segments, sizes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import ConfigError, IntegrityError
from engine.segments.definition import Definition
from engine.suggest import did_you_mean, some_of
from engine.tables.durable import sha256_of
from engine.tables.layout import manifest_path, manifests_folder
from engine.tables.manifest import Manifest, TableRecord, read_manifest

NEEDED = ("features", "scores", "memberships", "segment_definitions")
"""Tables without which nothing can be told about the segments of a date."""

_SHOWN_DATES = 10
_PART = re.compile(r"part-(\d+)")


@dataclass(frozen=True)
class PublishedSegment:
    """One row of the table `segment_definitions`.

    Attributes:
        definition: Name, kind, group (None: a tag), rule, priority, labels, campaigns, description, version; of a list
            without its file, of an arm without its bounds: the table does not have them.
        position: Place among all definitions; within a group and priority the lower one is tried first.
        frozen_on, expires_on: Of a list.
        depends_on: Segments that its rule asks for.
    """

    definition: Definition
    position: int
    frozen_on: date | None
    expires_on: date | None
    depends_on: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Within a group, the lowest that holds wins; fallbacks are tried when nothing else holds."""
        return self.definition.kind == "fallback", -self.definition.priority, self.position

    def label(self, language: str) -> str:
        """What people read; the name where no label of the language was given."""
        return dict(self.definition.labels).get(language, self.name)


@dataclass(frozen=True)
class Published:
    """The tables of one date."""

    out: Path
    manifest: Manifest

    @property
    def as_of(self) -> date:
        return self.manifest.as_of

    def table(self, name: str) -> TableRecord | None:
        """The record of a table; None when the date has none of that name."""
        return next((table for table in self.manifest.tables if table.name == name), None)

    def files(self, name: str) -> list[Path]:
        """The files of a table; none when the date has no such table."""
        table = self.table(name)
        return [] if table is None else [self.out / record.path for record in table.records]

    def parts(self, name: str) -> dict[str, Path]:
        """The files of a table by the number of the bucket whose users they have."""
        found = {}
        for path in self.files(name):
            match = _PART.match(path.name)
            found[match.group(1) if match else path.name] = path
        return found

    def schema(self, name: str) -> dict[str, pl.DataType]:
        """Columns and types of a table; empty when the date has no such table."""
        files = self.files(name)
        try:
            return dict(pl.read_parquet_schema(files[0])) if files else {}
        except (FileNotFoundError, pl.exceptions.PolarsError) as error:
            raise _gone(self.as_of) from error

    def read(self, name: str, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
        """Rows of a table in the order of its files; no file is read further than the predicate asks.

        Raises:
            IntegrityError: A file of the table is not there, or cannot be read.
        """
        files = self.files(name)
        if not files:
            return pl.DataFrame()
        scan = pl.scan_parquet(files, glob=False, hive_partitioning=False)
        scan = scan if where is None else scan.filter(where)
        try:
            return (scan if columns is None else scan.select(columns)).collect()
        except (FileNotFoundError, pl.exceptions.ComputeError) as error:
            raise _gone(self.as_of) from error

    def check_contents(self, names: Collection[str]) -> None:
        """Stop when a file of the named tables is not what was written; readers take a flipped bit for data.

        Raises:
            IntegrityError: One is not there, or differs from its SHA-256.
        """
        for name in names:
            table = self.table(name)
            for record in () if table is None else table.records:
                try:
                    changed = sha256_of(self.out / record.path) != record.sha256
                except FileNotFoundError as error:
                    raise _gone(self.as_of) from error
                if changed:
                    raise IntegrityError(
                        f"{record.path}: the content differs from its SHA-256",
                        code="table-mismatch",
                        hint=f"The file was changed after it was written; run {self.as_of} again.",
                    )

    @cached_property
    def user_dtype(self) -> str:
        """`Int64` or `String`."""
        return str(self.schema("features")["user_id"])

    @cached_property
    def users(self) -> int:
        """Users that were scored."""
        table = self.table("features")
        return 0 if table is None else table.rows

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Users of each segment that has any."""
        if self.table("memberships") is None:
            return {}
        counted = self.read("memberships", ["segment"])["segment"].value_counts()
        return {str(name): int(users) for name, users in counted.iter_rows()}

    @cached_property
    def segments(self) -> tuple[PublishedSegment, ...]:
        """The definitions that the date was scored with, in the order of the configuration."""
        rows = self.read("segment_definitions").sort("position").iter_rows(named=True)
        return tuple(map(_segment, rows))

    def segment(self, name: str) -> PublishedSegment:
        """The definition of a segment.

        Raises:
            ConfigError: There was none of that name.
        """
        plain = unicodedata.normalize("NFC", name)
        found = next((segment for segment in self.segments if segment.name == plain), None)
        if found is None:
            names = [segment.name for segment in self.segments]
            raise ConfigError(
                f"no segment {name!r} on {self.as_of}{did_you_mean(name, names)}",
                code="segment-unknown",
                hint=f"Segments: {some_of(names, command='tamis segments list')}."
                if names
                else "The date was scored without segments.",
            )
        return found


def published_dates(out: Path) -> list[date]:
    """The dates with a manifest, ascending."""
    stems = (file.stem.removeprefix("as_of=") for file in manifests_folder(out).glob("as_of=*.json"))
    return sorted(date.fromisoformat(stem) for stem in stems if re.fullmatch(r"\d{4}-\d{2}-\d{2}", stem))


def open_published(out: Path, as_of: date | None, needed: Sequence[str] = NEEDED) -> Published:
    """The tables of one date, the latest one when None.

    Raises:
        ConfigError: Nothing is published for the date, or it lacks tables that the question needs.
        IntegrityError: The manifest is damaged.
    """
    dates = published_dates(out)
    day = as_of or (dates[-1] if dates else None)
    if day is None or day not in dates:
        near = sorted(sorted(dates, key=lambda other: (abs((other - day).days), other))[:_SHOWN_DATES]) if day else []
        more = f" ({len(dates)} in all, these are the nearest)" if len(dates) > len(near) else ""
        raise ConfigError(
            f"nothing is published for {day} under {out}" if day else f"nothing is published under {out}",
            code="not-published",
            hint=f"Published dates{more}: {', '.join(map(str, near))}." if near else "Run `tamis run` first.",
        )
    found = Published(out, read_manifest(manifest_path(out, day)))
    lacking = [name for name in needed if found.table(name) is None]
    if lacking:
        raise ConfigError(
            f"what is published for {day} has no table {', '.join(lacking)}",
            code="not-published",
            hint=f"It is of another version of Tamis: run `tamis score --as-of {day}` again.",
        )
    return found


def previous_published(published: Published) -> Published | None:
    """The latest date before this one that has memberships; None without."""
    for day in reversed([day for day in published_dates(published.out) if day < published.as_of]):
        found = Published(published.out, read_manifest(manifest_path(published.out, day)))
        if found.table("memberships") is not None:
            return found
    return None


def _segment(row: Mapping[str, Any]) -> PublishedSegment:
    labels = [(name.removeprefix("label_"), text) for name, text in row.items() if name.startswith("label_") and text]
    return PublishedSegment(
        Definition(
            name=row["segment"],
            kind=row["kind"],
            group=row["group"],
            where=row["rule"],
            priority=row["priority"],
            labels=tuple(labels),
            campaigns=tuple(row["campaigns"]),
            description=row["description"],
            version=row["rule_version"],
        ),
        position=row["position"],
        frozen_on=row["frozen_on"],
        expires_on=row["expires_on"],
        depends_on=tuple(row["depends_on"]),
    )


def _gone(as_of: date) -> IntegrityError:
    return IntegrityError(
        f"files that the manifest of {as_of} names are not there or cannot be read",
        code="table-mismatch",
        hint="Ask again if the date was being published just now; else run the date again.",
    )
