"""Static lists: users who are in a segment because a file, frozen on a day, says so.

A list is read and checked once, before any work. Its users are members while `frozen_on <= as_of < expires_on`.
Which of its ids no user has is known when every bucket has told how many of them its users have.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.asked_users import as_stored, ids_of_file
from engine.errors import ConfigError
from engine.events.keys import user_key
from engine.privacy.ids import IdRules, pseudonyms_kept, without_erased
from engine.privacy.pseudonyms import IS_PSEUDONYM
from engine.remote.address import is_remote
from engine.remote.fetch import fetched_as
from engine.remote.listing import list_matches
from engine.rollups.ranges import KeyRange, in_range
from engine.segments.definition import Definition, StaticList
from engine.tables.durable import durable_parquet_at

_SHOWN: Final = 5
_HINT: Final = "Mend the file of each list: every id once, a row or line each, and nothing else."


def content_hash(path: str) -> str:
    """SHA-256 of a list's file, in hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with at_hand(path) as local, local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def at_hand(path: str) -> Iterator[Path]:
    """The file of a list to read: itself, or a copy of what an address names.

    Raises:
        FileNotFoundError: There is no file behind an address.
    """
    if not is_remote(path):
        yield Path(path)
        return
    found = [file for file in list_matches(path, lambda _: None, text=False) if file.url == path]
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with fetched_as(found) as [local]:
        yield local


def read_lists(definitions: Sequence[Definition], user_dtype: str, *, pseudonyms: bool = False) -> dict[str, pl.Series]:
    """The ids of each list's users, by segment: each once, ascending, in the type of the log's ids.

    Args:
        definitions: The segments; those without a list are left out.
        user_dtype: Int64 or String.
        pseudonyms: Whether an id may be a pseudonym, as those of a list that was frozen are; all of them are text then.

    Raises:
        ConfigError: Files that cannot be read, and ids that are blank, double or of another type; all at once.
    """
    lists: dict[str, pl.Series] = {}
    problems: list[str] = []
    for definition in definitions:
        if definition.list is None:
            continue
        try:
            with at_hand(definition.list.path) as file:
                ids, found = _checked(ids_of_file(file), user_dtype, definition.list, pseudonyms=pseudonyms)
        except FileNotFoundError:
            ids, found = pl.Series(dtype=pl.Int64), [f"there is no file {definition.list.path}"]
        except ConfigError as error:
            ids, found = pl.Series(dtype=pl.Int64), [error.message]
        problems += [f"  - {definition.name!r}: {problem}" for problem in found]
        lists[definition.name] = ids.alias("user_id")
    if problems:
        message = "Lists of users that cannot be used:\n" + "\n".join(problems)
        raise ConfigError(message, code="segment-list", hint=_HINT)
    return lists


def kept_lists(lists: Mapping[str, pl.Series], rules: IdRules) -> dict[str, pl.Series]:
    """The lists as the tables have their users: without those who were erased, and as pseudonyms where asked for.

    Args:
        lists: What `read_lists` gave for ids of the sources, or pseudonyms.
        rules: What becomes of ids.
    """
    if not rules.change_ids:
        return dict(lists)
    found = {}
    for name, ids in lists.items():
        is_made = ids.cast(pl.String).str.contains(IS_PSEUDONYM) & rules.pseudonyms
        others = without_erased(ids.filter(~is_made).to_frame("user_id"), rules, "user_id")["user_id"]
        made = pseudonyms_kept(ids.filter(is_made), rules) if is_made.any() else others.clear()
        found[name] = pl.concat([others, made.alias("user_id")]).unique().sort()
    return found


def linked_lists(lists: Mapping[str, pl.Series], links: pl.DataFrame | None) -> dict[str, pl.Series]:
    """The lists with each user once, whichever of their ids stand in it.

    Args:
        lists: What `read_lists` gave.
        links: `from_id` and `to_id` of linked ids (`engine.events.identities`): a linked id stands for its user.
    """
    if links is None or links.is_empty():
        return dict(lists)
    of_users = {}
    for name, ids in lists.items():
        users = ids.to_frame("from_id").join(links.select("from_id", "to_id"), on="from_id", how="left")
        of_users[name] = users.select(user_id=pl.coalesce("to_id", "from_id"))["user_id"].unique().sort()
    return of_users


def is_in_force(listed: StaticList, as_of: date) -> bool:
    """Whether the users of the list are members on the day."""
    return listed.frozen_on <= as_of and (listed.expires_on is None or as_of < listed.expires_on)


