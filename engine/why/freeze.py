"""A segment as a static list: its users on a published date in a file, and the lines of TOML that make it a segment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.tables.durable import durable_parquet_at, durable_text
from engine.toml_text import toml_value
from engine.why.published import open_published


@dataclass(frozen=True)
class Frozen:
    """A list that was written.

    Attributes:
        file: The file, absolute.
        users: Ids in it.
        stanza: What to add to the configuration.
    """

    file: Path
    users: int
    stanza: str


def freeze(
    config: Config, name: str, as_of: date | None, to: Path, *, called: str | None = None, beside: Path
) -> Frozen:
    """Write the users of a segment as of a published date to a file, each once, ascending.

    Args:
        config: The configuration; says where the tables are.
        name: The segment.
        as_of: The date, the latest one when None; the list is frozen on it.
        to: A file that ends in .parquet or .csv and is not there yet: a list that is in use must stay as it is.
        called: Name of the new segment; `NAME as_of` when None.
        beside: Folder of the configuration file, which paths in it start from.

    Raises:
        ConfigError: Nothing is published for the date, there is no such segment, the file is there, or nobody is in it.
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
    if file.suffix.lower() == ".csv":
        durable_text(users.write_csv(), file)
    else:
        durable_parquet_at(users, file)
    return Frozen(file, users.height, _stanza(called or f"{segment.name} {day}", file, day, beside.absolute()))


def _stanza(name: str, file: Path, as_of: date, beside: Path) -> str:
    """A tag: in a group the list would take users from other segments, or they from it."""
    path = os.path.relpath(file, beside) if file.is_relative_to(beside) else str(file)
    lines = ["[[segments]]", f"name = {toml_value(name)}", f"list = {toml_value(path)}", f"frozen_on = {as_of}"]
    return "\n".join([*lines, "tag = true"]) + "\n"
