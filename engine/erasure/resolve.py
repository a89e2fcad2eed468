"""Who somebody is: every id that is linked to those that were asked for, and the addresses that contacts have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config
from engine.contacts.cleaning import clean, read_lists
from engine.contacts.duplicates.decisions import merged_pairs, read_decisions
from engine.contacts.text import as_text
from engine.erasure.parquet import rows_held
from engine.erasure.people import People
from engine.errors import ConfigError
from engine.events.files import locate_files, text_kind
from engine.events.identities import read_identities
from engine.events.keys import user_key
from engine.exports.addresses import compared
from engine.ledger.previous import user_type
from engine.privacy.ids import IdRules, id_as_kept, id_rules, kept_ids
from engine.privacy.pseudonyms import is_pseudonym
from engine.remote.fetch import cache_folder, fetched_as
from engine.rollups.index import Entry
from engine.rollups.update import open_index, store_folder
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from engine.why.published import published_dates

Link = tuple[str, str]
_LEAST_ADDRESS: Final = 5
_TAIL: Final = 8
"""Digits at the end of telephone numbers by which two of them are told to be near."""
_MAY_REACH: Final = r"@|^\s*\+[\d\s.()/-]+$"
"""What can be an address, or a telephone number and nothing else."""
_KEY: Final = "user_key"
_NOBODYS: Final = -1
"""A salt that no user of a store has."""


def find_people(config: Config, asked: Sequence[str]) -> tuple[People, dict[str, frozenset[str]]]:
    """The people behind ids, as they are known now, and the ids that each of these stands for.

    Links are those of the identity table, of merged contacts and of the rollups; an id that leads to another one, or
    that others lead to, is the same person's.

    Args:
        config: The configuration; its output root is absolute.
        asked: Ids as the sources have them, or pseudonyms.

    Raises:
        ConfigError: A key is needed and missing.
        DataError: A table beside the log cannot be read.
    """
    rules = id_rules(config)
    out = Path(config.out)
    index, _ = open_index(store_folder(out))
    source_dtype = _source_dtype(out, index.entries)
    pairs = [*_stored_links(out), *_identity_links(config, source_dtype, rules), *_merges(out, rules)]
    near = _neighbours(pairs)
    own = {user: frozenset(_closure(id_as_kept(user, rules), near)) for user in asked}
    ids = set().union(*own.values()) if own else set()
    contacts = _contacts(config, ids, rules)
    clear = {user for user in asked if not (rules.pseudonyms and is_pseudonym(user))}
    clear |= {user for user in contacts["user_id"].to_list() if user is not None}
    clear |= ids if not rules.pseudonyms else set()
    people = People(
        ids=tuple(sorted(ids)),
        clear=tuple(sorted(clear)),
        addresses=tuple(sorted(_addresses(config, contacts) - _shared(config, contacts, ids, rules))),
        user_dtype="String" if rules.pseudonyms else source_dtype,
        rekeyed=tuple(sorted(index.rekeyed.items())),
    )
    return _with_own_keys(people, out), own


def check_ids(config: Config, asked: Sequence[str]) -> None:
    """Stop at addresses and telephone numbers of contacts that are given as ids: nobody is known by them.

    Args:
        config: The configuration; its output root is absolute.
        asked: What somebody gave as ids of users.

    Raises:
        ConfigError: Some are no user's id, and an address or number of a contact (`user-address`).
        DataError: Contacts that cannot be read.
    """
    contacts = config.contacts
    given = pl.DataFrame({"user": asked}, schema={"user": pl.String}).with_row_index("number", offset=1)
    given = given.filter(pl.col("user").str.contains(_MAY_REACH)).with_columns(reach=_reach(pl.col("user")))
    if contacts is None or given.is_empty():
        return
    reached: set[str] = set()
    for _, read in files_of(config, "contacts", contacts.path):
        rows = _decoded(read, config)
        if contacts.user_id in rows.columns:
            given = given.filter(~pl.col("user").is_in(rows[contacts.user_id].cast(pl.String).implode()))
        for name in _columns(config, rows):
            cells = rows.select(reach=_reach(pl.col(name).cast(pl.String)))["reach"]
            reached |= set(cells.filter(cells.is_in(given["reach"].implode())))
    wrong = given.filter(pl.col("reach").is_in(sorted(reached)))
    store = store_folder(Path(config.out))
    users = [str(store / file.path) for file in open_index(store)[0].users]
    if wrong.height and users:
        rules = id_rules(config)
        kept = [id_as_kept(user, rules) for user in wrong["user"]]
        ids = pl.scan_parquet(users, glob=False, hive_partitioning=False).select(pl.col("user_id").cast(pl.String))
        known = ids.filter(pl.col("user_id").is_in(kept)).collect()["user_id"]
        wrong = wrong.filter(~pl.Series(kept, dtype=pl.String).is_in(known.implode()))
    if wrong.height:
        raise ConfigError(
            f"number {', '.join(map(str, wrong['number']))} of those given is no id of a user, but an address or a "
            "telephone number of the contacts",
            code="user-address",
            hint=f"Look the id up in the column {contacts.user_id!r} of the contacts; several may have one address.",
        )


def _reach(text: pl.Expr) -> pl.Expr:
    """An address as it is compared; of a telephone number its last digits, which all its spellings have."""
    tail = text.str.replace_all(r"\D", "").str.tail(_TAIL)
    is_number = ~text.str.contains("@", literal=True) & (tail.str.len_chars() == _TAIL)
    return pl.when(is_number).then(tail).otherwise(compared(text))


def _with_own_keys(people: People, out: Path) -> People:
    """The people with another key for ids whose key is somebody else's in the store, as they are not in it."""
    store = store_folder(out)
    names = people.values.cast(pl.String).implode()
    others = pl.Series(_KEY, [], pl.UInt64)
    for file in open_index(store)[0].users:
        if (store / file.path).is_file():
            rows = rows_held(store / file.path, _KEY, people.keys)
            others = others.append(rows.filter(~pl.col("user_id").cast(pl.String).is_in(names))[_KEY])
    if not others.len():
        return people
    ids = people.values.to_frame().with_columns(user_key(pl.col("user_id"), people.rekeyed).alias(_KEY))
    apart = ids.filter(pl.col(_KEY).is_in(others.implode()))["user_id"].cast(pl.String)
    return replace(people, rekeyed=(*people.rekeyed, *((user, _NOBODYS) for user in apart)))


