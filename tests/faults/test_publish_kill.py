from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.tables import layout
from engine.tables.lock import writer_lock
from engine.tables.manifest import read_manifest
from engine.tables.publish import publish, recover
from engine.tables.verify import verify_table
from engine.tables.workspace import workspace
from tests.tables.samples import AS_OF, RUN_A, RUN_B, as_read, read_segments, stage, tree

ROOT = Path(__file__).parents[2]


def seconds_of_a_publish(folder: Path) -> float:
    """On this machine, as busy as it is; with the pause for readers."""
    out = folder / "timed"
    started = time.monotonic()
    with workspace(out, "a") as work:
        publish(work, out, stage(out, "a", RUN_A))
    with workspace(out, "b") as work:
        publish(work, out, stage(out, "b", RUN_B))
    shutil.rmtree(out)
    return time.monotonic() - started


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_reader_sees_one_complete_run_whenever_the_publisher_is_killed(
    kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    complete = (as_read(RUN_A), as_read(RUN_B))
    pace = seconds_of_a_publish(tmp_path)
    stop = threading.Event()
    seen: list[dict[str, list[int]]] = []

    def read() -> None:
        while not stop.wait(0.005):
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
        for kill in range(kills):
            publisher.stdin.write(f"{tmp_path}\n")
            child = int(publisher.stdout.readline())
            time.sleep(moments.uniform(0, (1 + kill % 4) * pace))
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
    for segments, run_id in ((RUN_A, "a"), (RUN_B, "b")):
        for out in (tmp_path, tmp_path / "undisturbed"):
            with workspace(out, run_id) as work:
                publish(work, out, stage(out, run_id, segments))
    undisturbed = tree(tmp_path / "undisturbed")
    shutil.rmtree(tmp_path / "undisturbed")
    assert tree(tmp_path) == undisturbed, f"seed {seed}"
    with capsys.disabled():
        print(f"\n  {kills} kills, {completed} publishes completed by the next run, {len(seen)} readings, seed {seed}")
    assert completed > 0, f"no kill came between the intent and the end of a publish, seed {seed}"
