"""From the rows that the buckets of a run left to staged files, and the last look at what is staged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from engine.config import Config
from engine.execution.protocol import Executor
from engine.stages.accounting import check_tables
from engine.stages.scoring import ScoreRecord
from engine.tables.check_before import check_before
from engine.tables.compact import Unpublished, compact
from engine.tables.manifest import TableRecord
from engine.tables.schema_policy import check_schemas


def check_staged(
    config: Config,
    tables: Sequence[TableRecord],
    users: int,
    as_of: date,
    *,
    staging: Path,
    buckets: int,
    rekeyed: int,
    executor: Executor,
) -> None:
    """Stop before the switch when staged tables break a promise to those who read them; see the two checks.

    Raises:
        ConfigError: Columns that `engine.tables.schema_policy` refuses.
        IntegrityError: Users that are missing, or files that `engine.tables.check_before` refuses.
    """
    check_tables(tables, users)
    columns = {table.name: table.schema for table in tables}
    check_schemas(Path(config.out), as_of, columns, config.publish.table_version)
    check_before(tables, staging, buckets=buckets, rekeyed=rekeyed, executor=executor)


def write_scored(
    buckets: Sequence[ScoreRecord], as_of: date, *, staging: Path, mark: str, executor: Executor
) -> tuple[TableRecord, ...]:
    """`points` and `segments` as files of a size that warehouses like; a table without rows is left out.

    Args:
        buckets: What became of the buckets, in their order.
        as_of: Day of the run.
        staging: Work folder of the run.
        mark: Part of every file name of the run.
        executor: Where the files are written.

    Raises:
        ResourceError: The disk is full or failing.
    """
    tables = [
        Unpublished(name, tuple(piece for bucket in buckets for piece in bucket.pieces.get(name, ())), mark)
        for name in ("points", "segments")
    ]
    return compact(tables, as_of, staging=staging, executor=executor)
