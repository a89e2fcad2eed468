"""The published date before a date: its memberships, and the features, scores and definitions behind them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import TypeAdapter

from engine.errors import DataError, IntegrityError
from engine.events.keys import user_key
from engine.features.spec import FeatureSpec
from engine.rollups.ranges import KEYS, KeyRange
from engine.tables import disk
from engine.tables.durable import sha256_of
from engine.tables.layout import manifest_path
from engine.tables.manifest import Manifest, TableRecord, read_manifest
from engine.why.published import published_dates

READ: Final = ("features", "scores", "segment_definitions", "memberships")
"""The tables of the date before that the ledger of a date is made from."""

MEMBERS: Final = ("user_id", "segment", "group", "entered_on", "previous_segment", "rule_version")
"""Columns of `previous_members`."""

_PART = re.compile(r"part-(\d{5})-")
_SHOWN: Final = 20
KEY_COUNT: Final = "key"
"""Under what a manifest says with which key its users' pseudonyms were made."""


@dataclass(frozen=True)
class Link:
    """What the ledger of a date was made from: equal links, equal ledger.

    Attributes:
        as_of: The date before.
        memberships: Hash of the run's id and of the contents of its table `memberships`; names of files play no part.
            The id stands for all that went into the run, features and definitions too.
    """

    as_of: date
    memberships: str


@dataclass(frozen=True)
class Previous:
    """A published date as the ledger of a later one reads it; small and picklable.

    Attributes:
        link: Which date, in which state.
        out: The output root.
        files: Per table of `READ`, number of the bucket and path of each file relative to `out`.
        buckets: Into how many ranges of keys it was cut.
        checksums: SHA-256 (hex) of each of the files, by its path.
        scattered: Whether users may lie in files of other ranges than that of their key.
    """

    link: Link
    out: str
    files: tuple[tuple[str, tuple[tuple[int, str], ...]], ...]
    buckets: int
    checksums: tuple[tuple[str, str], ...]
    scattered: bool = False

    @property
    def as_of(self) -> date:
        return self.link.as_of

    def paths(self, table: str) -> list[str]:
        """The files of one table; empty when it was not published."""
        return [str(Path(self.out, path)) for _, path in dict(self.files).get(table, ())]

    def near(self, keys: KeyRange) -> Previous:
        """The same with the files that users of a range of keys can lie in, and all definitions."""
        if self.scattered:
            return self
        files = {
            name: parts
            if name == "segment_definitions"
            else tuple(part for part in parts if self._meets(part[0], keys))
            for name, parts in self.files
        }
        paths = {path for parts in files.values() for _, path in parts}
        checksums = tuple(known for known in self.checksums if known[0] in paths)
        return replace(self, files=tuple(files.items()), checksums=checksums)

    def check(self, *tables: str) -> None:
        """Stop when files of some tables are not those that were published: a flipped bit is read as good data.

        The bytes are read here first, so that the reader finds them in memory: 1 s for each GB.

        Raises:
            IntegrityError: The files that are missing or have other bytes.
        """
        known, files = dict(self.checksums), dict(self.files)
        paths = [path for name in tables for _, path in files.get(name, ())]
        wrong = [path for path in paths if not _has_bytes(Path(self.out, path), known[path])]
        if wrong:
            raise _changed(self.as_of, wrong)

    def _meets(self, bucket: int, keys: KeyRange) -> bool:
        return KEYS * bucket // self.buckets < keys.end and keys.start < KEYS * (bucket + 1) // self.buckets


def find_previous(out: Path, as_of: date, *, rekeyed: int = 0) -> Previous | None:
    """The latest published date before `as_of` that has a ledger; None for the first one.

    Args:
        out: The output root.
        as_of: Day of the run.
        rekeyed: User ids of the run that share their key with another one and were given a key of their own.

    Raises:
        IntegrityError: Its files are not those of its manifest.
    """
    manifest = nearest_ledger(out, [day for day in reversed(published_dates(out)) if day < as_of])
    return None if manifest is None else previous_of(manifest, out, rekeyed=rekeyed)


def nearest_ledger(out: Path, days: Iterable[date]) -> Manifest | None:
    """The manifest of the first of some published dates that has a ledger."""
    manifests = (read_manifest(manifest_path(out, day)) for day in days)
    return next((manifest for manifest in manifests if has_ledger(manifest)), None)


def has_ledger(manifest: Manifest) -> bool:
    """Whether a date was published with a ledger (dates of versions before it have none)."""
    return "ledger" in manifest.counts


def link_of(manifest: Manifest) -> Link:
    """What the ledger of the next date is made from."""
    files = (record for table in manifest.tables if table.name == "memberships" for record in table.records)
    contents = "\n".join([manifest.run_id, *(f"{record.rows} {record.sha256}" for record in files)])
    return Link(manifest.as_of, hashlib.sha256(contents.encode()).hexdigest())


def user_type(manifest: Manifest) -> str | None:
    """Type of the user ids of a published date, Int64 or String; None when it has no users."""
    schemas = [dict(table.schema) for table in manifest.tables if table.name in READ]
    return next((schema["user_id"] for schema in schemas if "user_id" in schema), None)


def previous_of(manifest: Manifest, out: Path, *, rekeyed: int = 0) -> Previous:
    """A published date with a ledger, to be read; see `find_previous`."""
    tables = {table.name: table for table in manifest.tables if table.name in READ}
    _check_files(out, manifest.as_of, tables.values())
    ledger = ledger_of(manifest)
    return Previous(
        link=link_of(manifest),
        out=str(out),
        files=tuple((name, parts_of(table)) for name, table in sorted(tables.items())),
        buckets=int(str(ledger["buckets"])),
        checksums=tuple((record.path, record.sha256) for table in tables.values() for record in table.records),
        scattered=bool(rekeyed or ledger["rekeyed"]),
    )


