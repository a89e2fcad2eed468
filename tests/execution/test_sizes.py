from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.execution import sizes
from engine.execution.protocol import TaskSize
from engine.execution.sizes import WORKER_BYTES, bucket_size, learning_size, ledger_size, merging_size, reading_size


@pytest.mark.parametrize(
    "of_rows",
    [
        reading_size,
        lambda rows: bucket_size(rows, 0, rows // 10, 80),
        lambda rows: learning_size(rows, 80),
        merging_size,
        ledger_size,
    ],
)
def test_more_rows_need_more_memory(of_rows: Callable[[int], TaskSize]) -> None:
    found = [of_rows(rows) for rows in (0, 1_000_000, 2_000_000)]
    assert found[0].memory == WORKER_BYTES
    assert [size.rows for size in found] == [0, 1_000_000, 2_000_000]
    assert found[2].memory - found[1].memory == found[1].memory - found[0].memory > 0


def test_a_bucket_of_the_default_size_fits_into_a_small_machine() -> None:
    size = bucket_size(rows=4_000_000, read=80_000_000, users=100_000, columns=80)
    assert size.bytes == 80_000_000
    assert size.memory < 1.5 * 2**30


def test_a_task_that_reads_at_most_what_a_plan_gives_it() -> None:
    from engine.execution.plan import TASK_ROWS

    assert reading_size(TASK_ROWS, 7) == TaskSize(TASK_ROWS, 7, sizes.WORKER_BYTES + TASK_ROWS * sizes.READ_BYTES)
