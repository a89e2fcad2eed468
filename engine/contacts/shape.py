"""What contacts are made of: which columns are read, and which attributes come of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import polars as pl

from engine.config import Contacts
from engine.contacts.cleaning import cleaned_columns, cleaning_problems, flags_of, read_lists
from engine.contacts.enrichment import USER, double_names, enrichment_schema, owner_of
from engine.contacts.history import is_moment
from engine.contacts.rules import columns_of, rule_flags, rule_problems
from engine.errors import DataError
from engine.events.files import locate_files
from engine.events.probe import Footer, read_footers
from engine.events.read import reading
from engine.events.schema import RESERVED_NAMES
from engine.remote.fetch import fetched_as
from engine.suggest import did_you_mean


@dataclass(frozen=True)
class Shape:
    """The columns of contacts.

    Attributes:
        schema: Name and type of the columns of the first file.
        needed: The columns that every file must have.
        columns: The columns that are read, with the type that they get: attributes, and what only cleaning, rules and
            enrichment look at.
        attributes: Name and type of every attribute, in order: of the files, then what cleaning, enrichment and rules
            add.
        problems: What does not fit, a line each.
    """

    schema: dict[str, pl.DataType]
    needed: tuple[str, ...]
    columns: dict[str, pl.DataType]
    attributes: dict[str, pl.DataType]
    problems: tuple[str, ...]


def contact_schema(
    contacts: Contacts, cache: Path | None = None, more: Sequence[str] = ()
) -> tuple[list[str], dict[str, pl.DataType]]:
    """Files and attribute types of the contacts.

    Args:
        contacts: Their configuration.
        cache: Where files of object stores are fetched to.
        more: Columns of the files that are wanted beside the attributes.

    Raises:
        ConfigError: No file, a list that cannot be read, or a library that is not installed.
        DataError: An unreadable file, or columns, rules or enrichments that do not fit; all of them at once.
    """
    located = locate_files("contacts", contacts.path)
    with fetched_as(located, cache) as files:
        footers = read_footers(files)
        bad = [f"  {footer.file}: {footer.problem}" for footer in footers if footer.problem]
        if bad:
            message = "contacts: cannot read\n" + "\n".join(bad)
            raise DataError(message, code="input-unreadable", hint="Restore the files.")
        shape = shape_of(contacts, str(footers[0].file), cache, more)
        problems = [*differing_columns(footers, shape.needed), *shape.problems]
        if problems:
            raise DataError(
                "contacts: the columns do not fit\n" + "\n".join(problems),
                code="contacts-columns",
                hint="Columns of the files: " + ", ".join(shape.schema),
            )
    read_lists(contacts.cleaning, cache)
    return [str(file) for file in located], shape.attributes


def shape_of(contacts: Contacts, file: str, cache: Path | None = None, more: Sequence[str] = ()) -> Shape:
    """The columns of contacts, as far as one file tells.

    Args:
        contacts: Their configuration.
        file: The first file.
        cache: Where files of object stores are fetched to.
        more: Columns of the files that are wanted beside the attributes.

    Raises:
        ConfigError: An enrichment without files, or a library that is not installed.
        DataError: An unreadable file.
    """
    with reading("contacts", file):
        schema = dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())
    apart = {contacts.user_id, contacts.valid_from}
    wanted = contacts.columns or tuple(name for name in schema if name not in apart)
    cleaned = cleaned_columns(contacts.cleaning)
    looked_at = [
        name
        for name in (*columns_of(contacts.rules), *(one.on for one in contacts.enrich))
        if name in schema and name not in apart
    ]
    asked = tuple(dict.fromkeys((*wanted, *cleaned, *more, *looked_at)))
    columns = {name: _read_dtype(schema[name], is_cleaned=name in cleaned) for name in asked if name in schema}
    attributes, problems = _with_added(contacts, columns, wanted, cache)
    valid = () if contacts.valid_from is None else (contacts.valid_from,)
    shape = Shape(
        schema=schema,
        needed=tuple(dict.fromkeys((contacts.user_id, *wanted, *cleaned, *more, *looked_at, *valid))),
        columns=columns,
        attributes=attributes,
        problems=(),
    )
    return replace(shape, problems=(*_name_problems(contacts, shape), *problems))


def _with_added(
    contacts: Contacts, columns: dict[str, pl.DataType], wanted: Sequence[str], cache: Path | None
) -> tuple[dict[str, pl.DataType], list[str]]:
    """The attributes, with those that cleaning, enrichment and rules add, and what is wrong with these."""
    flags = dict.fromkeys(flags_of(contacts.cleaning), pl.Boolean())
    problems = []
    added: list[tuple[str, Sequence[str]]] = [("contacts.cleaning", tuple(flags))]
    known: dict[str, pl.DataType] = {**columns, **flags}
    enriched: dict[str, pl.DataType] = {}
    for enrichment in contacts.enrich:
        # What an enrichment before has added can be matched too.
        found, wrong = enrichment_schema(enrichment, {**known, **enriched}, cache)
        added.append((owner_of(enrichment), tuple(found)))
        enriched |= found
        problems += wrong
    names = [one.name for one in contacts.enrich]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"  contacts.enrich: two entries named {name!r}" for name in twice]
    problems += rule_problems(contacts.rules, {**known, **enriched})
    of_rules = dict.fromkeys(rule_flags(contacts.rules), pl.Boolean())
    added.append(("contacts.rules", tuple(of_rules)))
    problems += double_names(columns, added)
    kept = {name: columns[name] for name in wanted if name in columns}
    return {**kept, **flags, **enriched, **of_rules}, problems


def _name_problems(contacts: Contacts, shape: Shape) -> list[str]:
    attributes = tuple(dict.fromkeys((*contacts.columns, *shape.attributes)))
    problems = [
        f"  model_columns: {name!r} is not among the attributes{did_you_mean(name, attributes)}"
        for name in contacts.model_columns
        if name not in attributes
    ]
    problems += [
        f"  {name!r} is a name of tamis itself; rename the attribute, or leave it out of contacts.columns"
        for name in attributes
        if name in RESERVED_NAMES or name.startswith("__")
    ]
    # Beside the attributes, they stand in the same rows as the user's id.
    problems += [
        f"  {name!r} is a name of tamis itself; rename the column that is cleaned, matched or judged"
        for name in shape.columns
        if name not in attributes and (name == USER or name.startswith("__"))
    ]
    id_dtype = shape.schema.get(contacts.user_id, pl.String())
    if not (id_dtype.is_integer() or id_dtype == pl.String or isinstance(id_dtype, pl.Categorical | pl.Enum)):
        problems.append(f"  {contacts.user_id}: expected an integer or a string, got {id_dtype}")
    valid = None if contacts.valid_from is None else shape.schema.get(contacts.valid_from)
    if valid is not None and not is_moment(valid):
        problems.append(f"  {contacts.valid_from}: expected a time or a date, got {valid}")
    return [*problems, *cleaning_problems(contacts.cleaning, shape.schema)]


def differing_columns(footers: Sequence[Footer], names: Sequence[str]) -> list[str]:
    """Columns that a file does not have, or has in another type than the first file, a line each."""
    first = dict(footers[0].columns)
    problems = []
    for footer in footers:
        there = dict(footer.columns)
        for name in names:
            if name not in there:
                problems.append(f"  no column {name!r} in {footer.file}{did_you_mean(name, there)}")
            elif _kind(there[name]) != _kind(first.get(name, there[name])):
                problems.append(f"  {name}: {there[name]} in {footer.file}, {first[name]} in {footers[0].file}")
    return problems


def _kind(arrow: str) -> str:
    """An Arrow type without how wide its offsets are, in which writers differ, and readers do not."""
    return re.sub(r"large_|_view", "", arrow)


def _read_dtype(dtype: pl.DataType, *, is_cleaned: bool) -> pl.DataType:
    if is_cleaned or isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    return dtype


def supplied_files(contacts: Contacts) -> list[tuple[str, str | tuple[str, ...]]]:
    """Owner and path of the files that are read beside the contacts: lists of cleaning, tables of enrichment."""
    cleaning = contacts.cleaning
    lists = {"role_names": cleaning.role_names, "disposable_domains": cleaning.disposable_domains}
    return [
        *((f"contacts.cleaning.{key}", path) for key, path in lists.items() if path is not None),
        *((owner_of(enrichment), enrichment.path) for enrichment in contacts.enrich),
    ]


def cleaning_libraries(contacts: Contacts | None) -> list[str]:
    """Name and version of the libraries whose versions decide what is valid; none where nothing is cleaned."""
    if contacts is None:
        return []
    used = {"email-validator": contacts.cleaning.email, "phonenumbers": contacts.cleaning.phone}
    return [f"{name} {version(name)}" for name, column in used.items() if column is not None]
