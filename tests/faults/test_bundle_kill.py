from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from engine.bundle import damages, load_bundle
from engine.bundle_pointer import read_acts, state_of
from engine.bundle_store import Conditions, current_bundle, find_bundle, write_bundle
from engine.tables.layout import bundles_folder
from engine.tables.workspace import workspace
from tests.bundles import DAY, LEARNT_FROM, bundle

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
CONDITIONS = Conditions(dict(LEARNT_FROM), "Int64", {"region": "String", "age": "Int64"})

BEFORE_IT_PROMOTES = """
import os, pathlib, signal, sys
from datetime import timedelta
from engine import bundle_store
from tests.bundles import DAY, bundle

out = pathlib.Path(sys.argv[1])
bundle_store.write_bundle(bundle(1), out / "_work" / "1", out)
bundle_store.write_acts = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
bundle_store.write_bundle(bundle(2, as_of=DAY + timedelta(days=1)), out / "_work" / "2", out)
"""


def unfinished(out: Path) -> list[Path]:
    acts = read_acts(out)
    folders = [path for path in bundles_folder(out).iterdir() if path.is_dir()]
    return [folder for folder in folders if state_of(acts, folder.name) == "unfinished"]


def test_a_fit_that_is_killed_before_it_promotes_leaves_a_bundle_that_is_never_chosen(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE_IT_PROMOTES, tmp_path], env=ENVIRONMENT, check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = unfinished(tmp_path)
    late = DAY + timedelta(days=1)
    assert load_bundle(left) == bundle(2, as_of=late)
    current = current_bundle(tmp_path)
    assert current is not None
    assert load_bundle(current) == bundle(1)
    for limit in (None, 7):
        assert find_bundle(tmp_path, late, CONDITIONS, limit) == current
    assert write_bundle(bundle(2, as_of=late), tmp_path / "_work" / "again", tmp_path) == left
    assert current_bundle(tmp_path) == find_bundle(tmp_path, late, CONDITIONS) == left
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_whenever_a_fit_is_killed_a_whole_promoted_bundle_is_in_use(kills: int, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("bundler.py"), tmp_path],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", seed
        try:
            process.wait(timeout=0.1 + moments.random() / 2)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, (seed, kill)
        acts = read_acts(tmp_path)
        for folder in bundles_folder(tmp_path).iterdir():
            # What has its place is whole, even when nobody knows of it yet.
            assert not folder.is_dir() or damages(folder) == [], (seed, kill)
        for day in (DAY, DAY + timedelta(days=30)):
            found = find_bundle(tmp_path, day, CONDITIONS)
            assert found is None or state_of(acts, found.name) in {"current", "promoted"}, (seed, kill)
        assert find_bundle(tmp_path, DAY + timedelta(days=30), CONDITIONS) == current_bundle(tmp_path), (seed, kill)
    assert read_acts(tmp_path)
    with workspace(tmp_path, "fit") as work:
        last = write_bundle(bundle(99, as_of=DAY + timedelta(days=9)), work / "bundle", tmp_path)
    assert current_bundle(tmp_path) == last
