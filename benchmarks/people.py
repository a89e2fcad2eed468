"""Contacts with duplicates planted among them: what a search for duplicates must find, and what it must leave alone."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_NAMES = 1_500
LAST_NAMES = 40_000
STREETS = 60_000
POSTCODES = 6_000
DOMAINS = ("example.com", "example.org", "example.net", "mail.example", "post.example")
KINDS = ("rue", "avenue", "boulevard", "place", "impasse", "chemin")
ONSETS = "b c ch d f g gr j l m n p r s t v br cl fl tr vr".split()
VOWELS = "a e i o u é è ou an in on eau oi".split()
CODAS = ["", "", "", "r", "l", "t", "s", "x", "nd", "rt"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def people(contacts: int, *, seed: int = 0, duplicated: float = 0.1) -> pl.DataFrame:
    """Contacts, some of whom are a person who is there already, as if typed in again by somebody else.

    Args:
        contacts: Rows.
        seed: Of the random numbers.
        duplicated: Share of the rows that are one too many.

    Returns:
        `user_id` (text), `person` (Int64: the truth; rows of one person have the same), `first_name`, `last_name`,
        `email`, `phone`, `street`, `postcode`, `birth_date`; in a random order.
    """
    random = np.random.default_rng(seed)
    again = int(contacts * duplicated)
    persons = _persons(contacts - again, random)
    copied = persons[random.integers(0, persons.height, again)]
    rows = pl.concat([persons, _typed_again(copied, random)])
    shuffled = rows[random.permutation(rows.height)]
    return shuffled.select(pl.int_range(1, pl.len() + 1).cast(pl.String).alias("user_id"), pl.all())


def _persons(persons: int, random: np.random.Generator) -> pl.DataFrame:
    first = _drawn(_words(FIRST_NAMES, 2, random), persons, 1.0, random)
    last = _drawn(_words(LAST_NAMES, 3, random), persons, 0.7, random)
    street = _drawn(_words(STREETS, 3, random), persons, 0.3, random)
    postcodes = random.permutation(np.arange(1_000, 96_000, 10))[:POSTCODES]
    numbers = random.integers(1, 200, persons)
    kinds = np.array(KINDS, dtype=object)[random.integers(0, len(KINDS), persons)]
    domains = np.array(DOMAINS, dtype=object)[random.integers(0, len(DOMAINS), persons)]
    frame = pl.DataFrame(
        {
            "person": np.arange(persons),
            "first_name": first.tolist(),
            "last_name": last.tolist(),
            "domain": domains.tolist(),
            "number": random.integers(1, 10_000, persons),
            "phone": (600_000_000 + random.integers(0, 200_000_000, persons)),
            "street": [f"{one} {kind} {name}" for one, kind, name in zip(numbers, kinds, street, strict=True)],
            "postcode": _drawn(
                np.array([f"{code:05d}" for code in postcodes], dtype=object), persons, 0.5, random
            ).tolist(),
            "birth": random.integers(-14_000, 13_000, persons),
        }
    )
    local = pl.concat_str(pl.col("first_name"), pl.lit("."), pl.col("last_name"), pl.col("number"))
    plain = local.str.normalize("NFKD").str.replace_all(r"[^a-zA-Z0-9.]", "").str.to_lowercase()
    named = frame.with_columns(
        first_name=pl.col("first_name").str.to_titlecase(),
        last_name=pl.col("last_name").str.to_titlecase(),
        email=pl.concat_str(plain, pl.lit("@"), pl.col("domain")),
        phone=pl.concat_str(pl.lit("+33"), pl.col("phone").cast(pl.String)),
        birth_date=pl.col("birth").cast(pl.Int32).cast(pl.Date),
    )
    return named.select("person", "first_name", "last_name", "email", "phone", "street", "postcode", "birth_date")


def _typed_again(rows: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """The same people with typing errors, without accents, with words in another order, or with another address."""

    def some(share: float) -> pl.Series:
        return pl.Series(random.random(rows.height) < share)

    def typos(name: str, share: float) -> pl.Series:
        wrong = random.random(rows.height) < share
        places = random.random((rows.height, 3))
        return pl.Series(
            name,
            [_typo(text, one) if bad else text for text, bad, one in zip(rows[name], wrong, places, strict=True)],
            dtype=pl.String,
        )

    first, last, street = typos("first_name", 0.2), typos("last_name", 0.3), typos("street", 0.2)
    plain = some(0.3)
    number, rest = street.str.extract(r"^(\S+) "), street.str.replace(r"^\S+ ", "")
    domain = pl.Series(np.array(DOMAINS, dtype=object)[random.integers(0, len(DOMAINS), rows.height)].tolist())
    changed = rows.with_columns(first_name=first, last_name=last, street=street).with_columns(
        first_name=pl.when(plain).then(pl.Series(_without_accents(first))).otherwise("first_name"),
        last_name=pl.when(plain).then(pl.Series(_without_accents(last)).str.to_uppercase()).otherwise("last_name"),
        street=pl.when(some(0.15)).then(pl.concat_str(rest, pl.lit(" "), number)).otherwise("street"),
    )
    swapped = some(0.05)
    return changed.with_columns(
        first_name=pl.when(swapped).then("last_name").otherwise("first_name"),
        last_name=pl.when(swapped).then("first_name").otherwise("last_name"),
        email=pl.when(some(0.2))
        .then(None)
        .when(some(0.6))
        .then(pl.concat_str(pl.col("email").str.extract("^([^@]*)"), pl.lit("@"), domain))
        .otherwise("email"),
        phone=pl.when(some(0.4)).then(None).otherwise("phone"),
        birth_date=pl.when(some(0.3)).then(None).otherwise("birth_date"),
    )


def _typo(text: str, at: np.ndarray) -> str:
    """The text with a letter too few, too many, another, or two in the wrong order."""
    place = 1 + int(at[0] * max(1, len(text) - 2))
    kind, letter = int(at[1] * 4), LETTERS[int(at[2] * len(LETTERS))]
    head, tail = text[:place], text[place:]
    if kind == 0:
        return head + tail[1:]
    if kind == 1:
        return head + letter + tail
    if kind == 2:
        return head + letter + tail[1:]
    return head + tail[1:2] + tail[:1] + tail[2:]


def _without_accents(texts: pl.Series) -> list[str]:
    return [
        "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one)) for text in texts
    ]


def _words(number: int, syllables: int, random: np.random.Generator) -> np.ndarray:
    """Distinct names that can be spoken."""
    found: dict[str, None] = {}
    while len(found) < number:
        parts = 1 + random.integers(0, syllables)
        word = "".join(_one(ONSETS, random) + _one(VOWELS, random) for _ in range(parts + 1)) + _one(CODAS, random)
        found[word] = None
    return np.array(list(found), dtype=object)


def _one(of: Sequence[str], random: np.random.Generator) -> str:
    return of[int(random.integers(0, len(of)))]


def _drawn(words: np.ndarray, number: int, power: float, random: np.random.Generator) -> np.ndarray:
    """Words by Zipf's law: the k-th as often as 1 / k to a power."""
    weights = 1 / np.arange(1, len(words) + 1) ** power
    drawn: np.ndarray = words[random.choice(len(words), number, p=weights / weights.sum())]
    return drawn
