"""What tasks are going to need, from the rows that they read.

The constants were fitted to the peaks of resident memory of Ray's workers (`VmHWM`, reset before each task), at a fit
and a score of 10 M events of 1 M users out of the log of `make bench`, one thread per task, with 16 buckets and with 4:
score 701 and 1,115 MB, features of a fit 429 and 1,004, one target 2,862, reading 1 M and 2 M rows 446 and 549, a file
of 1 M rows 1,032. A worker keeps some of what its former tasks have freed, and that is part of the peaks. What is asked
for keeps tasks apart that do not fit side by side; it is no limit.
"""

from __future__ import annotations

from typing import Final

from engine.execution.protocol import TaskSize

WORKER_BYTES: Final = 400 * 2**20
"""A worker with Polars, numpy and LightGBM loaded, that has run tasks before."""
READ_BYTES: Final = 200
"""Per row of the log that is decoded, encoded and sorted."""
DAILY_BYTES: Final = 180
"""Per row of a bucket that is sorted and summed up."""
CELL_BYTES: Final = 30
"""Per user and column of a bucket: the column, and what it is made of."""
MODEL_BYTES: Final = 44
"""Per row and feature of what a model learns from: the frame, the matrix, and LightGBM's own."""
MERGE_BYTES: Final = 700
"""Per row of a file that is put together: the user ids of the whole file, and one row group."""
LEDGER_BYTES: Final = 500
"""Per user of a bucket whose memberships are compared."""


def reading_size(rows: int, read: int = 0) -> TaskSize:
    """A task that reads rows of the log.

    Args:
        rows: The rows.
        read: Their bytes, where they are known.
    """
    return TaskSize(rows, read, WORKER_BYTES + rows * READ_BYTES)


def bucket_size(rows: int, read: int, users: int, columns: int) -> TaskSize:
    """A task that makes the columns of a bucket of users from their rows.

    Args:
        rows: Rows of the bucket.
        read: Their bytes.
        users: Users of the bucket.
        columns: Columns that are held at a time.
    """
    return TaskSize(rows, read, WORKER_BYTES + rows * DAILY_BYTES + users * columns * CELL_BYTES)


def learning_size(rows: int, features: int) -> TaskSize:
    """A task that learns a model.

    Args:
        rows: Users times anchors that it learns from.
        features: Columns of each.
    """
    return TaskSize(rows, 0, WORKER_BYTES + rows * features * MODEL_BYTES)


def merging_size(rows: int) -> TaskSize:
    """A task that makes one file of sorted pieces."""
    return TaskSize(rows, 0, WORKER_BYTES + rows * MERGE_BYTES)


def ledger_size(users: int) -> TaskSize:
    """A task that compares the memberships of users with those of the date before."""
    return TaskSize(users, 0, WORKER_BYTES + users * LEDGER_BYTES)
