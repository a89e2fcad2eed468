"""Columns of other tables that are added to the contacts, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.config_contacts import Cleaning, Contacts, Enrichment
from engine.contacts.cleaning import clean_key
from engine.contacts.duplicates.links import Enriched
from engine.contacts.ids import user_ids
from engine.contacts.side_table import FileMark, listed, marks_of, read_table, table_schema
from engine.contacts.text import as_text, is_textual
from engine.errors import DataError
from engine.events.files import locate_files
from engine.remote.fetch import fetched_as
from engine.suggest import did_you_mean

USER: Final = "user_id"
_KEY: Final = "__key"
_MATCHED: Final = "__matched"


@dataclass(frozen=True)
class EnrichmentRecord:
    """What was added to the contacts.

    Attributes:
        name: Of the enrichment.
        files: The files it was read from.
        rows: Their rows.
        left_out: Those of them without a key.
        matched: Contacts that got a row.
        unmatched: Contacts with a key that no row has.
    """

    name: str
    files: tuple[FileMark, ...]
    rows: int
    left_out: int
    matched: int
    unmatched: int


def owner_of(enrichment: Enrichment) -> str:
    """Whose files they are, in messages and marks."""
    return f"enrichment {enrichment.name!r}"


def added_columns(contacts: Contacts, cache: Path | None = None) -> tuple[Enriched, ...]:
    """What each enrichment is matched with, and the columns that it adds, in their order.

    Raises:
        ConfigError: No file.
        DataError: Files that cannot be read.
    """
    return tuple(
        (None if one.on == USER else one.on, tuple(enrichment_schema(one, {}, cache)[0])) for one in contacts.enrich
    )


def may_add(enrichments: Sequence[Enrichment], name: str) -> bool:
    """Whether an attribute can be of an enrichment, as far as the configuration tells."""
    return any(
        name in {f"{one.prefix}{column}" for column in one.columns} if one.columns else name.startswith(one.prefix)
        for one in enrichments
    )


def enrichment_schema(
    enrichment: Enrichment, known: Mapping[str, pl.DataType], cache: Path | None = None
) -> tuple[dict[str, pl.DataType], list[str]]:
    """Name and type of the attributes that an enrichment adds, and what is wrong with it.

    Args:
        enrichment: Its configuration.
        known: Name and type of the columns of the contacts that it can be matched with.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: Files that cannot be read.
    """
    owner = owner_of(enrichment)
    with fetched_as(locate_files(owner, enrichment.path, text=True), cache) as files:
        schema, problems = table_schema(owner, files)
    missing = [name for name in (enrichment.key, *enrichment.columns) if name not in schema]
    problems += [f"  {owner}: no column {name!r} in all its files{did_you_mean(name, schema)}" for name in missing]
    if missing:
        problems.append(f"  {owner}: its columns are {listed(schema)}")
    if enrichment.key in schema and not _is_key(schema[enrichment.key]):
        got = schema[enrichment.key]
        problems.append(f"  {owner}: expected text or whole numbers in its key {enrichment.key!r}, got {got}")
    if enrichment.on != USER:
        if enrichment.on not in known:
            problems.append(f"  {owner}: on: no column {enrichment.on!r}{did_you_mean(enrichment.on, [USER, *known])}")
        elif not _is_key(known[enrichment.on]):
            got = known[enrichment.on]
            problems.append(f"  {owner}: on: expected text or whole numbers in {enrichment.on!r}, got {got}")
    wanted = enrichment.columns or tuple(name for name in schema if name != enrichment.key)
    return {f"{enrichment.prefix}{name}": _dtype(schema[name]) for name in wanted if name in schema}, problems


def enrich(
    rows: pl.DataFrame, enrichment: Enrichment, cleaning: Cleaning, cache: Path | None = None
) -> tuple[pl.DataFrame, EnrichmentRecord]:
    """Contacts with the columns of a table, null where it has no row for them.

    Args:
        rows: Contacts: `user_id` as `user_ids` makes it, and their cleaned columns.
        enrichment: Its configuration, which `enrichment_schema` has checked.
        cleaning: A key that is matched with a cleaned column is cleaned alike.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: Files that cannot be read, or a key that is repeated.
    """
    owner = owner_of(enrichment)
    located = locate_files(owner, enrichment.path, text=True)
    with fetched_as(located, cache) as files:
        schema, _ = table_schema(owner, files)
        wanted = enrichment.columns or tuple(name for name in schema if name != enrichment.key)
        table = read_table(owner, files, list(dict.fromkeys((enrichment.key, *wanted))))
        marks = marks_of(located, files)
    table = table.select(
        _key(enrichment.key, table.schema[enrichment.key]).alias(_KEY),
        *(_value(name, table.schema[name]).alias(f"{enrichment.prefix}{name}") for name in wanted),
    )
    table = user_ids(table, _KEY) if enrichment.on == USER else clean_key(table, _KEY, enrichment.on, cleaning)
    keyed = table.filter(pl.col(_KEY).is_not_null())
    repeated = keyed.height - keyed[_KEY].n_unique()
    if repeated:
        raise DataError(
            f"{owner}: {repeated} of {keyed.height} rows repeat a key; expected one per {enrichment.key!r}",
            code="enrichment-repeated",
            hint="Keep one row per key. Keys are compared as text, cleaned as the attribute they are matched with.",
        )
    joined = rows.with_columns(_key(enrichment.on, rows.schema[enrichment.on]).alias(_KEY)).join(
        keyed.with_columns(pl.lit(value=True).alias(_MATCHED)), on=_KEY, how="left", maintain_order="left"
    )
    matched = int(joined[_MATCHED].is_not_null().sum())
    record = EnrichmentRecord(
        name=enrichment.name,
        files=marks,
        rows=table.height,
        left_out=table.height - keyed.height,
        matched=matched,
        unmatched=joined.height - int(joined[_KEY].null_count()) - matched,
    )
    return joined.drop(_KEY, _MATCHED), record


def double_names(attributes: Mapping[str, pl.DataType], added: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Names that are added to the contacts and are there already.

    Args:
        attributes: The columns of the files that are read.
        added: What adds attributes, and their names.
    """
    owners = dict.fromkeys(attributes, "a column of the contacts")
    problems = []
    for owner, names in added:
        for name in names:
            if name in owners:
                problems.append(f"  {name!r} of {owner} is {owners[name]} too; rename one of them")
            owners.setdefault(name, f"of {owner}")
    return problems


def _is_key(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or is_textual(dtype)


def _key(name: str, dtype: pl.DataType) -> pl.Expr:
    text = as_text(name, dtype) if is_textual(dtype) else pl.col(name).cast(pl.String)
    return pl.when(text != "").then(text)


def _dtype(dtype: pl.DataType) -> pl.DataType:
    return pl.String() if isinstance(dtype, pl.Categorical | pl.Enum) else dtype


def _value(name: str, dtype: pl.DataType) -> pl.Expr:
    return as_text(name, dtype) if _dtype(dtype) == pl.String else pl.col(name)
