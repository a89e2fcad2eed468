"""Publishes two runs in turn until it is killed; one such child process is forked for each line on standard input."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pyarrow.parquet  # noqa: F401  loaded once, before the forks

from engine.tables import layout
from engine.tables.lock import writer_lock
from engine.tables.manifest import read_manifest
from engine.tables.publish import publish, recover
from tests.tables.samples import AS_OF, RUN_A, RUN_B, stage


def publish_forever(out: Path) -> None:
    with writer_lock(out, "publisher"):
        recover(out)
        published = layout.manifest_path(out, AS_OF)
        turns = [(RUN_A, "a"), (RUN_B, "b")]
        if published.exists() and read_manifest(published).run_id == "a":
            turns.reverse()
        for segments, run_id in itertools.cycle(turns):
            publish(layout.work_folder(out, run_id), out, stage(out, run_id, segments))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            publish_forever(Path(line.strip()))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
