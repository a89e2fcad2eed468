"""Who was erased: keyed hashes, so that a later run drops what sources still hold of them.

    <out>/_privacy/tombstones.json

Of each person there is a keyed hash, and the first bits of the 64-bit user key, so few that at least
`SHARED_BY` users of the day have the same ones: whoever has no key learns nothing of a person from either, and a run
needs to hash those users alone whose bits are there. Nothing else is kept of them, not even when they were erased.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from engine.errors import IntegrityError
from engine.events.mapping import stable_hash
from engine.privacy.key import Key
from engine.privacy.pseudonyms import keyed_hash, pseudonym
from engine.tables.durable import canonical_json, durable_text

SHARED_BY: Final = 256
PURPOSE: Final = "tombstones 1"
_FORMAT: Final = 1
_DIGITS: Final = 32
_FORMS: Final = ("id", "pseudonym")
_SCHEMA: Final = pl.Schema(
    {"key": pl.String, "form": pl.String, "bits": pl.UInt8, "prefix": pl.UInt64, "hash": pl.String}
)

Form = Literal["id", "pseudonym"]
"""Whether ids are those of the sources, or their pseudonyms under the current key."""


@dataclass(frozen=True, eq=False)
class Tombstones:
    """Everybody who was erased.

    Attributes:
        people: One row each, sorted: `key` (id of the key), `form` (what the bits are of: an id or its pseudonym),
            `bits` (how many), `prefix` (these bits as a number) and `hash` (128 bits of the HMAC of the pseudonym).
    """

    people: pl.DataFrame

    def __len__(self) -> int:
        return self.people.height

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids of the keys that it takes to know them."""
        return tuple(self.people["key"].unique().sort())

    @property
    def text(self) -> str:
        """What stands in the file."""
        return canonical_json({"format": _FORMAT, "people": [list(row) for row in self.people.rows()]})

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def tombstones_file(out: Path) -> Path:
    """Where an output root keeps them."""
    return out / "_privacy" / "tombstones.json"


def nobody_erased() -> Tombstones:
    """Tombstones of nobody."""
    return Tombstones(pl.DataFrame(schema=_SCHEMA))


def read_tombstones(out: Path) -> Tombstones:
    """Those of an output root; none where nobody was erased.

    Raises:
        IntegrityError: The file is damaged (`privacy-state`).
    """
    return tombstones_in(tombstones_file(out))


def tombstones_in(path: Path) -> Tombstones:
    """Those of a file; none where there is no file.

    Raises:
        IntegrityError: The file is damaged (`privacy-state`).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return nobody_erased()
    try:
        found = json.loads(text)
        if found["format"] != _FORMAT:
            raise damaged(path)
        people = pl.DataFrame(found["people"], schema=_SCHEMA, orient="row", strict=True)
    except (ValueError, TypeError, KeyError, pl.exceptions.PolarsError) as error:
        raise damaged(path) from error
    if people.null_count().sum_horizontal().item() or not people["form"].is_in(_FORMS).all():
        raise damaged(path)
    return Tombstones(people)


def damaged(path: Path) -> IntegrityError:
    """The error for a file of this folder that no version of the program wrote."""
    return IntegrityError(
        f"{path} is damaged, or of a newer version",
        code="privacy-state",
        hint="Restore it from a backup: without it, people who were erased or who object would come back.",
    )


def write_tombstones(tombstones: Tombstones, out: Path) -> None:
    """Write the file in place of what is there.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    write_tombstones_to(tombstones, tombstones_file(out))


def write_tombstones_to(tombstones: Tombstones, path: Path) -> None:
    """As `write_tombstones`, to any file."""
    durable_text(tombstones.text, path)


def with_linked(tombstones: Tombstones, ids: Iterable[str], key: Key) -> Tombstones:
    """The tombstones with those of ids that were found to be of people who have one."""
    bits = int(tombstones.people["bits"].min() or 0)  # type: ignore[arg-type]
    return with_erased(tombstones, ids, key, 2 * SHARED_BY << bits)


