"""What `tamis suppress` does: people are added to, taken from and looked up in the list of those who object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.exports.listed import forms, phones_of
from engine.exports.suppression import Suppressed, read_lists, read_suppressed, values_of_lines
from engine.privacy.key import Key, key_source, load_key
from engine.privacy.opposed import (
    Opposed,
    held,
    of_this_key,
    opposed_file,
    read_opposed,
    with_opposed,
    without_opposed,
    write_opposed,
)
from engine.tables import disk


@dataclass(frozen=True)
class Changed:
    """What became of a list.

    Attributes:
        file: Where it is kept.
        given: Different ids, addresses and telephone numbers that were given.
        changed: How many people were added or removed; the others were there, or not there, already.
        listed: How many are on the list now, or would be.
        written: Whether the list was written.
    """

    file: Path
    given: int
    changed: int
    listed: int
    written: bool


@dataclass(frozen=True)
class ListedPeople:
    """What may be told of a list.

    Attributes:
        file: Where it is kept.
        listed: How many are on it.
        added: How many were added on each day (ISO).
        keys: Ids of the keys it was written with.
        clear: Files of the configuration, and how many values each has.
    """

    file: Path
    listed: int
    added: dict[str, int]
    keys: tuple[str, ...]
    clear: tuple[tuple[str, int], ...]


def given_values(config: Config, files: Iterable[Path], lines: Iterable[str] = ()) -> pl.Series:
    """The ids, addresses and telephone numbers in files and lines, trimmed.

    Raises:
        ConfigError: Files that cannot be read, nobody in them, or numbers where nothing is known to compare them with.
    """
    headers = [] if config.contacts is None else [config.contacts.user_id]
    phones = phones_of(config)
    found = pl.concat([read_lists(files, headers, phones)[0], values_of_lines(lines, phones)]).unique().sort()
    if not found.len():
        raise ConfigError(
            "expected ids, addresses or telephone numbers, got none",
            code="users-missing",
            hint="A list is text (UTF-8) with one of them per line, or CSV or Parquet with a column email, user_id or "
            "phone.",
        )
    return found


def add_people(config: Config, values: pl.Series, added: date, *, dry_run: bool = False) -> Changed:
    """Put people on the list.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    phones = phones_of(config)
    return _change(
        config, values, lambda opposed, key: with_opposed(opposed, values, key, added, phones), dry_run=dry_run
    )


def remove_people(config: Config, values: pl.Series, *, confirmed: bool) -> Changed:
    """Take people from the list, for they agree again; without being confirmed, only say how many it would be.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    phones = phones_of(config)
    return _change(
        config, values, lambda opposed, key: without_opposed(opposed, values, key, phones), dry_run=not confirmed
    )


def remove_of_earlier_keys(config: Config, *, confirmed: bool) -> Changed:
    """Take from the list what was added with earlier keys; it must have been added again with the current one.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    return _change(config, pl.Series("id", [], pl.String), of_this_key, dry_run=not confirmed)


def check_people(config: Config, values: pl.Series) -> tuple[int, int]:
    """How many of some ids, addresses and telephone numbers object, and how many were asked for.

    Raises:
        ConfigError: No key.
        IntegrityError: The list is damaged.
    """
    opposed = read_opposed(Path(config.out))
    clear, phones = _clear(config), phones_of(config)
    named = forms(values, phones).filter(
        pl.col("id").is_in(clear.ids.implode()) | pl.col("address").is_in(clear.addresses.implode())
    )
    on = values.is_in(named["value"].implode())
    key = load_key(key_source(config)) if len(opposed) else None
    others = values.filter(~on)
    return int(on.sum()) + (held(opposed, others, key, phones) if key is not None else 0), values.len()


def list_people(config: Config) -> ListedPeople:
    """What may be told of the list: numbers and days.

    Raises:
        ConfigError: Files of the configuration that cannot be read.
        IntegrityError: The list is damaged.
    """
    out = Path(config.out)
    opposed = read_opposed(out)
    return ListedPeople(opposed_file(out), len(opposed), opposed.counts(), opposed.keys, _clear(config).files)


def _clear(config: Config) -> Suppressed:
    headers: Sequence[str] = [] if config.contacts is None else [config.contacts.user_id]
    return read_suppressed(map(Path, config.privacy.opposed), headers, phones_of(config))


def _change(config: Config, values: pl.Series, change: Callable[[Opposed, Key], Opposed], *, dry_run: bool) -> Changed:
    key = load_key(key_source(config))
    out = Path(config.out)
    file = opposed_file(out)
    if dry_run:
        before = read_opposed(out)
        after = change(before, key)
    else:
        disk.make_folder(file.parent)
        # Another process may be adding people too.
        with disk.lock(file.with_name(".opposed.lock")):
            before = read_opposed(out)
            after = change(before, key)
            if not after.people.equals(before.people):
                write_opposed(after, out)
    return Changed(file, values.len(), abs(len(after) - len(before)), len(after), not dry_run)