def ledger_of(manifest: Manifest) -> Mapping[str, object]:
    """What a manifest says about its ledger: `counts["ledger"]`.

    Raises:
        IntegrityError: It says something else than what is written there.
    """
    found = manifest.counts["ledger"]
    if isinstance(found, dict) and isinstance(found.get("buckets"), int) and isinstance(found.get("rekeyed"), int):
        return found
    raise _unclear(manifest)


def features_of(manifest: Manifest) -> FeatureSpec | None:
    """The features of a published date, which name what the event functions of its rules are; None when not known.

    Raises:
        IntegrityError: The manifest says something else than what is written there.
    """
    found = ledger_of(manifest).get("features")
    if found is None:
        return None
    try:
        return TypeAdapter(FeatureSpec).validate_json(json.dumps(found), strict=True)
    except ValueError as error:
        raise _unclear(manifest) from error


def _unclear(manifest: Manifest) -> IntegrityError:
    return IntegrityError(
        f"the manifest of {manifest.as_of} does not say how its ledger was made",
        code="ledger-manifest",
        hint=f"Run {manifest.as_of} again.",
    )


def parts_of(table: TableRecord) -> tuple[tuple[int, str], ...]:
    """Number of the bucket and path of each file of a table; 0 for a file that belongs to no bucket."""
    found = ((_PART.match(Path(record.path).name), record.path) for record in table.records)
    return tuple((0 if match is None else int(match.group(1)), path) for match, path in found)


def previous_members(
    previous: Previous, keys: KeyRange, users: pl.DataFrame, everyone: pl.Series | None = None
) -> pl.DataFrame:
    """Memberships of the date before, of a bucket's users and of users of its range of keys that are gone.

    A user belongs to the bucket that has events of theirs; one that is in no bucket, to the bucket of their key. So
    each membership of the date before is in exactly one bucket, whatever the number of buckets was then.

    Args:
        previous: The date before.
        keys: The bucket's range.
        users: The bucket's users: `user_id`.
        everyone: Ids of the users of all buckets; needed when `previous.scattered`, to tell who is gone.

    Returns:
        One row per user and segment with the columns of `MEMBERS`, sorted by `user_id` and `segment`.
    """
    near = previous.near(keys)
    paths = near.paths("memberships")
    schema = {name: users.schema["user_id"] if name == "user_id" else pl.String() for name in MEMBERS}
    if not paths:
        return pl.DataFrame(schema=schema | {"entered_on": pl.Date()})
    near.check("memberships")
    rows = pl.read_parquet(paths, columns=list(MEMBERS), glob=False, hive_partitioning=False)
    here = rows["user_id"].is_in(users["user_id"].implode())
    others = rows.filter(~here)
    if everyone is not None:
        others = others.filter(~others["user_id"].is_in(everyone.implode()))
    gone = others.with_columns(user_key=user_key(pl.col("user_id"))).filter(keys.contains()).select(MEMBERS)
    return pl.concat([rows.filter(here), gone]).select(MEMBERS).sort("user_id", "segment")


def check_user_type(out: Path, as_of: date, user_dtype: str, key: str | None = None) -> None:
    """Stop before any work when the ids of users are others than on the published dates around `as_of`.

    Args:
        out: The output root.
        as_of: The date.
        user_dtype: Their type.
        key: Id of the key that they are pseudonyms under; None when they are not.

    Raises:
        DataError: They are of another type, or pseudonyms under another key: who stayed and who left could not be
            told.
    """
    dates = published_dates(out)
    for days in ([day for day in reversed(dates) if day < as_of], [day for day in dates if day > as_of]):
        manifest = nearest_ledger(out, days)
        if manifest is None:
            continue
        found = user_type(manifest)
        if found not in {None, user_dtype}:
            raise DataError(
                f"user ids are {user_dtype}; the memberships published for {manifest.as_of} have {found}: "
                "who stayed in a segment and who left cannot be told",
                code="ledger-user-id-type",
                hint="Cast the ids as before, or publish into another folder.",
            )
        before = manifest.counts.get(KEY_COUNT)
        if found is not None and before != key:
            said = [f"pseudonyms under the key {one}" if one else "ids of the sources" for one in (key, before)]
            raise DataError(
                f"users have {said[0]}; the memberships published for {manifest.as_of} have {said[1]}: "
                "who stayed in a segment and who left cannot be told",
                code="ledger-key",
                hint="Go on with the earlier key, or publish into another folder and remove this one when nobody reads "
                "it any more (docs/pseudonyms.md, rotation).",
            )


def _check_files(out: Path, as_of: date, tables: Iterable[TableRecord]) -> None:
    wrong = []
    for table in tables:
        sizes = {f"{table.path}/{name}": size for name, size in disk.list_files(out / table.path).items()}
        wrong += [record.path for record in table.records if sizes.get(record.path) != record.bytes]
    if wrong:
        raise _changed(as_of, wrong)


def _has_bytes(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except FileNotFoundError:
        return False


def _changed(as_of: date, wrong: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"files published for {as_of}, from which the ledger goes on, are missing or were changed:\n"
        + "\n".join(f"  {path}" for path in wrong[:_SHOWN]),
        code="ledger-previous",
        hint=f"Run {as_of} again, or remove its manifest to leave the date out.",
    )