def files_of(config: Config, owner: str, path: str | tuple[str, ...]) -> Iterator[tuple[str, pl.DataFrame]]:
    """Name and rows of each file of a table beside the log, Parquet or CSV."""
    located = locate_files(owner, path, text=True)
    with fetched_as(located, cache_folder(Path(config.out))) as found:
        for file, local in zip(located, found, strict=True):
            if text_kind(file) == "csv":
                yield str(file), pl.read_csv(local, infer_schema=False)
            else:
                yield str(file), pl.read_parquet(local, glob=False, hive_partitioning=False)


def are_theirs(ids: pl.Series, people: Iterable[str], rules: IdRules) -> pl.Series:
    """Whether ids of a source are of the people, who are told by ids as they are kept."""
    kept = kept_ids(ids, rules).ids if rules.pseudonyms else ids
    return kept.cast(pl.String).is_in(pl.Series(sorted(people), dtype=pl.String).implode()).fill_null(value=False)


def _source_dtype(out: Path, entries: Sequence[Entry]) -> str:
    """Type of the ids in the sources, as far as it is known."""
    if entries:
        return entries[0].user_dtype or "String"
    for day in reversed(published_dates(out)):
        found = user_type(read_manifest(manifest_path(out, day)))
        if found is not None:
            return found
    return "String"


def _stored_links(out: Path) -> list[Link]:
    store = store_folder(out)
    index, _ = open_index(store)
    if index.links is None or not (store / index.links.path).is_file():
        return []
    links = pl.read_parquet(store / index.links.path, glob=False, hive_partitioning=False)
    return links.select(pl.col("from_id", "to_id").cast(pl.String)).rows()


def _identity_links(config: Config, source_dtype: str, rules: IdRules) -> list[Link]:
    if config.identity is None:
        return []
    dtype = pl.Int64() if source_dtype == "Int64" else pl.String()
    links = read_identities(config.identity, dtype, cache_folder(Path(config.out))).links
    ends = {name: kept_ids(links[name], rules).ids.cast(pl.String) for name in ("from_id", "to_id")}
    return list(zip(ends["from_id"].to_list(), ends["to_id"].to_list(), strict=True))


def _merges(out: Path, rules: IdRules) -> list[Link]:
    pairs = merged_pairs(read_decisions(out))
    return [(id_as_kept(first, rules), id_as_kept(second, rules)) for first, second in pairs.rows()]


