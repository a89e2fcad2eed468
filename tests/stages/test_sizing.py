from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine.execution.protocol import TaskSize
from engine.execution.sizes import bucket_size
from engine.stages.sizing import bucket_sizes


def file(rows: int, size: int = 0) -> Any:
    return SimpleNamespace(rows=rows, bytes=size)


def prepared(buckets: int, *, entries: int = 2) -> Any:
    entry = SimpleNamespace(daily=(file(60, 600), file(20, 200)), events=(file(20, 300),))
    return SimpleNamespace(
        buckets=tuple(range(buckets)), index=SimpleNamespace(entries=(entry,) * entries, users=(file(7), file(4)))
    )


def test_buckets_share_the_rows_of_the_rollups() -> None:
    assert bucket_sizes(prepared(4), 80) == [bucket_size(50, 550, 3, 80)] * 4


def test_an_empty_store() -> None:
    assert bucket_sizes(prepared(1, entries=0), 80) == [TaskSize(0, 0, bucket_size(0, 0, 11, 80).memory)]
