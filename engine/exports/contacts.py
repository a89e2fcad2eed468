"""The contacts of an export, where they are more than rows of files: as of the date that is exported, and cleaned."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.config import Config, Contacts, Exports
from engine.contacts.cleaning import flags_by_column
from engine.contacts.duplicates.decisions import merges_digest
from engine.contacts.duplicates.links import fill_merged, merged_links, with_merges
from engine.contacts.enrichment import added_columns
from engine.contacts.read import cleaned_contacts
from engine.contacts.rules import leaves_out
from engine.contacts.shape import contact_schema
from engine.events.identities import read_identities
from engine.exports.listed import phones_of
from engine.privacy.ids import id_rules
from engine.privacy.links import keep_links
from engine.remote.fetch import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def contacts_as_of(
    config: Config, as_of: date, schema: Mapping[str, pl.DataType], user_dtype: pl.DataType
) -> pl.DataFrame | None:
    """One row per user with the columns that the export names; None where the files say it all by themselves.

    Args:
        config: With `[exports]`.
        as_of: The date that is exported.
        schema: The columns of the files.
        user_dtype: Type of the user ids of the date.

    Raises:
        ConfigError: As `engine.contacts.read.cleaned_contacts`.
        DataError: As that.
        IntegrityError: The decisions about duplicates are damaged.
    """
    contacts = config.contacts
    if contacts is None:
        return None
    merged = _merged(config, user_dtype)
    if merged is None and not _is_more_than_files(contacts):
        return None
    attributes = contact_schema(contacts)[1]
    apart = {contacts.user_id, contacts.valid_from}
    asked = [
        name
        for name in dict.fromkeys(
            (*_named(config.exports), *phones_of(config).columns, *(one.on for one in contacts.enrich))
        )
        if name in schema and name not in attributes and name not in apart
    ]
    rows = cleaned_contacts(config, as_of, asked)
    if merged is not None:
        # Who was merged after the date was published is still a user of it, with a contact.
        own = rows.join(merged.select(user_id="from_id"), on="user_id", how="semi")
        added = added_columns(contacts, cache_folder(Path(config.out)))
        filled = fill_merged(rows, merged, flags=flags_by_column(contacts.cleaning), enriched=added)
        rows = pl.concat([filled, own]).sort("user_id")
    return rows.with_columns(pl.col("user_id").alias(contacts.user_id))


def _merged(config: Config, user_dtype: pl.DataType) -> pl.DataFrame | None:
    """The ids whose contacts are one person's, each with the id that stays; None without."""
    out = Path(config.out)
    if merges_digest(out) is None:
        return None
    links = None
    if config.identity is not None:
        found = read_identities(config.identity, user_dtype, cache_folder(out)).links
        links = keep_links(found, id_rules(config), config.exclude).links
    return merged_links(with_merges(links, out, user_dtype), links, out)


def _is_more_than_files(contacts: Contacts) -> bool:
    cleaning = contacts.cleaning
    is_cleaned = cleaning.email is not None or cleaning.phone is not None or bool(cleaning.names)
    return contacts.valid_from is not None or is_cleaned or leaves_out(contacts.rules) or bool(contacts.enrich)


def _named(exports: Exports) -> Iterable[str]:
    """The columns that the export can be about; some of them may be columns of published tables."""
    single = (exports.email, exports.first_name, exports.last_name, exports.name, exports.phone, exports.ga4.client_id)
    yield from (name for name in single if name is not None)
    yield from exports.attributes.values()
    yield from exports.ga4.properties.values()
    yield from exports.csv.columns.values()
