"""The published columns that a validation can be told by: which there are, what they hold, and whose value is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from engine.errors import ConfigError
from engine.execution.protocol import Executor
from engine.suggest import did_you_mean
from engine.tables.layout import decode_partition
from engine.tables.manifest import Manifest, TableRecord
from engine.tables.verify import verify_table

SEGMENT: Final = "segment"
"""The one column that is not of `scores`: the folders of the table `segments`."""
MOST_VALUES: Final = 100
_USABLE: Final = {"String", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))}

Value = str | None
"""What a column holds, as text."""


@dataclass(frozen=True)
class ValuesTask:
    """One published file whose values are to be counted."""

    file: str
    columns: tuple[str, ...]


def distinct_values(task: ValuesTask) -> tuple[frozenset[str], ...]:
    """Values of each column, null left out; of more than `MOST_VALUES` only some."""
    scan = pl.scan_parquet(task.file, glob=False, hive_partitioning=False)
    distinct = [
        scan.select(pl.col(name).drop_nulls().unique().cast(pl.String)).head(MOST_VALUES + 1) for name in task.columns
    ]
    return tuple(frozenset(frame.to_series().to_list()) for frame in pl.collect_all(distinct))


def check_group_columns(by: Sequence[str], manifest: Manifest, out: Path, executor: Executor) -> TableRecord | None:
    """Stop unless users can be told apart by the columns, before the log is read.

    Args:
        by: `segment`, or columns of the table `scores`.
        manifest: What is published for the date.
        out: The output root.
        executor: Where the files are read.

    Returns:
        The table `segments` when one of the columns is its partition key; its files were looked at.

    Raises:
        ConfigError: Columns that are not published, hold neither text nor whole numbers, or too many values.
        IntegrityError: Files of the segments are not those of the manifest.
    """
    tables = {table.name: table for table in manifest.tables}
    dtypes = dict(tables["scores"].schema)
    usable = [SEGMENT] if "segments" in tables else []
    usable += [name for name, dtype in dtypes.items() if dtype in _USABLE and name != "user_id"]
    problems = []
    for name in by:
        if name in dtypes and name not in usable:
            problems.append(f"column {name!r} ({dtypes[name]}) does not tell groups of users apart")
        elif name not in usable:
            problems.append(f"no column {name!r}{did_you_mean(name, usable)}")
    if not problems:
        problems = _too_many(by, tables, out, executor)
    if problems:
        raise ConfigError(
            f"the scores of {manifest.as_of} cannot be validated by group\n"
            + "\n".join(f"  {problem}" for problem in problems),
            code="validation-column",
            hint=f"Columns with few values are among: {', '.join(usable)}.",
        )
    if SEGMENT not in by:
        return None
    verify_table(out, tables["segments"])
    return tables["segments"]


def _too_many(by: Sequence[str], tables: dict[str, TableRecord], out: Path, executor: Executor) -> list[str]:
    columns = tuple(name for name in by if name != SEGMENT)
    found: dict[str, set[str]] = {name: set() for name in by}
    if SEGMENT in by:
        found[SEGMENT] |= {segment_of_file(record.path) for record in tables["segments"].records}
    if columns:
        tasks = [ValuesTask(str(out / record.path), columns) for record in tables["scores"].records]
        for values in executor.map(distinct_values, tasks, small=True):
            for name, some in zip(columns, values, strict=True):
                found[name] |= some
    return [f"column {name!r} has more than {MOST_VALUES} values" for name in by if len(found[name]) > MOST_VALUES]


def segment_of_file(path: str) -> str:
    """The segment whose users a file of the table `segments` has, by the name of its folder."""
    return decode_partition(PurePosixPath(path).parent.name.partition("=")[2])


def published_segments(files: Sequence[str], users: pl.Series) -> pl.DataFrame:
    """The segment of each of some users: `user_id` and `segment`, in no order.

    Args:
        files: Files of the table `segments` that may have them.
        users: Their ids.
    """
    if not files:
        return pl.DataFrame(schema={"user_id": users.dtype, SEGMENT: pl.String})
    names = pl.DataFrame({"path": list(files), SEGMENT: [segment_of_file(file) for file in files]})
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False, include_file_paths="path")
    found = scan.select("user_id", "path").filter(pl.col("user_id").is_in(users.implode())).collect()
    return found.join(names, on="path", how="left").select("user_id", SEGMENT)
