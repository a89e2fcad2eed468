"""Small files that could name people: decisions about contacts, pages, records of runs and of processing, notes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from engine.contacts.duplicates.decisions import (
    changing,
    contacts_folder,
    read_decisions,
    without_people,
    write_decisions,
)
from engine.erasure.held import Held, Holding, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.named import is_named
from engine.tables import disk
from engine.tables.durable import durable_json, durable_parquet_at, durable_text
from engine.tables.publish import sweep_temporary

_PAIRS: Final = "pairs.parquet"
_LISTED: Final = "pairs.csv"
_IDS: Final = ("user_id", "other_id")


# ------------------------------------------------------------------------------------------------------------- contacts


def find_in_contacts(place: Place) -> Iterator[Held]:
    """Pairs of duplicates with one of the people, and what was decided about them."""
    names = place.people.names
    decisions = [act for act in read_decisions(place.out) if not names.isdisjoint(act.pair)]
    if decisions:
        rows = pl.DataFrame(
            [(act.on, act.kind, act.by, *act.pair) for act in decisions],
            {"on": pl.Date, "act": pl.String, "by": pl.String, "user_id": pl.String, "other_id": pl.String},
            orient="row",
        )
        yield Held("contacts decisions", rows, ("_contacts/decisions.json",))
    path = contacts_folder(place.out) / _PAIRS
    if path.is_file():
        pairs = pl.read_parquet(path, glob=False, hive_partitioning=False)
        own = pairs.filter(_is_theirs(pairs, place))
        if own.height:
            yield Held("contacts pairs", own, (f"_contacts/{_PAIRS}",))
    listed = path.with_name(_LISTED)
    if listed.is_file():
        table = _table(listed)
        own = table.filter(_is_theirs(table, place))
        if own.height:
            yield Held("contacts pairs listed", own, (f"_contacts/{_LISTED}",))


def erase_in_contacts(place: Place, _: Journal) -> Removed:
    """Take the people out of pairs and decisions."""
    removed = Removed()
    sweep_temporary(contacts_folder(place.out))
    for held in list(find_in_contacts(place)):
        path = place.out / held.files[0]
        if path.suffix == ".json":
            with changing(place.out) as acts:
                write_decisions(without_people(acts, place.people.names), place.out)
        elif path.suffix == ".parquet":
            pairs = pl.read_parquet(path, glob=False, hive_partitioning=False)
            durable_parquet_at(pairs.filter(~_is_theirs(pairs, place)), path)
        else:
            table = _table(path)
            durable_text(table.filter(~_is_theirs(table, place)).write_csv(), path)
        disk.make_private(path) if path.exists() else None
        removed += Removed(held.rows.height, rewritten=1)
    return removed


def _table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _is_theirs(rows: pl.DataFrame, place: Place) -> pl.Series:
    """Rows that name one of the people: in a column of ids, or any other column of text."""
    names = pl.Series(sorted(place.people.names), dtype=pl.String).implode()
    needles = pl.Series(place.people.needles, dtype=pl.String).implode()
    columns = [
        pl.col(name).cast(pl.String).is_in(names if name in _IDS else needles).fill_null(value=False)
        for name, dtype in rows.schema.items()
        if name in _IDS or dtype == pl.String
    ]
    return rows.select(pl.any_horizontal(columns or [pl.lit(value=False)])).to_series()


# ---------------------------------------------------------------------------------------------------------------- texts


def texts(name: str, folder: str, pattern: str, about: str, *, remake: bool) -> Holding:
    """A holding of small text files, which name nobody unless the configuration or a file's path does.

    Args:
        name, pattern, about: See `Holding`.
        folder: The folder below the output root.
        remake: Whether a file that names one of the people goes, for it can be made again; else the names in it do.
    """
    return Holding(name, (pattern,), about, partial(_find, folder, name), partial(_erase, folder, remake=remake))


def _find(folder: str, name: str, place: Place) -> Iterator[Held]:
    for path in _naming(folder, place):
        where = path.relative_to(place.out).as_posix()
        yield Held(f"{name} {path.name}", pl.DataFrame({"file": [where]}), (where,))


def _erase(folder: str, place: Place, _: Journal, *, remake: bool) -> Removed:
    removed = Removed()
    for path in _naming(folder, place):
        if remake:
            disk.remove_file(path)
            removed += Removed(rows=1, removed=1)
            continue
        if path.suffix == ".json":
            durable_json(place.people.without(json.loads(path.read_bytes())), path)
        else:
            durable_text(place.people.without(path.read_text(encoding="utf-8", errors="replace")), path)
        removed += Removed(rows=1, rewritten=1)
    return removed


def _naming(folder: str, place: Place) -> list[Path]:
    root = place.out / folder
    paths = [root / name for name in sorted(disk.list_files(root))]
    return [path for path in paths if is_named(path.name, path.read_bytes(), place.people)]
