"""Users whose last act is too long ago, from the daily sums of the rollup store.

The clock of a user begins on the day of their last act; without any, on the day of their first event, or of their first
row in the contacts where these tell from when a row holds. Who has a clock of more than `person_days` days on the day
that is asked goes: with 1,095, an act 1,096 days ago is too old, one 1,095 days ago is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config
from engine.contacts.duplicates.links import stage_merged
from engine.contacts.history import VALID_DAY
from engine.contacts.read import ContactsTask, read_contacts
from engine.execution.plan import plan_buckets
from engine.execution.protocol import Executor
from engine.features.windows import day_number
from engine.privacy.links import settle
from engine.privacy.tombstones import tombstones_file
from engine.progress import Progress, track
from engine.remote.fetch import cache_folder, clear
from engine.retention.acts import NAMED, act_types, check_acts
from engine.rollups.bucket import Shelf, load_bucket, shelves
from engine.rollups.index import Code, Index
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange, key_ranges
from engine.rollups.update import Wanted, store_folder, update
from engine.stages.input import kept_links, open_unit
from engine.stages.opening import open_run
from engine.stages.preparation import types_in_use

_EVER: Final = 2**31 - 1


@dataclass(frozen=True)
class ClockTask:
    """The users of a range of keys, and what sets their clocks.

    Attributes:
        keys: The range.
        shelf: Where their events are; every day counts.
        acts: Positions of the acts among the shelf's types.
        oldest: Clocks that began before this day (since 1970-01-01) have run out.
        contacts: Part of the contacts with a history; None without.
        part: The file to write: `user_id` (text) of whose clock has run out.
    """

    keys: KeyRange
    shelf: Shelf
    acts: tuple[int, ...]
    oldest: int
    contacts: str | None
    part: str


@dataclass(frozen=True)
class Clocks:
    """What became of the users of a range: all of them, those to go, and those of them who never acted."""

    users: int
    expired: int
    never_acted: int


@dataclass(frozen=True)
class Expired:
    """Users whose clock has run out; what is printed of it is how many.

    Attributes:
        users: All users of the log.
        ids: Those to go, as the tables know them, sorted.
        never_acted: How many of them never acted.
        acts: Event types that count as acts.
    """

    users: int
    ids: tuple[str, ...]
    never_acted: int
    acts: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Expired {len(self.ids)} of {self.users}>"


def run_clocks(task: ClockTask) -> Clocks:
    """Find the users of a range whose clock has run out, and write their ids."""
    bucket = load_bucket(task.shelf, task.keys)
    acted = pl.col("day").filter(pl.col("type").is_in(task.acts) & (pl.col("events") > 0))
    days = bucket.daily.group_by("user").agg(acted=acted.max(), first=pl.col("day").min())
    users = bucket.users.with_row_index("user").select("user", pl.col("user_id").cast(pl.String))
    clocks = users.join(days, on="user", how="left")
    if task.contacts is not None:
        clocks = clocks.join(_first_contacts(task.contacts), on="user_id", how="left")
        clocks = clocks.with_columns(first=pl.min_horizontal("first", "contact"))
    begun = pl.coalesce("acted", "first")
    expired = clocks.filter(begun < task.oldest).sort("user_id")
    write_part(expired.select("user_id"), task.part)
    return Clocks(users.height, expired.height, expired["acted"].null_count())


def find_expired(
    config: Config, as_of: date, *, work: Path, executor: Executor, progress: Progress | None = None
) -> Expired:
    """The users whose clock has run out; the rollup store is brought up to date with the log first.

    An act on `as_of` or later counts too: whoever has come back since stays.

    Args:
        config: With `retention.person_days`.
        as_of: The day.
        work: The work folder; the output root is locked.
        executor: Where the log is read.
        progress: Told of each finished task.

    Raises:
        ConfigError: `retention.acts` are none, or no event type is an act.
        DataError: The log cannot be read.
    """
    act_types(config)
    opened = open_run(config)
    config, given = opened.config, opened.given
    types = types_in_use(config, given, as_of, executor, progress)
    acts = [name for name in act_types(config) if name not in NAMED or name in config.retention.acts]
    codes = tuple(Code(name) for name in dict.fromkeys((*types, *acts)))
    linked = kept_links(config, given, work)
    store = store_folder(Path(config.out))
    updated = update(
        config,
        given.units,
        Wanted(codes),
        store=store,
        work=work,
        executor=executor,
        open_unit=lambda found: open_unit(config, found),
        progress=progress,
        links=linked.links,
        ids=linked.ids,
        gone=linked.gone.to_list(),
    )
    settle(linked, tombstones_file(Path(config.out)))
    index = updated.index
    there = {count.event_type for entry in index.entries for count in entry.counts}
    there_acts = check_acts(config, there, all_known=not any(entry.unlisted for entry in index.entries))
    contacts = None
    if config.contacts is not None and config.contacts.valid_from is not None:
        contacts = str(work / "contacts.parquet")
        cache = str(cache_folder(Path(config.out)))
        merged = stage_merged(linked.links, linked.known, Path(config.out), work)
        task = ContactsTask(config.contacts, contacts, cache, config.timezone, ids=linked.ids, merged=merged)
        executor.map(read_contacts, [task])
    clear(cache_folder(Path(config.out)))
    return _expired(config, as_of, _shelf(index, codes, store), there_acts, contacts, index, work, executor, progress)


def _expired(  # noqa: PLR0913, PLR0917 - what was found, and where the tasks run
    config: Config,
    as_of: date,
    shelf: Shelf,
    acts: tuple[str, ...],
    contacts: str | None,
    index: Index,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> Expired:
    days = config.retention.person_days or 0
    rows = sum(entry.read for entry in index.entries)
    ranges = tuple(key_ranges(plan_buckets(rows, config.execution.rows_per_task)))
    positions = tuple(place for place, code in enumerate(shelf.kinds) if code.event_type in acts)
    tasks = [
        ClockTask(
            keys, portion, positions, day_number(as_of) - days, contacts, str(work / f"expired-{number:05d}.parquet")
        )
        for number, (keys, portion) in enumerate(zip(ranges, shelves(shelf, ranges), strict=True))
    ]
    done = executor.map(run_clocks, tasks, on_done=track(progress, "last acts", len(tasks), executor.tally))
    found = pl.concat([pl.read_parquet(task.part, glob=False) for task in tasks])["user_id"]
    return Expired(
        users=sum(one.users for one in done),
        ids=tuple(found.sort().to_list()),
        never_acted=sum(one.never_acted for one in done),
        acts=acts,
    )


def _shelf(index: Index, codes: tuple[Code, ...], store: Path) -> Shelf:
    places = {code: place for place, code in enumerate(index.codes)}
    return replace(
        Shelf((), (), (), (), tuple(places[code] for code in codes), (), _EVER),
        users=tuple(str(store / file.path) for file in index.users),
        daily=tuple(str(store / file.path) for entry in index.entries for file in entry.daily),
        kinds=codes,
    )


def _first_contacts(part: str) -> pl.DataFrame:
    """`user_id` and `contact`, the day of the first row of each user; null where it holds since ever."""
    rows = pl.scan_parquet(part, glob=False, hive_partitioning=False)
    rows = rows.select(pl.col("user_id").cast(pl.String), VALID_DAY)
    # A row counts from the day after that on which it begins to hold.
    known = rows.filter(pl.col(VALID_DAY) > -_EVER).with_columns(pl.col(VALID_DAY) - 1)
    return known.group_by("user_id").agg(contact=pl.col(VALID_DAY).min()).sort("user_id").collect()
