"""Contacts: attributes of users, as of any day.

In: files of any schema with a user column. Out: one part sorted by user key, readable by any range of users; with a
history it has a row for each day from which on other attributes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config, Contacts
from engine.contacts.cleaning import clean, flags_by_column, read_lists
from engine.contacts.duplicates.links import fill_merged
from engine.contacts.enrichment import EnrichmentRecord, added_columns, enrich
from engine.contacts.history import VALID_DAY, VALID_FROM, latest_at, latest_of_days, valid_columns
from engine.contacts.ids import user_ids
from engine.contacts.rules import FILE, ROW, Judged, judge, leaves_out
from engine.contacts.shape import Shape, contact_schema, shape_of
from engine.contacts.text import as_text, is_textual
from engine.errors import DataError
from engine.events.files import locate_files
from engine.events.ingest import REJECT_SCHEMA
from engine.events.mapping import stable_hash
from engine.events.read import reading
from engine.events.untrusted import naming_files
from engine.features.windows import day_number
from engine.privacy.ids import IdRules, as_kept, drop_erased, id_rules, without_names
from engine.remote.address import RemoteFile
from engine.remote.fetch import cache_folder, fetched_as
from engine.rollups.parts import write_part

OWNER = "contacts"
"""The source that rows are said to be of in `rejects`."""


@dataclass(frozen=True)
class ContactsTask:
    """The contacts to read.

    Attributes:
        contacts: Their configuration.
        part: The part to write; None to only check.
        cache: Where remote files are fetched to.
        timezone: The zone whose midnights part days.
        before: Rows that are valid from this day on (days since 1970-01-01) or later are of the future; None for none.
        rejects: Where rows that a rule leaves out are listed; None for nowhere.
        ids: What becomes of ids.
        merged: File of the ids whose contacts are one person's, as `engine.contacts.duplicates` gives them; None
            without.
    """

    contacts: Contacts
    part: str | None
    cache: str | None = None
    timezone: str = "UTC"
    before: int | None = None
    rejects: str | None = None
    ids: IdRules = field(default_factory=IdRules)
    merged: str | None = None


@dataclass(frozen=True)
class ContactsRecord:
    """What was read.

    Attributes:
        rows: Rows of the files.
        left_out: Rows without a user id.
        attributes: Name and Polars type, as text, of each attribute.
        part: The part that was written.
        later: Rows of the future; None without a history.
        cleaned: What was counted of addresses and numbers, if any are cleaned.
        broken: By rule, the rows that break it.
        quarantined: Rows that a rule leaves out; None when none does that.
        enriched: What was added from other tables.
        rejects: The file with the rows that a rule leaves out, when there are any.
        erased: Rows of people who were erased.
    """

    rows: int
    left_out: int
    attributes: tuple[tuple[str, str], ...]
    part: str | None
    later: int | None = None
    cleaned: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    quarantined: int | None = None
    enriched: tuple[EnrichmentRecord, ...] = ()
    rejects: str | None = None
    erased: int = 0


@dataclass(frozen=True)
class _Read:
    """Contacts as they were read.

    Attributes:
        rows: `user_id` (text), with a history `VALID_DAY`, and the columns of the shape; at most one row per user and
            day.
        record: What is told of them; without files that were written.
        left_out: As `REJECT_SCHEMA`.
    """

    rows: pl.DataFrame
    record: ContactsRecord
    left_out: pl.DataFrame


def read_contacts(task: ContactsTask) -> ContactsRecord:
    """Read contacts that `contact_schema` has checked, check that each user is there once, write them sorted by key.

    Text is normalised to NFC, so that a rule finds `Île-de-France` however its accents were encoded.

    Raises:
        ConfigError: A library is not installed.
        DataError: A user with more than one row, or more than one from the same instant; a file that cannot be read.
    """
    read = _read(task)
    record = read.record
    if task.part is not None:
        keyed = read.rows.select(stable_hash(pl.col("user_id")).alias("user_key"), pl.all())
        order = ["user_key", "user_id", *([VALID_DAY] if VALID_DAY in keyed.columns else [])]
        write_part(keyed.sort(order), task.part)
    rejects = task.rejects if read.left_out.height else None
    if rejects is not None:
        write_part(read.left_out, rejects)
    return ContactsRecord(**{**vars(record), "part": task.part, "rejects": rejects})


def cleaned_contacts(config: Config, as_of: date | None = None, columns: Sequence[str] = ()) -> pl.DataFrame:
    """The contacts as they count for a day: one row per user, cleaned, enriched, without rows that a rule leaves out.

    Args:
        config: With `[contacts]`.
        as_of: The day; None for the last row of each user.
        columns: Columns of the files that are wanted beside the attributes.

    Returns:
        `user_id` (text, ascending), the attributes, and of `columns` those that are none.

    Raises:
        ConfigError: As `contact_schema`.
        DataError: As `contact_schema` and `read_contacts`.
    """
    if config.contacts is None:
        message = "cleaned_contacts() needs contacts"
        raise ValueError(message)
    contact_schema(config.contacts, cache_folder(Path(config.out)), columns)
    before = None if as_of is None else day_number(as_of)
    cache = str(cache_folder(Path(config.out)))
    task = ContactsTask(config.contacts, None, cache, config.timezone, before, ids=id_rules(config))
    return latest_at(_read(task, columns).rows, "user_id", before).sort("user_id")


def every_contact(config: Config, columns: Sequence[str]) -> pl.DataFrame:
    """All rows of the contacts with an id, cleaned: also those that a rule leaves out, and of whatever time.

    Args:
        config: With `[contacts]`.
        columns: Columns of the files; those with addresses and numbers that are cleaned are among them.

    Returns:
        `user_id` (text; a user may be there several times) and the columns; what cannot be right is kept.

    Raises:
        ConfigError: As `contact_schema`.
        DataError: As `contact_schema`, or a file that cannot be read.
    """
    if config.contacts is None:
        message = "every_contact() needs contacts"
        raise ValueError(message)
    whole = {"names": (), "role_names": None, "disposable_domains": None, "invalid": "keep"}
    cleaning = config.contacts.cleaning.model_copy(update=whole)
    plain = {"rules": (), "enrich": (), "model_columns": (), "cleaning": cleaning}
    contacts, cache = config.contacts.model_copy(update=plain), cache_folder(Path(config.out))
    contact_schema(contacts, cache, columns)
    task = ContactsTask(contacts, None, str(cache), config.timezone, ids=id_rules(config))
    with fetched_as(locate_files(OWNER, contacts.path), cache) as files:
        rows = _rows(task, shape_of(contacts, str(files[0]), cache, columns), [str(file) for file in files])
    known = user_ids(rows, "user_id").select("user_id", *columns).filter(pl.col("user_id").is_not_null())
    reached = clean(drop_erased(known, task.ids, "user_id"), cleaning, read_lists(cleaning))[0]
    return as_kept(reached.select("user_id", *columns), task.ids, "user_id")


def _read(task: ContactsTask, more: Sequence[str] = ()) -> _Read:
    located = locate_files(OWNER, task.contacts.path)
    cache = None if task.cache is None else Path(task.cache)
    with fetched_as(located, cache) as files:
        shape = shape_of(task.contacts, str(files[0]), cache, more)
        rows = _rows(task, shape, [str(file) for file in files])
    contacts = task.contacts
    total = rows.height
    known = user_ids(rows, "user_id").filter(pl.col("user_id").is_not_null())
    left_out, later = total - known.height, None
    known, with_erased = drop_erased(known, task.ids, "user_id"), known.height
    erased = with_erased - known.height
    if contacts.valid_from is not None:
        past = known if task.before is None else known.filter(pl.col(VALID_DAY) <= task.before)
        known, later = past, known.height - past.height
    known, cleaned = clean(known, contacts.cleaning, read_lists(contacts.cleaning, cache))
    enriched = []
    for enrichment in contacts.enrich:
        known, added = enrich(known, enrichment, contacts.cleaning, cache)
        enriched.append(added)
    known = without_names(known, task.ids, "user_id")
    # What a condition trips over is told without the value.
    with reading(OWNER, "contacts.rules"):
        judged = judge(known, contacts.rules)
    # Two spellings of an id in Unicode have one pseudonym, so it is told of these whether a user is there twice.
    kept = as_kept(judged.rows.drop(FILE, ROW, strict=False), task.ids, "user_id")
    _check_once(kept, contacts)
    if contacts.valid_from is not None:
        kept = latest_of_days(kept)
    record = ContactsRecord(
        rows=total,
        left_out=left_out,
        attributes=tuple((name, str(dtype)) for name, dtype in shape.attributes.items()),
        part=None,
        later=later,
        cleaned=cleaned,
        broken=judged.broken,
        quarantined=judged.left_out.height if leaves_out(contacts.rules) else None,
        enriched=tuple(enriched),
        erased=erased,
    )
    days = [VALID_DAY] if contacts.valid_from is not None else []
    wanted = dict.fromkeys((*shape.attributes, *more))
    if task.merged is not None:
        merged = pl.read_parquet(task.merged, glob=False, hive_partitioning=False)
        flags = flags_by_column(contacts.cleaning)
        groups = added_columns(contacts, cache)
        matched = [on for on, _ in groups if on is not None]
        kept = kept.select("user_id", *days, *dict.fromkeys((*wanted, *flags, *matched)))
        kept = fill_merged(kept, merged, VALID_DAY if days else None, flags, groups)
    return _Read(kept.select("user_id", *days, *wanted), record, _rejects(judged, located))


def _rows(task: ContactsTask, shape: Shape, files: Sequence[str]) -> pl.DataFrame:
    """The columns that are looked at, of all rows of all files."""
    contacts = task.contacts
    columns = [
        pl.col(contacts.user_id).cast(pl.String).alias("user_id"),
        *(_column(name, shape.schema[name], dtype) for name, dtype in shape.columns.items()),
    ]
    if contacts.valid_from is not None:
        columns += valid_columns(contacts.valid_from, shape.schema[contacts.valid_from], task.timezone)
    named = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    with naming_files(OWNER, files, shape.needed), reading(OWNER, named):
        if not leaves_out(contacts.rules):
            scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False, extra_columns="ignore")
            return scan.select(columns).collect()
        parts = [
            pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name=ROW).select(
                *columns, ROW, pl.lit(number, pl.UInt32).alias(FILE)
            )
            for number, file in enumerate(files)
        ]
        return pl.concat(parts).collect()


def _column(name: str, stored: pl.DataType, dtype: pl.DataType) -> pl.Expr:
    if dtype != pl.String:
        return pl.col(name).cast(dtype)
    return as_text(name, stored) if is_textual(stored) else pl.col(name).cast(pl.String)


def _check_once(rows: pl.DataFrame, contacts: Contacts) -> None:
    """Stop when a user has two rows, or two from the same instant."""
    key = ["user_id"] if contacts.valid_from is None else ["user_id", VALID_FROM]
    repeated = rows.height - rows.select(key).n_unique()
    if not repeated:
        return
    if contacts.valid_from is None:
        raise DataError(
            f"contacts: {repeated} of {rows.height} rows repeat a user; expected one per {contacts.user_id!r}",
            code="contacts-repeated",
            hint="Keep one row per user before the run.",
        )
    raise DataError(
        f"contacts: {repeated} of {rows.height} rows repeat a user and a {contacts.valid_from!r}; expected one of each",
        code="contacts-repeated",
        hint="Keep one row per user and instant before the run.",
    )


def _rejects(judged: Judged, located: Sequence[Path | RemoteFile]) -> pl.DataFrame:
    if judged.left_out.is_empty():
        return pl.DataFrame(schema=REJECT_SCHEMA)
    names = pl.DataFrame(
        {"file": range(len(located)), "name": [str(file) for file in located]},
        schema={"file": pl.UInt32, "name": pl.String},
    )
    named = judged.left_out.join(names, on="file", how="left").sort("file", "row")
    return named.select(source=pl.lit(OWNER), file="name", row="row", rule="rule", reason="reason").select(
        pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items()
    )
