"""Ids of people as they are read: without those who were erased, and as pseudonyms where that is asked for.

Whatever reads ids of people (the log, contacts, links, consents, lists) does it through `kept_ids`, so that a person
has one id everywhere and somebody who was erased is nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.asked_users import as_stored
from engine.errors import IntegrityError
from engine.privacy.key import Key, KeySource, key_source, load_key
from engine.privacy.pseudonyms import distinct_pseudonyms, is_pseudonym, pseudonym, pseudonym_of
from engine.privacy.tombstones import erased_rows, read_tombstones, tombstones_file, tombstones_in

if TYPE_CHECKING:
    from engine.config import Config


LEAST_LETTERS: Final = 5
LEAST_DIGITS: Final = 9
"""Shorter words and numbers are looked for in columns of ids alone: anywhere else they may be something else."""


@dataclass(frozen=True)
class IdRules:
    """What becomes of ids: small, and without the key, for it is part of tasks.

    Attributes:
        key: Where the key is; None when none is needed.
        key_id: Its id.
        pseudonyms: Whether ids are replaced by pseudonyms.
        tombstones: File of those that count; None when nobody was erased.
        erased: Digest of these tombstones.
    """

    key: KeySource | None = None
    key_id: str | None = None
    pseudonyms: bool = False
    tombstones: str | None = None
    erased: str | None = None

    @property
    def pseudonyms_of(self) -> str | None:
        """Id of the key that pseudonyms are made with; None where ids are those of the sources."""
        return self.key_id if self.pseudonyms else None

    @property
    def change_ids(self) -> bool:
        """Whether any id is replaced or left out."""
        return self.key is not None


@dataclass(frozen=True)
class KeptIds:
    """What became of a column of ids, row by row.

    Attributes:
        ids: The ids as they are kept: text where they are pseudonyms, as they came where not.
        erased: Whether each is of somebody who was erased; such rows are to be dropped.
    """

    ids: pl.Series
    erased: pl.Series


def id_rules(config: Config) -> IdRules:
    """The rules of a configuration, and of its output root as it is now.

    Raises:
        ConfigError: A key is needed and missing, or cannot be used.
        IntegrityError: The tombstones are damaged.
    """
    out = Path(config.out)
    tombstones = read_tombstones(out)
    if not config.privacy.pseudonyms and not len(tombstones):
        return IdRules()
    source = key_source(config)
    key = load_key(source)
    for key_id in tombstones.keys:
        key.of(key_id)
    return IdRules(
        key=source,
        key_id=key.id,
        pseudonyms=config.privacy.pseudonyms,
        tombstones=str(tombstones_file(out)) if len(tombstones) else None,
        erased=tombstones.digest if len(tombstones) else None,
    )


def pseudonym_key(config: Config) -> str | None:
    """Id of the key that a configuration makes pseudonyms with; None where ids are those of the sources.

    Raises:
        ConfigError: The key is missing or cannot be used.
    """
    return load_key(key_source(config)).id if config.privacy.pseudonyms else None


def kept_ids(ids: pl.Series, rules: IdRules) -> KeptIds:
    """What becomes of ids as sources have them: text or integers, with nulls.

    Raises:
        ConfigError: This machine has no key, or another one.
        IntegrityError: The tombstones are not those that the run began with.
    """
    if rules.key is None:
        return KeptIds(ids, pl.repeat(value=False, n=ids.len(), dtype=pl.Boolean, eager=True))
    key = load_key(rules.key, rules.key_id)
    erased = rows_erased(ids, rules, key)
    return KeptIds(distinct_pseudonyms(ids, key) if rules.pseudonyms else ids, erased)


def rows_erased(ids: pl.Series, rules: IdRules, key: Key) -> pl.Series:
    """Whether each id of a source is of somebody who was erased."""
    if rules.tombstones is None:
        return pl.repeat(value=False, n=ids.len(), dtype=pl.Boolean, eager=True)
    tombstones = tombstones_in(Path(rules.tombstones))
    if tombstones.digest != rules.erased:
        raise IntegrityError(
            "somebody was erased while the run was under way",
            code="input-changed",
            hint="Nothing was published; run the command again.",
        )
    return erased_rows(ids, tombstones, key)


def pseudonyms_kept(ids: pl.Series, rules: IdRules) -> pl.Series:
    """Of ids that are pseudonyms already, those of nobody who was erased."""
    if rules.key is None or rules.tombstones is None:
        return ids
    key = load_key(rules.key, rules.key_id)
    return ids.filter(~erased_rows(ids, tombstones_in(Path(rules.tombstones)), key, "pseudonym"))


def without_erased(frame: pl.DataFrame, rules: IdRules, *names: str) -> pl.DataFrame:
    """Rows of a table without those of people who were erased, and with the ids as they are kept.

    Args:
        frame: The table as its source has it.
        rules: What becomes of ids.
        names: Its columns of ids; a row goes when one of them is of somebody who was erased.
    """
    return as_kept(drop_erased(frame, rules, *names), rules, *names)


def drop_erased(frame: pl.DataFrame, rules: IdRules, *names: str) -> pl.DataFrame:
    """The first half of `without_erased`: the rows that stay, with the ids of the source."""
    if rules.key is None or rules.tombstones is None:
        return frame
    key = load_key(rules.key, rules.key_id)
    erased = [rows_erased(frame[name], rules, key) for name in names]
    return frame.filter(~frame.select(pl.any_horizontal(*erased)).to_series())


def without_names(frame: pl.DataFrame, rules: IdRules, *columns_of_ids: str) -> pl.DataFrame:
    """Rows with null in the place of a text that is the id of somebody who was erased: who recommended a user, say.

    Args:
        frame: The table as its source has it.
        rules: What becomes of ids.
        columns_of_ids: Its columns of ids, which stay.
    """
    if rules.key is None or rules.tombstones is None:
        return frame
    key = load_key(rules.key, rules.key_id)
    changed = []
    for column in frame.iter_columns():
        if column.dtype == pl.String and column.name not in columns_of_ids:
            texts = column.unique().drop_nulls().sort()
            # A short word or number is no id that can be told from another value.
            is_number = texts.str.contains(r"^[+-]*\d+$")
            texts = texts.filter(
                texts.str.len_chars() >= (is_number.cast(pl.UInt32) * (LEAST_DIGITS - LEAST_LETTERS) + LEAST_LETTERS)
            )
            named = texts.filter(rows_erased(texts, rules, key))
            if named.len():
                changed.append(pl.when(~pl.col(column.name).is_in(named.implode())).then(pl.col(column.name)))
    return frame.with_columns(changed)


def as_kept(frame: pl.DataFrame, rules: IdRules, *names: str) -> pl.DataFrame:
    """The second half of `without_erased`: ids as they are kept, for rows that stay."""
    if rules.key is None or not rules.pseudonyms:
        return frame
    key = load_key(rules.key, rules.key_id)
    return frame.with_columns(distinct_pseudonyms(frame[name], key).alias(name) for name in names)


def id_expression(text: pl.Expr, rules: IdRules) -> pl.Expr:
    """Ids as they are kept, for a query: text, of which empty text stays as it is."""
    if rules.key is None or not rules.pseudonyms:
        return text
    return pl.when(text == "").then(text).otherwise(pseudonym(text, load_key(rules.key, rules.key_id)))


def named_ids(config: Config, ids: Iterable[str], user_dtype: str) -> dict[str, str | int]:
    """Users that somebody names, by the text they were given as, with their ids as the tables have them.

    Args:
        config: The configuration.
        ids: Ids of the sources, or pseudonyms.
        user_dtype: Int64 or String: the type of ids in the tables.

    Raises:
        ConfigError: Pseudonyms are asked for, and there is no key for them.
    """
    known = as_stored(ids, user_dtype)
    rules = pseudonym_rules(config)
    if user_dtype != "String" or not rules.pseudonyms:
        return known
    return {text: id_as_kept(text, rules) for text in known}


def pseudonym_rules(config: Config) -> IdRules:
    """As `id_rules`, whoever was erased: for ids that somebody names, and for what is in the tables already.

    Raises:
        ConfigError: Pseudonyms are asked for, and there is no key for them.
    """
    if not config.privacy.pseudonyms:
        return IdRules()
    source = key_source(config)
    return IdRules(source, load_key(source).id, pseudonyms=True)


def id_as_kept(user_id: str, rules: IdRules) -> str:
    """The id of a user that somebody names, as the tables have it; a pseudonym that is named is taken for itself."""
    if not rules.pseudonyms or rules.key is None or is_pseudonym(user_id):
        return user_id
    return pseudonym_of(user_id, load_key(rules.key, rules.key_id))