def list_notes(definitions: Sequence[Definition], as_of: date) -> tuple[str, ...]:
    """A line for each list whose users are no members on the day, for it has expired or is not frozen yet."""
    notes = []
    for definition in definitions:
        listed = definition.list
        if listed is None or is_in_force(listed, as_of):
            continue
        why = f"is frozen on {listed.frozen_on} only" if as_of < listed.frozen_on else f"expired on {listed.expires_on}"
        notes.append(f"segment {definition.name!r} has no members: its list {why}")
    return tuple(notes)


def stage_lists(lists: Mapping[str, pl.Series], file: Path) -> None:
    """Write all lists to one Parquet file (`user_key`, `segment`, `user_id`), sorted, for the tasks of the buckets."""
    frames = [
        pl.DataFrame({"user_id": ids}).select(
            user_key(pl.col("user_id")).alias("user_key"), pl.lit(name).alias("segment"), "user_id"
        )
        for name, ids in lists.items()
    ]
    durable_parquet_at(pl.concat(frames).sort("user_key", "segment", "user_id"), file, compression="lz4")


def bucket_lists(file: Path, keys: KeyRange, users: pl.Series) -> dict[str, pl.Series]:
    """The lists of `stage_lists`, by segment, as far as they can concern the users of a bucket.

    Args:
        file: What `stage_lists` wrote.
        keys: The bucket's range.
        users: Its users' ids: a key may have been changed to keep two users apart.
    """
    found = (
        pl.scan_parquet(file, glob=False, hive_partitioning=False)
        .filter(in_range(keys, users))
        .select("segment", "user_id")
        .collect()
    )
    parts = found.partition_by("segment", as_dict=True, include_key=False)
    return {str(name): frame["user_id"].sort() for (name,), frame in sorted(parts.items())}


def unknown_ids(
    definitions: Sequence[Definition], lists: Mapping[str, pl.Series], found: Mapping[str, int]
) -> tuple[str, ...]:
    """A line for each list with ids that no user has, where they are to be ignored.

    Args:
        definitions: The segments.
        lists: What `read_lists` gave.
        found: By segment, the users whose id is in the list: the sum of `Evaluated.listed` over all buckets.

    Raises:
        ConfigError: Ids that no user has, in lists that must not have any; all lists at once.
    """
    notes: list[str] = []
    problems: list[str] = []
    for definition in definitions:
        listed = definition.list
        if listed is None or (missing := len(lists[definition.name]) - found.get(definition.name, 0)) == 0:
            continue
        text = f"{missing} of {len(lists[definition.name])} ids of its list belong to no user"
        if listed.refuse_unknown:
            problems.append(f"  - {definition.name!r}: {text} ({listed.path})")
        else:
            notes.append(f"segment {definition.name!r}: {text}")
    if problems:
        raise ConfigError(
            "Lists name users whom no event before the date has:\n" + "\n".join(problems),
            code="segment-list-unknown",
            hint='Take the ids out of the list, or set unknown_ids = "ignore" for its segment.',
        )
    return tuple(notes)


def _checked(ids: pl.Series, user_dtype: str, listed: StaticList, *, pseudonyms: bool) -> tuple[pl.Series, list[str]]:
    text = ids.str.strip_chars().fill_null("")
    unit = "row" if Path(listed.path).suffix.lower() in {".parquet", ".pq", ".csv"} else "line"
    blank = text == ""
    problems = []
    if not ids.len():
        problems.append("it holds no id")
    if blank.any():
        problems.append(f"{_times(blank, 'blank id')}, first in {unit} {_first(blank)}")
    values = text
    wrong = pl.zeros(text.len(), dtype=pl.UInt8, eager=True).cast(pl.Boolean)
    if user_dtype != "String":
        known = as_stored(text.unique().to_list(), user_dtype)
        values = text.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.Int64)
        if pseudonyms:
            values = values.cast(pl.String).zip_with(~text.str.contains(IS_PSEUDONYM), text)
        wrong = values.is_null() & ~blank
    if wrong.any():
        problems.append(
            f"{_times(wrong, 'id')} that no user can have, as the log's ids are whole numbers: "
            f"first in {unit} {_first(wrong)}"
        )
    again = ~values.is_first_distinct() & ~blank & ~wrong
    if again.any():
        first = values.filter(again)[0]
        problems.append(
            f"{_times(again, 'duplicate')}: first in {unit} {_first(again)}, "
            f"which stands in {unit} {_first(values == first)} already"
        )
    return values.sort(), [f"{problem} ({listed.path})" for problem in problems]


def _first(where: pl.Series) -> int:
    return int(where.arg_true()[0]) + 1


def _times(where: pl.Series, what: str) -> str:
    return f"{(count := int(where.sum()))} {what}{'' if count == 1 else 's'}"
