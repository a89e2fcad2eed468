"""A segment as a static list: its users on a published date in a file, and the lines of TOML that make it a segment.

A list is a file of people that outlives the date, as an export is: who has withdrawn since, or objects, is not in it,
and where that cannot be told no list is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.consent.purposes import check_purposes
from engine.errors import ConfigError
from engine.segments.definitions import segment_purposes
from engine.stages.permits_now import standing
from engine.tables.durable import durable_parquet_at, durable_text
from engine.toml_text import toml_value
from engine.why.published import Published, open_published


@dataclass(frozen=True)
class Frozen:
    """A list that was written.

    Attributes:
        file: The file, absolute.
        users: Ids in it.
        stanza: What to add to the configuration.
        withheld: Users of the date who are not in it: they object, or lack by now what everybody must have agreed to.
        without_consent: Users of the date who are not in it for they lack by now a purpose of the segment alone.
    """

    file: Path
    users: int
    stanza: str
    withheld: int = 0
    without_consent: int = 0


def freeze(
    config: Config, name: str, as_of: date | None, to: Path, *, called: str | None = None, beside: Path
) -> Frozen:
    """Write the users of a segment as of a published date to a file, each once, ascending.

    Who objects, or has withdrawn by the date or since what the segment or everything asks for, is left out.

    Args:
        config: The configuration; says where the tables are.
        name: The segment.
        as_of: The date, the latest one when None; the list is frozen on it.
        to: A file that ends in .parquet or .csv and is not there yet: a list that is in use must stay as it is.
        called: Name of the new segment; `NAME as_of` when None.
        beside: Folder of the configuration file, which paths in it start from.

    Raises:
        ConfigError: Nothing is published for the date, there is no such segment, the file is there, or nobody is in it;
            a list of objections or a key that is not at hand.
        DataError: A log of consents that cannot be read.
        ResourceError: The disk is full or failing.
    """
    published = open_published(Path(config.out).absolute(), as_of, ("memberships", "segment_definitions"))
    segment, day = published.segment(name), published.as_of
    file = to.absolute()
    if file.exists():
        raise ConfigError(
            f"{to} is there already",
            code="list-exists",
            hint="A list that segments use must not change: name another file.",
        )
    users = published.read("memberships", ["user_id"], pl.col("segment") == segment.name).sort("user_id")
    if users.is_empty():
        raise ConfigError(
            f"nobody is in {segment.name!r} on {day}",
            code="list-empty",
            hint="Freeze it on another date: `tamis segments history` has the days of its users.",
        )
    purposes = segment_purposes(config).get(segment.name, ())
    users, withheld, lacking = _agreed(config, published, users, purposes)
    if users.is_empty():
        raise ConfigError(
            f"everybody in {segment.name!r} on {day} has withdrawn since, or objects",
            code="list-empty",
            hint="`tamis consent` tells how many agreed to what; a list without them would have nobody.",
        )
    if file.suffix.lower() == ".csv":
        durable_text(users.write_csv(), file)
    else:
        durable_parquet_at(users, file)
    stanza = _stanza(called or f"{segment.name} {day}", file, day, purposes, beside.absolute())
    return Frozen(file, users.height, stanza, withheld, lacking)


def _agreed(
    config: Config, published: Published, users: pl.DataFrame, purposes: Sequence[str]
) -> tuple[pl.DataFrame, int, int]:
    """Those who may be listed; how many are withheld, and how many more lack one of the purposes."""
    check_purposes(config)
    files = [str(path) for path in published.files("features")]
    told = standing(config, published.as_of, users["user_id"], files, purposes, until_now=True)
    if told is None:
        return users, 0, 0
    kept = told.filter(~pl.col("withheld"))
    listed = kept.filter("agreed")
    return listed.select("user_id"), told.height - kept.height, kept.height - listed.height


def _stanza(name: str, file: Path, as_of: date, purposes: Sequence[str], beside: Path) -> str:
    """A tag: in a group the list would take users from other segments, or they from it."""
    path = os.path.relpath(file, beside) if file.is_relative_to(beside) else str(file)
    lines = ["[[segments]]", f"name = {toml_value(name)}", f"list = {toml_value(path)}", f"frozen_on = {as_of}"]
    # Who withdraws later is to leave the list as they leave the segment.
    lines += [f"purposes = {toml_value(list(purposes))}"] if purposes else []
    return "\n".join([*lines, "tag = true"]) + "\n"
