from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.erasure.erase import erase_people
from engine.erasure.journal import unfinished
from engine.pipeline import score_run
from engine.rollups.index import read_index
from engine.rollups.update import store_folder
from engine.rollups.verify import whole_part
from engine.stages.verifying import verify_output
from tests.erasure.conftest import World
from tests.erasure.dying import DiedError, Effects
from tests.erasure.sample import KEY, LAST, LOCAL, device, email, person
from tests.erasure.scan import found_in

ROOT = Path(__file__).parents[2]
WHO = 7
NAMES = (person(WHO), device(WHO), email(WHO))
POINTS = 8


@pytest.fixture(scope="module")
def effects_of_an_erasure() -> dict[str, int]:
    return {}


def erased_whole(world: World) -> None:
    store = store_folder(world.out)
    index = read_index(store)
    assert whole_part(index, store, LOCAL) == (index, set())
    erase_people(world.config, [person(WHO)], "ticket")
    assert unfinished(world.out) == []
    assert found_in(world.out, NAMES) == []
    assert found_in(world.exported, NAMES) == []
    assert verify_output(world.out, deep=True, executor=LOCAL).problems == ()


def count_effects(world: World) -> int:
    counting = Effects()
    with counting.patched():
        erase_people(world.config, [person(WHO)], "ticket")
    return counting.count


@pytest.mark.parametrize(
    "point", [0, 1, *(pytest.param(point, marks=pytest.mark.slow) for point in (*range(2, POINTS), None))]
)
def test_gd05_an_erasure_that_is_cut_short_goes_on(
    world: World, effects_of_an_erasure: dict[str, int], point: int | None
) -> None:
    if "count" not in effects_of_an_erasure:
        # The first case is an undisturbed erasure, of which the others die at some effect.
        effects_of_an_erasure["count"] = count_effects(world)
        assert effects_of_an_erasure["count"] > 200
        erased_whole(world)
        return
    count = effects_of_an_erasure["count"]
    assert count > 200
    seed = random.randrange(2**32)
    at = random.Random(seed).randrange(count) if point is None else count * point // POINTS + point
    dying = Effects(at)
    with dying.patched(), pytest.raises(DiedError):
        erase_people(world.config, [person(WHO)], "ticket")
    assert dying.dead, f"seed {seed}"
    erased_whole(world)


@pytest.mark.slow
@pytest.mark.parametrize("at", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_gd05_a_run_finishes_an_erasure_that_was_killed(world: World, at: int) -> None:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, script, world.folder / "tamis.toml", person(WHO), str(at)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TAMIS_KEY": KEY, "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    was_begun = bool(unfinished(world.out))
    score_run(world.config, LAST, executor=LOCAL)
    # The run has finished the erasure first: a person who is in an earlier date would leave their segments in this one.
    assert unfinished(world.out) == []
    assert was_begun
    assert found_in(world.out, NAMES) == []
    erased_whole(world)
