"""Which users of a run object: from the list that the output root keeps, and from files of the configuration.

A value of a list is compared with ids, and with the addresses and telephone numbers of the contacts; whoever is linked
to an id that objects objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.contacts.read import every_contact
from engine.exports.addresses import compared
from engine.exports.listed import named_phones, phones_of
from engine.exports.suppression import Hashed, Suppressed, read_suppressed
from engine.privacy.ids import IdRules, id_rules
from engine.privacy.key import Key, key_source, load_key
from engine.privacy.opposed import Opposed, check_comparable, opposed_file, read_opposed
from engine.privacy.pseudonyms import is_pseudonym, pseudonym_of
from engine.privacy.tombstones import Form

_ROWS = 500_000
_ID = "user_id"


def opposed_users(config: Config, users: Sequence[str], links: pl.DataFrame | None, rules: IdRules) -> pl.Series | None:
    """Ids of the users who object.

    Args:
        config: The configuration.
        users: Files with a column `user_id`: everybody in the store, once or more.
        links: `from_id` and `to_id`, as the store has them; None without.
        rules: What becomes of ids.

    Returns:
        `user_id` (text, as the store has them, each once, sorted), some of which may be nobody's; None where there is
        no list.

    Raises:
        ConfigError: A list that cannot be read, or a key that is missing or another one.
        DataError: Contacts that cannot be read.
        IntegrityError: The list of the output root is damaged.
    """
    listed = objections(config, rules)
    if listed is None:
        return None
    found = [listed.ids.alias(_ID)]
    if listed.hashed is not None:
        holds = listed.hashed.opposed.holds(pl.col(_ID), listed.hashed.form, listed.hashed.key)
        known = [pl.scan_parquet(list(users), glob=False, hive_partitioning=False).select(_ID)] if users else []
        known += [] if links is None else [links.lazy().select(pl.col("from_id").alias(_ID))]
        found += [
            frame.select(pl.col(_ID).cast(pl.String)).filter(holds).collect(engine="streaming")[_ID] for frame in known
        ]
    found.append(_by_address(config, listed))
    every = pl.concat(found).unique()
    if links is not None:
        texts = links.select(pl.col("from_id", "to_id").cast(pl.String))
        every = pl.concat([every, texts.filter(pl.col("from_id").is_in(every.implode()))["to_id"]]).unique()
    return every.sort()


def objections(config: Config, rules: IdRules | None = None) -> Suppressed | None:
    """All lists of people who object to any use, with ids as the tables have them; None where there is none.

    Args:
        config: The configuration.
        rules: What becomes of ids; of the output root as it is now when None.

    Raises:
        ConfigError: A list that cannot be read, or a key that is missing or another one.
        IntegrityError: The list of the output root is damaged.
    """
    rules = rules or id_rules(config)
    opposed = read_opposed(Path(config.out))
    if not len(opposed) and not config.privacy.opposed:
        return None
    headers = [] if config.contacts is None else [config.contacts.user_id]
    clear = as_listed(read_suppressed(map(Path, config.privacy.opposed), headers, phones_of(config)), rules)
    if not len(opposed):
        return clear
    kept = (str(opposed_file(Path(config.out))), len(opposed))
    return Suppressed(clear.addresses, clear.ids, (*clear.files, kept), _hashed(config, opposed, rules))


def suppressed_users(config: Config, lists: Sequence[Path], headers: Sequence[str]) -> Suppressed:
    """Everybody who must not be in an export: on lists for exports, or objecting to any use.

    Args:
        config: The configuration.
        lists: Lists of the export.
        headers: More names of columns with ids or addresses.

    Raises:
        ConfigError: A list that cannot be read, or a key that is missing or another one.
        IntegrityError: The list of the output root is damaged.
    """
    rules = id_rules(config)
    given = as_listed(read_suppressed(lists, headers, phones_of(config)), rules)
    more = objections(config, rules)
    if more is None:
        return given
    return Suppressed(
        pl.concat([given.addresses, more.addresses]),
        pl.concat([given.ids, more.ids]),
        (*given.files, *more.files),
        more.hashed,
    )


def as_listed(found: Suppressed, rules: IdRules) -> Suppressed:
    """Lists with ids as the tables have them."""
    if rules.key is None or not rules.pseudonyms or not found.ids.len():
        return found
    key = load_key(rules.key, rules.key_id)
    ids = [text if is_pseudonym(text) else pseudonym_of(text, key) for text in found.ids]
    return Suppressed(found.addresses, pl.Series(found.ids.name, ids, pl.String), found.files, found.hashed)


def _hashed(config: Config, opposed: Opposed, rules: IdRules) -> Hashed:
    key: Key = load_key(key_source(config))
    form: Form = "pseudonym" if rules.pseudonyms else "id"
    if form == "pseudonym":
        check_comparable(opposed, key)
    return Hashed(opposed, key, form)


def _by_address(config: Config, listed: Suppressed) -> pl.Series:
    """The users who have a contact with an address or a number that objects, whatever else is wrong with it."""
    nobody = pl.Series(_ID, [], pl.String)
    if config.contacts is None:
        return nobody
    named = (config.contacts.cleaning.email, config.exports.email)
    addresses = list(dict.fromkeys(name for name in named if name is not None))
    phones = phones_of(config).columns
    columns = [*addresses, *(name for name in phones if name not in addresses)]
    if not columns:
        return nobody
    contacts = every_contact(config, columns)
    reached = [*(compared(pl.col(name).cast(pl.String)) for name in addresses), *named_phones(phones)]
    objects = pl.any_horizontal(*map(listed.reaches, reached))
    return pl.concat([nobody, *(rows.filter(objects)[_ID] for rows in contacts.iter_slices(_ROWS))])
