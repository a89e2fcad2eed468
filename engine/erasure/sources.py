"""What the sources hold of people: their files are the user's own, so they are told and handed out, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from engine.asked_users import ids_of_file
from engine.erasure.held import Place
from engine.erasure.resolve import are_theirs, files_of
from engine.erasure.store import sources_with
from engine.errors import ConfigError
from engine.privacy.ids import IdRules, id_rules
from engine.segments.static_lists import at_hand


@dataclass(frozen=True)
class SourceRows:
    """Rows of one file of a table beside the log; `ids` are those of the rows, as the source has them."""

    owner: str
    file: str
    rows: pl.DataFrame = field(repr=False)
    ids: pl.Series = field(repr=False)


def tables_beside(place: Place) -> Iterator[SourceRows]:
    """Rows about the people in contacts, consents, links of ids and static lists."""
    config, rules = place.config, id_rules(place.config)
    tables: list[tuple[str, str | tuple[str, ...], tuple[str, ...]]] = []
    if config.contacts is not None:
        tables.append(("contacts", config.contacts.path, (config.contacts.user_id,)))
    if config.consent is not None:
        tables.append(("consent", config.consent.path, (config.consent.user_id,)))
    if config.identity is not None:
        tables.append(("identity", config.identity.path, (config.identity.anonymous_id, config.identity.user_id)))
    for owner, path, columns in tables:
        for file, rows in files_of(config, owner, path):
            names = [name for name in columns if name in rows.columns]
            own = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
            for name in names:
                own = own | are_theirs(rows[name], place.people.ids, rules)
            if own.any():
                found = rows.filter(own)
                ids = pl.concat([found[name].cast(pl.String).alias("user_id") for name in names])
                yield SourceRows(owner, file, found, ids.drop_nulls())
    yield from _listed(place, rules)


def _listed(place: Place, rules: IdRules) -> Iterator[SourceRows]:
    """Rows of static lists: ids of the sources, or pseudonyms as a list that was frozen has them."""
    for path in dict.fromkeys(one.list for one in place.config.segments if one.list is not None):
        try:
            with at_hand(path) as file:
                ids = ids_of_file(file).str.strip_chars().drop_nulls()
        except (FileNotFoundError, ConfigError) as error:
            if isinstance(error.__cause__ or error, FileNotFoundError):
                continue
            raise
        as_source = are_theirs(ids, place.people.ids, rules)
        own = ids.filter(as_source | ids.is_in(place.people.ids))
        if own.len():
            yield SourceRows("lists", path, own.alias("user_id").to_frame(), ids.filter(as_source))


def sources_of(place: Place) -> dict[str, list[str]]:
    """Files of the sources that hold rows of the people, by source.

    Of the log these are the files of units whose rollups hold them: those of one day, of which some may not.
    """
    found = sources_with(place)
    for one in tables_beside(place):
        found.setdefault(one.owner, []).append(one.file)
    return {owner: sorted(files) for owner, files in sorted(found.items())}
