"""Who objects to any use of their data: keyed hashes of ids, addresses and numbers, and nothing clear.

    <out>/_privacy/opposed.json

A value may be an id, an address or a telephone number, which nobody says of a list: each is kept as what it would be as
any of them (`engine.exports.listed`). Rows with one address are of one person, in several spellings of an id.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import ConfigError
from engine.exports.listed import Phones, forms
from engine.privacy.key import Key
from engine.privacy.pseudonyms import IS_PSEUDONYM, keyed_hash, pseudonym
from engine.privacy.tombstones import damaged
from engine.tables.durable import durable_json

PURPOSES: Final = {"id": "opposed ids 1", "pseudonym": "opposed pseudonyms 1", "address": "opposed addresses 1"}
_FORMAT: Final = 1
_DIGITS: Final = 32
_SCHEMA: Final = pl.Schema({"key": pl.String, **dict.fromkeys(PURPOSES, pl.String), "added": pl.String})


@dataclass(frozen=True, eq=False)
class Opposed:
    """Everybody who objects.

    Attributes:
        people: One row per person and id, sorted: `key` (id of the key), the hashes of the value as `id`, of its
            `pseudonym` and as `address` (128 bits of an HMAC each), and `added` (ISO date).
    """

    people: pl.DataFrame

    def __len__(self) -> int:
        return self.people.select("key", "address").n_unique()

    def counts(self) -> dict[str, int]:
        """How many were added on each day."""
        days = self.people.group_by("key", "address").agg(pl.col("added").min())["added"]
        return dict(sorted(Counter(days.to_list()).items()))

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids of the keys that the hashes were made with."""
        return tuple(self.people["key"].unique().sort())

    def holds(self, values: pl.Expr, kind: str, key: Key) -> pl.Expr:
        """Whether each value is on the list (false for null).

        Args:
            values: Ids as text, their pseudonyms, or addresses and numbers as `engine.exports.listed` has them.
            kind: `id`, `pseudonym` or `address`.
            key: The current key, with the earlier ones.

        Raises:
            ConfigError: Hashes of a key that is not at hand (`key-other`).
        """
        found = []
        for key_id in self.keys:
            hashes = self.people.filter(pl.col("key") == key_id)[kind].unique().sort()
            found.append(_hash(values, key.of(key_id), kind).is_in(hashes.implode()).fill_null(value=False))
        return pl.any_horizontal(*found) if found else pl.lit(value=False)


def opposed_file(out: Path) -> Path:
    """Where an output root keeps them."""
    return out / "_privacy" / "opposed.json"


def read_opposed(out: Path) -> Opposed:
    """Those of an output root; nobody where there is no list.

    Raises:
        IntegrityError: The file is damaged (`privacy-state`).
    """
    path = opposed_file(out)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise damaged(path)
        people = pl.DataFrame(found["people"], schema=_SCHEMA, orient="row", strict=True)
    except FileNotFoundError:
        return Opposed(pl.DataFrame(schema=_SCHEMA))
    except (ValueError, TypeError, KeyError, pl.exceptions.PolarsError) as error:
        raise damaged(path) from error
    if people.null_count().sum_horizontal().sum():
        raise damaged(path)
    return Opposed(people)


def objections_digest(out: Path, files: Iterable[str]) -> str | None:
    """sha256 of who objects: a run of other objections is another run; None where there is no list.

    Args:
        out: The output root, with the list that it keeps.
        files: Lists of the configuration.
    """
    found = []
    for path in (opposed_file(out), *map(Path, files)):
        # A list that is not there is told where it is read.
        with suppress(OSError):
            found.append([str(path.name), hashlib.sha256(path.read_bytes()).hexdigest()])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else None


def write_opposed(opposed: Opposed, out: Path) -> None:
    """Write the list in place of what is there.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    rows = [list(row) for row in opposed.people.rows()]
    durable_json({"format": _FORMAT, "people": rows}, opposed_file(out))


def with_opposed(opposed: Opposed, values: pl.Series, key: Key, added: date, phones: Phones | None = None) -> Opposed:
    """The list with more people; those who are on it stay as they are.

    Args:
        opposed: The earlier list.
        values: Their ids, pseudonyms, addresses or telephone numbers, as text.
        key: The current key.
        added: The day.
        phones: The numbers of the contacts, which those of the values are written like.
    """
    new = _hashed(values, key, phones).with_columns(added=pl.lit(added.isoformat())).select(_SCHEMA.names())
    every = pl.concat([opposed.people, new]).unique(["key", "id", "address"], keep="first", maintain_order=True)
    return Opposed(every.sort("key", "id", "address"))


def without_opposed(opposed: Opposed, values: pl.Series, key: Key, phones: Phones | None = None) -> Opposed:
    """The list without some people, whichever key they were added with, as far as it is at hand."""
    kept = opposed.people
    for one in (key, *key.earlier):
        gone = _hashed(values, one, phones)
        kept = kept.filter((pl.col("key") != one.id) | ~_is_one_of(gone))
    return Opposed(kept)


def of_this_key(opposed: Opposed, key: Key) -> Opposed:
    """The list without what was added with other keys."""
    return Opposed(opposed.people.filter(pl.col("key") == key.id))


def check_comparable(opposed: Opposed, key: Key) -> None:
    """Check that pseudonyms under a key can be looked up.

    Raises:
        ConfigError: Some were added with another key (`key-other`).
    """
    others: Sequence[str] = [key_id for key_id in opposed.keys if key_id != key.id]
    if others:
        raise ConfigError(
            f"people who object were added with the key {', '.join(others)}; nobody's pseudonym under {key.id} can be "
            "told to be theirs",
            code="key-other",
            hint="Add the lists again with `tamis suppress add`, then drop the earlier hashes with "
            "`tamis suppress remove --earlier-keys --yes`.",
        )


def held(opposed: Opposed, values: pl.Series, key: Key, phones: Phones | None = None) -> int:
    """How many of some values are on the list."""
    found = []
    for one in (key, *key.earlier):
        listed = opposed.people.filter(pl.col("key") == one.id)
        found.append(_hashed(values, one, phones).filter(_is_one_of(listed))["value"])
    return pl.concat(found).n_unique()


def _is_one_of(people: pl.DataFrame) -> pl.Expr:
    """Whether a row has the id of one of them, or the address: two spellings of it are one."""
    return pl.any_horizontal(pl.col(name).is_in(people[name].unique().implode()) for name in ("id", "address"))


def _hashed(values: pl.Series, key: Key, phones: Phones | None) -> pl.DataFrame:
    """`value`, `key`, and the hashes of what it would be as an id, a pseudonym and an address; a row per id."""
    own = pl.col("id")
    made = pl.when(own.str.contains(IS_PSEUDONYM)).then(own).otherwise(pseudonym(own, key))
    return forms(values, phones).select(
        "value",
        key=pl.lit(key.id),
        id=_hash(own, key, "id"),
        pseudonym=_hash(made, key, "pseudonym"),
        address=_hash(pl.col("address"), key, "address"),
    )


def _hash(text: pl.Expr, key: Key, kind: str) -> pl.Expr:
    return keyed_hash(text, key, PURPOSES[kind]).str.head(_DIGITS)
