"""Contacts: one row of attributes per user, joined as they are.

In: files of any schema with a user column. Out: one part sorted by user key, readable by any range of users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.config import Contacts
from engine.errors import DataError
from engine.events.files import locate_files
from engine.events.mapping import stable_hash
from engine.events.probe import Footer, read_footers
from engine.events.read import reading
from engine.events.schema import RESERVED_NAMES
from engine.events.untrusted import naming_files
from engine.remote.fetch import fetched_as
from engine.rollups.parts import write_part
from engine.suggest import did_you_mean


@dataclass(frozen=True)
class ContactsTask:
    """The contacts to read and the part to write (None to only check), and where remote files are fetched to."""

    contacts: Contacts
    part: str | None
    cache: str | None = None


@dataclass(frozen=True)
class ContactsRecord:
    """What was read.

    Attributes:
        rows: Rows of the files.
        left_out: Rows without a user id.
        attributes: Name and Polars type, as text, of each attribute.
        part: The part that was written.
    """

    rows: int
    left_out: int
    attributes: tuple[tuple[str, str], ...]
    part: str | None


def contact_schema(contacts: Contacts, cache: Path | None = None) -> tuple[list[str], dict[str, pl.DataType]]:
    """Files and attribute types of the contacts.

    Args:
        contacts: Their configuration.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: An unreadable file, or columns that are not there.
    """
    located = locate_files("contacts", contacts.path)
    with fetched_as(located, cache) as files:
        return [str(file) for file in located], _checked_schema(contacts, files)


def _checked_schema(contacts: Contacts, found: Sequence[Path]) -> dict[str, pl.DataType]:
    footers = read_footers(found)
    bad = [f"  {footer.file}: {footer.problem}" for footer in footers if footer.problem]
    if bad:
        raise DataError("contacts: cannot read\n" + "\n".join(bad), code="input-unreadable", hint="Restore the files.")
    files = [str(footer.file) for footer in footers]
    schema = _schema(files[0])
    wanted = _wanted(contacts, schema)
    problems = _differing_columns(footers, (contacts.user_id, *wanted))
    problems += [
        f"  model_columns: {name!r} is not among the attributes{did_you_mean(name, wanted)}"
        for name in contacts.model_columns
        if name not in wanted
    ]
    problems += [
        f"  {name!r} is a name of tamis itself; rename the attribute, or leave it out of contacts.columns"
        for name in wanted
        if name in RESERVED_NAMES or name.startswith("__")
    ]
    id_dtype = schema.get(contacts.user_id, pl.String())
    if not (id_dtype.is_integer() or id_dtype == pl.String or isinstance(id_dtype, pl.Categorical | pl.Enum)):
        problems.append(f"  {contacts.user_id}: expected an integer or a string, got {id_dtype}")
    if problems:
        raise DataError(
            "contacts: the columns do not fit\n" + "\n".join(problems),
            code="contacts-columns",
            hint="Columns of the files: " + ", ".join(schema),
        )
    return {name: _attribute_dtype(schema[name]) for name in wanted}


def _schema(file: str) -> dict[str, pl.DataType]:
    with reading("contacts", file):
        return dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())


def _wanted(contacts: Contacts, schema: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    return contacts.columns or tuple(name for name in schema if name != contacts.user_id)


def _differing_columns(footers: Sequence[Footer], names: Sequence[str]) -> list[str]:
    """Columns that a file does not have, or has in another type than the first file."""
    first = dict(footers[0].columns)
    problems = []
    for footer in footers:
        there = dict(footer.columns)
        for name in names:
            if name not in there:
                problems.append(f"  no column {name!r} in {footer.file}{did_you_mean(name, there)}")
            elif there[name] != first.get(name, there[name]):
                problems.append(f"  {name}: {there[name]} in {footer.file}, {first[name]} in {footers[0].file}")
    return problems


def read_contacts(task: ContactsTask) -> ContactsRecord:
    """Read contacts that `contact_schema` has checked, check that each user is there once, write them sorted by key.

    Text is normalised to NFC, so that a rule finds `Île-de-France` however its accents were encoded.

    Raises:
        DataError: A user with more than one row, or a file that cannot be read.
    """
    located = locate_files("contacts", task.contacts.path)
    with fetched_as(located, None if task.cache is None else Path(task.cache)) as found:
        return _read(task, [str(file) for file in found])


def _read(task: ContactsTask, files: Sequence[str]) -> ContactsRecord:
    schema = _schema(files[0])
    attributes = {name: _attribute_dtype(schema[name]) for name in _wanted(task.contacts, schema)}
    named = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    columns = [task.contacts.user_id, *attributes]
    with naming_files("contacts", files, columns), reading("contacts", named):
        frame = (
            pl.scan_parquet(list(files), glob=False, hive_partitioning=False, extra_columns="ignore")
            .select(
                pl.col(task.contacts.user_id).cast(pl.String).alias("user_id"),
                *(_attribute(name, dtype) for name, dtype in attributes.items()),
            )
            .collect()
        )
    known = frame.filter(pl.col("user_id") != "")
    repeated = known.height - known["user_id"].n_unique()
    if repeated:
        raise DataError(
            f"contacts: {repeated} of {known.height} rows repeat a user; expected one per {task.contacts.user_id!r}",
            code="contacts-repeated",
            hint="Keep one row per user before the run.",
        )
    if task.part is not None:
        keyed = known.select(stable_hash(pl.col("user_id")).alias("user_key"), pl.all())
        write_part(keyed.sort("user_key", "user_id"), task.part)
    listed = tuple((name, str(dtype)) for name, dtype in attributes.items())
    return ContactsRecord(frame.height, frame.height - known.height, listed, task.part)


def _attribute_dtype(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    return dtype


def _attribute(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name).cast(dtype)
    return column.str.normalize("NFC") if dtype == pl.String else column
