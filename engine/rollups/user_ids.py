"""Which user id stands behind a user key: files of the store that only ever tell what is new.

In: the users of a unit, and the files written before. Out: one more file with those that no file has. Two ids of one
key are both written; whoever reads the files sees them and gives one of them another key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from engine.rollups.ranges import KeyRange
from engine.tables.durable import durable_parquet_at
from engine.tables.manifest import FileRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_GROUP_ROWS: Final = 64_000
MOST_KNOWN: Final = 20_000_000
"""Users that are looked up before their ids are written again; of more, each task writes all of its own."""


class UserIds:
    """The users that are known, and those that were added since.

    Attributes:
        known: Keys, ascending.
        checks: The second hash of each key's id.
    """

    def __init__(self, store: Path, known: NDArray[np.uint64], checks: NDArray[np.uint32]) -> None:
        self._store = store
        self.known = known
        self.checks = checks
        self._new: list[pl.DataFrame] = []

    @classmethod
    def read(cls, store: str, files: Sequence[str], keys: KeyRange | None = None) -> UserIds:
        """Those of the files that are there (relative to the store); nobody is known where they tell too many.

        Args:
            store: Its folder.
            files: Files of user ids.
            keys: The only users to know of.
        """
        paths = [path for name in files if (path := Path(store, name)).is_file()]
        if paths:
            scan = pl.scan_parquet(paths, glob=False, hive_partitioning=False).select("user_key", "check")
            scan = scan if keys is None else scan.filter(keys.contains())
            if scan.select(pl.len()).collect().item() <= MOST_KNOWN:
                known = scan.collect().sort("user_key")
                return cls(Path(store), known["user_key"].to_numpy(), known["check"].to_numpy())
        return cls(Path(store), np.empty(0, np.uint64), np.empty(0, np.uint32))

    def add(self, users: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Take up the users that are not known yet.

        Args:
            users: `user_key`, `check`; sorted by key, repeated or not.
            rows: `user_key`, `check`, `user_id` of at least these users.
        """
        if not users.height:
            return
        keys, checks = users["user_key"].to_numpy(), users["check"].to_numpy()
        changes = np.append(True, (keys[1:] != keys[:-1]) | (checks[1:] != checks[:-1]))
        keys, checks = keys[changes], checks[changes]
        if self.known.size:
            places = np.searchsorted(self.known, keys)
            places[places == self.known.size] = 0
            is_new = (self.known[places] != keys) | (self.checks[places] != checks)
            keys, checks = keys[is_new], checks[is_new]
        if not keys.size:
            return
        named = rows.select("user_key", "check", "user_id").filter(rows["user_key"].is_in(pl.Series(keys).implode()))
        self._new.append(named.unique(["user_key", "check"], keep="any"))
        merged = np.append(self.known, keys)
        order = np.argsort(merged, kind="stable")
        self.known, self.checks = merged[order], np.append(self.checks, checks)[order]

    def write(self, name: str) -> tuple[FileRecord, ...]:
        """Write those who were new to a file of the store, sorted by key; no file for nobody."""
        if not self._new:
            return ()
        users = pl.concat(self._new).sort("user_key", "check", "user_id")
        path = self._store / name
        return (durable_parquet_at(users, path, root=self._store, row_group_rows=ROW_GROUP_ROWS),)
