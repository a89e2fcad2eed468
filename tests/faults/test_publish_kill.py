from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from engine.tables import layout
from engine.tables.lock import writer_lock
from engine.tables.manifest import read_manifest
from engine.tables.publish import recover
from engine.tables.verify import verify_table
from tests.tables.samples import AS_OF, RUN_A, RUN_B, as_read, read_segments

KILLS = 30
ROOT = Path(__file__).parents[2]


def test_a_reader_sees_one_complete_run_whenever_the_publisher_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    complete = (as_read(RUN_A), as_read(RUN_B))
    stop = threading.Event()
    seen: list[dict[str, list[int]]] = []

    def read() -> None:
        while not stop.is_set():
            found = read_segments(tmp_path)
            if found or seen:
                seen.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    completed = 0
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("publisher.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as publisher:
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        for kill in range(KILLS):
            publisher.stdin.write(f"{tmp_path}\n")
            child = int(publisher.stdout.readline())
            time.sleep(moments.uniform(0.01, 0.05 + kill / 100))
            os.kill(child, signal.SIGKILL)
            assert int(publisher.stdout.readline()) == -signal.SIGKILL, f"the publisher failed by itself, seed {seed}"
            with writer_lock(tmp_path, "after the kill"):
                completed += len(recover(tmp_path))
            found = read_segments(tmp_path)
            if not found:
                continue
            assert found in complete, f"seed {seed}"
            manifest = read_manifest(layout.manifest_path(tmp_path, AS_OF))
            assert found == complete[manifest.run_id == "b"], f"seed {seed}"
            for table in manifest.tables:
                verify_table(tmp_path, table, deep=True)
            assert [path.name for path in (tmp_path / "_work").iterdir()] == ["lock"], f"seed {seed}"
        publisher.stdin.close()
    stop.set()
    reader.join()
    assert [found for found in seen if found not in complete] == [], f"seed {seed}"
    assert all(run in seen for run in complete)
    assert completed > 0, f"no kill came between the intent and the end of a publish, seed {seed}"
