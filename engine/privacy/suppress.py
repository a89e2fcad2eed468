"""What `tamis suppress` does: people are added to, taken from and looked up in the list of those who object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.exports.suppression import Suppressed, ids_of_lines, read_suppressed
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
        given: Different ids and addresses that were given.
        changed: How many of them were added or removed; the others were there, or not there, already.
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
    """The ids and addresses in files and lines, trimmed.

    Raises:
        ConfigError: Files that cannot be read, or nobody in them.
    """
    headers = [] if config.contacts is None else [config.contacts.user_id]
    found = pl.concat([read_suppressed(files, headers).ids, ids_of_lines(lines)]).unique().sort()
    if not found.len():
        raise ConfigError(
            "expected ids or addresses, got none",
            code="users-missing",
            hint="A list is text (UTF-8) with one id or address per line, or CSV or Parquet with a column email or "
            "user_id.",
        )
    return found


def add_people(config: Config, values: pl.Series, added: date, *, dry_run: bool = False) -> Changed:
    """Put people on the list.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    return _change(config, values, lambda opposed, key: with_opposed(opposed, values, key, added), dry_run=dry_run)


def remove_people(config: Config, values: pl.Series, *, confirmed: bool) -> Changed:
    """Take people from the list, for they agree again; without being confirmed, only say how many it would be.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    return _change(config, values, lambda opposed, key: without_opposed(opposed, values, key), dry_run=not confirmed)


def remove_of_earlier_keys(config: Config, *, confirmed: bool) -> Changed:
    """Take from the list what was added with earlier keys; it must have been added again with the current one.

    Raises:
        ConfigError: No key, or a folder that cannot be written to.
        IntegrityError: The list is damaged.
    """
    return _change(config, pl.Series("id", [], pl.String), of_this_key, dry_run=not confirmed)


def check_people(config: Config, values: pl.Series) -> tuple[int, int]:
    """How many of some ids and addresses object, and how many were asked for.

    Raises:
        ConfigError: No key.
        IntegrityError: The list is damaged.
    """
    opposed = read_opposed(Path(config.out))
    clear = _clear(config)
    on = values.is_in(clear.ids.implode())
    key = load_key(key_source(config)) if len(opposed) else None
    others = values.filter(~on)
    return int(on.sum()) + (held(opposed, others, key) if key is not None else 0), values.len()


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
    return read_suppressed(map(Path, config.privacy.opposed), headers)


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
