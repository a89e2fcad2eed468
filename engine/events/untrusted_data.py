"""The child process that decodes the data of Parquet files before the run does; it imports nothing of the engine.

A line in: a JSON array with the path of a file, the columns to decode, the rows of the file and how many of them to
hold at once. A line out: the rows that were decoded, or why they cannot be. How it dies, and how long it takes, is for
`engine.events.untrusted` to judge.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress


def _main() -> None:
    import resource
    from os import sysconf

    import polars  # noqa: F401, ICN001 - an installation without it must fail before the first file is blamed

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What no machine could give the run either.
    with suppress(OSError, ValueError):
        limit = 2 * sysconf("SC_PHYS_PAGES") * sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(decode(*json.loads(line))) + "\n")
        sys.stdout.flush()


def decode(file: str, columns: list[str], rows: int, portion: int) -> dict[str, object]:
    """What came of decoding some columns of a file: `{"rows": …}` or `{"problem": …}`, with `errno` of the system."""
    import polars as pl

    decoded = 0
    try:
        scan = pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name="__row").select(
            "__row", *columns
        )
        for start in range(0, rows, portion):
            decoded += scan.slice(start, portion).collect(engine="in-memory").height
    except OSError as error:
        return {"problem": error.strerror or "its data is malformed", "errno": error.errno}
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError) as error:
        return {"problem": f"its data is malformed ({type(error).__name__})"}
    return {"rows": decoded} if decoded == rows else {"problem": f"it has {decoded} rows, its footer promises {rows}"}


if __name__ == "__main__":
    _main()