def _neighbours(pairs: Sequence[Link]) -> dict[str, set[str]]:
    near: dict[str, set[str]] = {}
    for first, second in pairs:
        near.setdefault(first, set()).add(second)
        near.setdefault(second, set()).add(first)
    return near


def _closure(asked: str, near: Mapping[str, set[str]]) -> set[str]:
    """The ids that can be reached by links, either way."""
    found, waiting = {asked}, [asked]
    while waiting:
        for other in near.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _contacts(config: Config, ids: set[str], rules: IdRules) -> pl.DataFrame:
    """Rows of the contacts of some ids; the column of ids is `user_id`, as the source has it, as text."""
    contacts, empty = config.contacts, pl.DataFrame(schema={"user_id": pl.String()})
    if contacts is None:
        return empty
    found = [empty]
    for _, rows in files_of(config, "contacts", contacts.path):
        if contacts.user_id in rows.columns:
            own = _decoded(rows.filter(are_theirs(rows[contacts.user_id], ids, rules)), config)
            found.append(own.with_columns(user_id=pl.col(contacts.user_id).cast(pl.String)))
    return pl.concat(found, how="diagonal_relaxed")


def _decoded(rows: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Rows of contacts whose addresses are text, as the run reads them: bytes may be no UTF-8."""
    of_bytes = [name for name in _columns(config, rows) if rows.schema[name] == pl.Binary]
    return rows.with_columns(as_text(name, rows.schema[name]).alias(name) for name in of_bytes)


def _shared(config: Config, contacts: pl.DataFrame, ids: set[str], rules: IdRules) -> set[str]:
    """The addresses of some contacts that contacts of other people have as well: these keep them."""
    own = _addresses(config, contacts)
    if config.contacts is None or not own:
        return set()
    texts = pl.Series([one.lower() for one in own], dtype=pl.String)
    numbers = texts.str.replace_all(r"\D", "").str.tail(_TAIL)
    texts, numbers = texts.implode(), numbers.filter(numbers.str.len_chars() == _TAIL).implode()
    found: set[str] = set()
    for _, read in files_of(config, "contacts", config.contacts.path):
        if config.contacts.user_id not in read.columns:
            continue
        rows = _decoded(read, config)
        # Few are near one of them, and these alone are cleaned.
        plain = [pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase() for name in _columns(config, rows)]
        near = [text.is_in(texts) | text.str.replace_all(r"\D", "").str.tail(_TAIL).is_in(numbers) for text in plain]
        others = rows.filter(pl.any_horizontal(*near, pl.lit(value=False)))
        others = others.filter(~are_theirs(others[config.contacts.user_id], ids, rules))
        found |= {one.casefold() for one in _addresses(config, others)}
    return {one for one in own if one.casefold() in found}


def _addresses(config: Config, contacts: pl.DataFrame) -> set[str]:
    """E-mail addresses, telephone numbers and client ids, as the contacts have them and as the tables do."""
    found: set[str] = set()
    texts = contacts.select(pl.col(name).cast(pl.String).str.normalize("NFC") for name in _columns(config, contacts))
    forms = [contacts.select(pl.col(texts.columns).cast(pl.String)), texts]
    if config.contacts is not None and texts.height:
        cleaning = config.contacts.cleaning
        there = {name: name if name in texts.columns else None for name in (cleaning.email, cleaning.phone)}
        only = cleaning.model_copy(
            update={
                "names": (),
                "email": there[cleaning.email],
                "phone": there[cleaning.phone],
                "role_names": None,
                "disposable_domains": None,
                "invalid": "keep",
            }
        )
        forms.append(clean(texts, only, read_lists(only, None))[0])
    for form in forms:
        for name in texts.columns:
            found |= {text for text in form[name].drop_nulls().str.strip_chars() if len(text) >= _LEAST_ADDRESS}
    return found


def _columns(config: Config, contacts: pl.DataFrame) -> list[str]:
    """The columns of contacts with addresses, telephone numbers and client ids."""
    exports, cleaning = config.exports, config.contacts.cleaning if config.contacts is not None else None
    named = {exports.email, exports.phone, exports.ga4.client_id}
    named |= {cleaning.email, cleaning.phone} if cleaning is not None else set()
    return sorted({name for name in named if name is not None} & set(contacts.columns))
