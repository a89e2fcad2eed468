"""New links of user ids: which units of the store they reach, so that these are rolled up again.

In: the links as they are now, and the store. Out: the index with the links, and the units that hold an event of a user
whose links have changed, or drop one because a unit before held it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from engine.config import Exclude
from engine.events.exclusion import is_excluded
from engine.events.identities import affected
from engine.events.keys import user_key
from engine.rollups.index import Entry, Index
from engine.tables.durable import durable_parquet_at

Name = tuple[str, str]
"""Source and label of a unit."""


@dataclass(frozen=True)
class Linked:
    """What is known of the log when its links are compared.

    Attributes:
        before: The units of the log, those of a source by label, and the units that each looks back to.
        exclude: Users who do not count.
    """

    before: Mapping[Name, Sequence[Name]]
    exclude: Exclude


def relink(index: Index, links: pl.DataFrame | None, store: Path, log: Linked) -> tuple[Index, set[Name]]:
    """The index with the links as they are now, and the units whose numbers are others by them.

    Args:
        index: The index; its files are whole.
        links: `from_id`, `to_id`, as `engine.events.identities` gives them; None without.
        store: Folder of the store.
        log: What else is known.
    """
    if links is None:
        return replace(index, links=None), set()
    name = f"links/{hashlib.sha256(links.write_csv().encode()).hexdigest()[:12]}.parquet"
    then = None
    if index.links is not None:
        if index.links.path == name:
            return index, set()
        then = pl.read_parquet(store / index.links.path, glob=False, hive_partitioning=False)
    linked = replace(index, links=durable_parquet_at(links, store / name, root=store))
    return linked, _reached(index, affected(then, links), store, log)


def _reached(index: Index, changed: pl.DataFrame, store: Path, log: Linked) -> set[Name]:
    if changed.is_empty():
        return set()
    everyone = {entry.name for entry in index.entries}
    if changed.select(is_excluded(log.exclude, pl.col("now"), changed.schema["now"]).any()).item():
        # Rows of event types that are not in use have no user in the store, but count as excluded.
        return everyone
    rekeyed = tuple(index.rekeyed.items())
    was, now = (changed.select(user_key(pl.col(name), rekeyed)).to_series().implode() for name in ("was", "now"))
    entries = index.by_name()
    touched: set[Name] = set()
    reached: set[Name] = set()
    for name, before in log.before.items():
        entry = entries.get(name)
        if entry is None:
            # Rolled up anyway; what it held is not known.
            touched.add(name)
            continue
        # Events that were dropped leave no trace of their user but that they were dropped.
        drops = any(count.duplicates or count.lines for count in entry.counts)
        follows = not touched.isdisjoint(before)
        # Whoever was left out may not be, under another id.
        held = entry.excluded or _has_key(entry, was, store)
        if held or (follows and drops):
            touched.add(name)
        if name in touched or (follows and _has_key(entry, now, store)):
            reached.add(name)
    return reached


def _has_key(entry: Entry, keys: pl.Series, store: Path) -> bool:
    files = [store / file.path for file in entry.daily]
    scan = pl.scan_parquet(files, glob=False, hive_partitioning=False).select("user_key")
    return bool(scan.filter(pl.col("user_key").is_in(keys)).head(1).collect().height)
