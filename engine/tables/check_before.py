"""Whether staged tables are what they promise, read back from the disk before anybody else can see them.

Each file is a task: its bytes are those that were written, no key is null, no key is there twice, rows are sorted by
user. Users of different buckets have keys in different ranges, so a key that is once in its file is once in the table:
files of `features` prove the ranges, and the other tables with a row per user have exactly the same users, by the sum
of the hashes of their ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import IntegrityError
from engine.events.keys import user_key
from engine.execution.journal import unjournalled
from engine.execution.protocol import Executor
from engine.rollups.ranges import KeyRange, key_ranges
from engine.tables.durable import sha256_of
from engine.tables.manifest import FileRecord, TableRecord

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "features": ("user_id",),
    "scores": ("user_id",),
    "segments": ("user_id",),
    "points": ("user_id", "card", "rule"),
    "memberships": ("user_id", "segment"),
    "membership_changes": ("user_id", "segment"),
    "membership_history": ("user_id", "segment"),
    "segment_definitions": ("segment",),
}
"""Columns that tell the rows of a table apart; of no other table is a row told by its columns."""

_USER_TABLES: Final = ("features", "scores", "segments")
_BY_BUCKET: Final = ("features", "scores", "memberships")
_PART: Final = re.compile(r"part-(\d{5})-")
_SHOWN: Final = 20
_MODULUS: Final = 1 << 64


@dataclass(frozen=True)
class CheckTask:
    """One staged file.

    Attributes:
        root: Work folder of the run.
        file: What was written.
        key: Columns that tell its rows apart.
        keys: Range in which the keys of its users must lie; None when users may lie anywhere.
    """

    root: str
    file: FileRecord
    key: tuple[str, ...]
    keys: KeyRange | None


@dataclass(frozen=True)
class CheckRecord:
    """What is wrong with a file, and the sum of the hashes of its users modulo 2^64."""

    problems: tuple[str, ...]
    users: int = 0


def check_before(
    tables: Sequence[TableRecord], staging: Path, *, buckets: int, rekeyed: int, executor: Executor
) -> None:
    """Stop before the switch when a staged table is not what it promises.

    Args:
        tables: The tables as they are staged.
        staging: Work folder of the run.
        buckets: Into how many ranges of keys the users were cut.
        rekeyed: User ids that share their key with another one: their key does not follow from the id alone.
        executor: Where the files are read.

    Raises:
        IntegrityError: All that is wrong, file by file.
    """
    ranges = key_ranges(buckets)
    named = [(table.name, file) for table in tables if table.name in KEYS for file in table.records]
    tasks = [
        CheckTask(str(staging), file, KEYS[name], None if rekeyed else _range_of(name, file, ranges))
        for name, file in named
    ]
    records = unjournalled(executor).map(check_file, tasks, small=True)
    problems = [problem for record in records for problem in record.problems]
    if not problems:
        sums = dict.fromkeys((name for name, _ in named if name in _USER_TABLES), 0)
        for (name, _), record in zip(named, records, strict=True):
            if name in sums:
                sums[name] = (sums[name] + record.users) % _MODULUS
        proved = sums.get("features")
        problems = [f"{name} has other users than features" for name in sums if proved not in {None, sums[name]}]
    if problems:
        shown = [f"  {problem}" for problem in problems[:_SHOWN]]
        more = [f"  … and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise IntegrityError(
            "\n".join(["the tables of this run are not what they promise:", *shown, *more]),
            code="publish-check",
            hint="Nothing was published; run the command again, and report a bug when it says so again.",
        )


def check_file(task: CheckTask) -> CheckRecord:
    """Read the keys of one staged file back."""
    path = Path(task.root, task.file.path)
    where = task.file.path
    try:
        if sha256_of(path) != task.file.sha256:
            return CheckRecord((f"{where}: the content differs from what was written",))
        rows = pl.read_parquet(path, columns=list(task.key), glob=False, hive_partitioning=False)
    except OSError as error:
        return CheckRecord((f"{where}: cannot be read ({error.strerror})",))
    problems = [f"{where}: {column.null_count()} rows without {column.name}" for column in rows if column.null_count()]
    if rows.height != task.file.rows:
        problems.append(f"{where}: {task.file.rows} rows expected, {rows.height} found")
    if problems:
        return CheckRecord(tuple(problems))
    first = rows[task.key[0]]
    if not first.is_sorted():
        problems.append(f"{where}: not sorted by {first.name}")
    elif len(task.key) == 1:
        repeated = int((first == first.shift()).sum())
        problems += [f"{where}: {repeated} rows repeat a {first.name}"] if repeated else []
    else:
        repeated = rows.height - rows.n_unique()
        problems += [f"{where}: {repeated} rows repeat {', '.join(task.key)}"] if repeated else []
    if task.key[0] != "user_id":
        return CheckRecord(tuple(problems))
    hashed = rows.select(user_key=user_key(pl.col("user_id")))
    if task.keys is not None and not hashed.select(task.keys.contains().all()).item():
        problems.append(f"{where}: users of another bucket")
    return CheckRecord(tuple(problems), _sum(hashed["user_key"]))


def _sum(keys: pl.Series) -> int:
    # In halves, as a sum of 64-bit numbers may not fit.
    low, high = keys & 0xFFFF_FFFF, keys // (1 << 32)
    return (int(low.sum() or 0) + (int(high.sum() or 0) << 32)) % _MODULUS


def _range_of(table: str, file: FileRecord, ranges: Sequence[KeyRange]) -> KeyRange | None:
    match = _PART.match(Path(file.path).name)
    number = None if match is None else int(match.group(1))
    return ranges[number] if table in _BY_BUCKET and number is not None and number < len(ranges) else None
