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
from engine.privacy.links import FROM_EXCLUDED, TO_EXCLUDED
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
        gone: Ids whose events go, for only now they are known to be of somebody who was erased.
    """

    before: Mapping[Name, Sequence[Name]]
    exclude: Exclude
    gone: tuple[str | int, ...] = ()


def relink(index: Index, links: pl.DataFrame | None, store: Path, log: Linked) -> tuple[Index, set[Name]]:
    """The index with the links as they are now, and the units whose numbers are others by them.

    Args:
        index: The index; its files are whole.
        links: `from_id`, `to_id`, as `engine.events.identities` gives them; None without.
        store: Folder of the store.
        log: What else is known.
    """
    name = None
    if links is not None:
        name = f"links/{hashlib.sha256(links.write_csv().encode()).hexdigest()[:12]}.parquet"
    if name == (None if index.links is None else index.links.path) and not log.gone:
        return index, set()
    then = None
    if index.links is not None:
        then = pl.read_parquet(store / index.links.path, glob=False, hive_partitioning=False)
    if links is not None and name is not None:
        linked = replace(index, links=durable_parquet_at(links, store / name, root=store))
    elif then is not None:
        # The last merge of contacts was undone.
        links, linked = then.clear(), replace(index, links=None)
    else:
        return index, set()
    changed = affected(then, links)
    gone = pl.Series("from_id", log.gone, links.schema["from_id"]).to_frame()
    there = gone.select("from_id", was="from_id", now="from_id").join(changed, on="from_id", how="anti")
    every = pl.concat([changed, there]).sort("from_id")
    if every.select(_now_excluded(every, then, links, log.exclude).any()).item():
        # Rows of event types that are not in use have no user in the store, but count as excluded.
        return linked, {entry.name for entry in index.entries}
    return linked, _reached(index, every, store, log)


def _now_excluded(
    changed: pl.DataFrame, then: pl.DataFrame | None, now: pl.DataFrame, exclude: Exclude
) -> pl.Expr | pl.Series:
    """Whether the user of each id, as it is now, is excluded."""
    if TO_EXCLUDED not in now.columns:
        return is_excluded(exclude, pl.col("now"), changed.schema["now"])
    own = pl.concat([frame.select("from_id", FROM_EXCLUDED) for frame in (now, then) if frame is not None])
    users = now.select(now="to_id", excluded=TO_EXCLUDED)
    known = pl.concat([users, own.select(now="from_id", excluded=FROM_EXCLUDED)]).filter("excluded")
    return changed["now"].is_in(known["now"].unique().implode())


def _reached(index: Index, changed: pl.DataFrame, store: Path, log: Linked) -> set[Name]:
    if changed.is_empty():
        return set()
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