def shared_bits(users: int) -> int:
    """How many first bits of a key at least `SHARED_BY` of so many users share; 0 for few users."""
    # Twice as many on the average: how many share some bits varies by its square root.
    return max(0, (users // (2 * SHARED_BY)).bit_length() - 1)


def with_erased(tombstones: Tombstones, ids: Iterable[str], key: Key, users: int, form: Form = "id") -> Tombstones:
    """The tombstones with those of more people; of those who have one already it stays as it is.

    Args:
        tombstones: The earlier ones.
        ids: All ids of the people, merged and anonymous ones too, as the tables have them.
        key: The current key.
        users: How many users there are.
        form: What the ids are.
    """
    new = pl.Series("id", sorted(set(ids)), pl.String)
    new = new.filter(~erased_rows(new, tombstones, key, form)) if len(tombstones) else new
    if not new.len():
        return tombstones
    bits = shared_bits(users)
    text = pl.col("id").str.normalize("NFC")
    people = new.to_frame().select(
        key=pl.lit(key.id),
        form=pl.lit(form),
        bits=pl.lit(bits, pl.UInt8),
        prefix=_first_bits(stable_hash(text), bits),
        hash=_hash(text if form == "pseudonym" else pseudonym(text, key), key),
    )
    added = people.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())
    every = pl.concat([tombstones.people, added]).unique(["key", "hash"], keep="first")
    return Tombstones(every.select(_SCHEMA.names()).sort("key", "hash"))


def erased_rows(ids: pl.Series, tombstones: Tombstones, key: Key, form: Form = "id") -> pl.Series:
    """Whether each id is of somebody who was erased (Boolean; false for null).

    Args:
        ids: Text or integers, repeated or not.
        tombstones: Everybody who was erased.
        key: The current key, with the earlier ones that tombstones were made with.
        form: What the ids are. Pseudonyms can be found by tombstones of the key they were made with alone.

    Raises:
        ConfigError: Tombstones of a key that is not at hand (`key-other`).
    """
    found = [
        _found(ids, group, key.of(str(key_id)), form if key_id == key.id else _earlier(form))
        for (key_id, _, _), group in tombstones.people.group_by("key", "form", "bits", maintain_order=True)
    ]
    erased = pl.concat([pl.Series("id", [], ids.dtype), *(part for part in found if part is not None)])
    if not erased.len():
        return pl.repeat(value=False, n=ids.len(), dtype=pl.Boolean, eager=True).alias("erased")
    return ids.is_in(erased.implode()).fill_null(value=False).alias("erased")


def _earlier(form: Form) -> Form | None:
    return "id" if form == "id" else None


def _found(ids: pl.Series, group: pl.DataFrame, key: Key, form: Form | None) -> pl.Series | None:
    """Those ids, once each, that the tombstones of one key, form and number of bits are of; None for nobody."""
    if form is None:
        return None
    of_form, bits = group["form"][0], group["bits"][0]
    rows = ids.drop_nulls().to_frame("id").with_columns(text=pl.col("id").cast(pl.String))
    if form == of_form:
        rows = _of_bits(rows, "text", bits, group)
    rows = _normal(rows.unique("id"))
    if form == "id":
        rows = rows.with_columns(text=pseudonym(pl.col("text"), key))
        if of_form == "pseudonym":
            rows = _of_bits(rows, "text", bits, group)
    found = rows.filter(_hash(pl.col("text"), key).is_in(group["hash"].implode()))["id"]
    return found if found.len() else None


def _of_bits(rows: pl.DataFrame, name: str, bits: int, group: pl.DataFrame) -> pl.DataFrame:
    if not bits:
        return rows
    first = _first_bits(stable_hash(pl.col(name)), bits)
    return _normal(rows).filter(first.is_in(group["prefix"].unique().implode()))


def _normal(rows: pl.DataFrame) -> pl.DataFrame:
    """The texts in NFC; nearly all ids are ASCII, which is in NFC."""
    text = pl.col("text")
    if rows.select((text.str.len_bytes() == text.str.len_chars()).all()).item():
        return rows
    return rows.with_columns(text.str.normalize("NFC"))


def _first_bits(user_key: pl.Expr, bits: int) -> pl.Expr:
    # A shift by all 64 bits is no shift.
    return user_key // 2 ** (64 - bits) if bits else pl.lit(0, pl.UInt64)


def _hash(text: pl.Expr, key: Key) -> pl.Expr:
    return keyed_hash(text, key, PURPOSE).str.head(_DIGITS)
