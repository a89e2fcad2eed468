"""How large the tasks of a run are, from what its rollups say of their rows."""

from __future__ import annotations

from engine.execution.protocol import TaskSize
from engine.execution.sizes import bucket_size
from engine.stages.preparation import Prepared


def bucket_sizes(prepared: Prepared, columns: int) -> list[TaskSize]:
    """The size of each bucket: an equal share, as users are spread over the buckets by the hash of their ids.

    A user with very many events is no exception: the rollups hold a row per user, type and day, whatever its events.

    Args:
        prepared: The rollups of the run.
        columns: Columns per user that a task holds at a time.
    """
    buckets = len(prepared.buckets)
    files = [file for entry in prepared.index.entries for file in (*entry.daily, *entry.events)]
    rows = sum(file.rows for file in files)
    read = sum(file.bytes for file in files)
    users = sum(file.rows for file in prepared.index.users)
    share = bucket_size(-(-rows // buckets), -(-read // buckets), -(-users // buckets), columns)
    return [share] * buckets
