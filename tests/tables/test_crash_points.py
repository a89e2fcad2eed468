from __future__ import annotations

import itertools
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engine.errors import TamisError
from engine.tables import publish as publishing
from engine.tables.layout import TABLES
from tests.faults.effects import MODES, DiedError, FaultyDisk, applies
from tests.faults.publishing import (
    EARLIER,
    Run,
    Runs,
    followed,
    ledger_of_a_date,
    listed,
    new_date,
    prepared,
    same_date,
)
from tests.faults.storage import Storage
from tests.memory import memory_folder
from tests.tables.samples import tree

SCENARIOS = (new_date, same_date, ledger_of_a_date)
HOLDER = "_work/holder.json"
CODES = {"disk-failed", "disk-full"}
RANDOM_PART = re.compile(r"\.[0-9a-f]{12}\.tmp")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LISTING_SECONDS", 0)


ScenarioOf = Callable[..., "Scenario"]


@pytest.fixture(scope="module")
def scenario_of() -> Iterator[ScenarioOf]:
    """Each scenario is prepared once; who asks for it counts anew. In memory: there are thousands of publishes."""
    made: dict[tuple[Runs, bool], Scenario] = {}

    def scenario(runs: Runs, *, swaps: bool = True) -> Scenario:
        if (runs, swaps) not in made:
            made[runs, swaps] = Scenario.of(folder / f"{runs.__name__}-{swaps}", runs, swaps=swaps)
        return replace(made[runs, swaps], counts=Counter(), recovered=set())

    with memory_folder() as folder:
        yield scenario


@dataclass
class Scenario:
    """A run that is crashed over and over, and what must be found then."""

    out: Path
    run: Run
    at_first: Storage
    before: dict[str, dict[str, bytes]]
    after: dict[str, dict[str, bytes]]
    manifests: tuple[object, object]
    earlier: object
    expected: dict[str, bytes]
    log: list[str]
    swaps: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    recovered: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path, runs: Runs, *, swaps: bool = True) -> Scenario:
        published, run = runs(folder / "scratch")
        out = folder / "out"
        prepared(out, published)
        at_first = Storage.of(out)
        before, first = {table: listed(out, table=table) for table in TABLES}, followed(out)
        earlier = followed(out, EARLIER)
        faulty = FaultyDisk(at_first.copy(out), swaps=swaps)
        with faulty.patched():
            run.publish(out)
        after, last = {table: listed(out, table=table) for table in TABLES}, followed(out)
        assert after["segments"] == (run.segments or before["segments"])
        assert first != last
        log = [name for name, _ in faulty.log]
        return cls(out, run, at_first, before, after, (first, last), earlier, tree(out), log, swaps)

    def crash(self, at: int, mode: str) -> FaultyDisk:
        """A run in a fresh output root, of which one effect fails."""
        storage = self.at_first.copy(self.out)
        storage.write_now()
        return self.attempt(storage, at, mode)

    def attempt(self, storage: Storage, at: int | None, mode: str, chance: random.Random | None = None) -> FaultyDisk:
        faulty = FaultyDisk(storage, at, mode, swaps=self.swaps)
        told = None
        with faulty.patched():
            try:
                self.run.publish(self.out)
            except (Exception, DiedError) as error:  # noqa: BLE001  a library may make an error of the process' death
                told = error
        # Whoever survives says what happened.
        assert faulty.dead or told is None or (isinstance(told, TamisError) and told.code in CODES and told.hint)
        if mode == "power cut" and faulty.dead:
            storage.write_after_power_cut(chance)
        return faulty

    def check_readers(self, *, finished: bool = False) -> None:
        for table in TABLES:
            found = listed(self.out, table=table)
            whole = (self.before[table], self.after[table])
            assert found in (whole[1:] if finished else whole) or (not self.swaps and not found), table
        assert followed(self.out) in (self.manifests[1:] if finished else self.manifests)
        assert followed(self.out, EARLIER) == self.earlier

    def check_recovery(self) -> None:
        """The same run again gives the tree of an undisturbed one; what was recovered from once is not again."""
        there = tree(self.out).items()
        state = hash(frozenset((RANDOM_PART.sub("", path), content) for path, content in there if path != HOLDER))
        if state in self.recovered:
            return
        self.recovered.add(state)
        self.run.publish(self.out)
        assert tree(self.out) == self.expected

    def told(self) -> str:
        counts = ", ".join(f"{name}: {number}" for name, number in self.counts.items())
        return f"{len(self.log)} effects; {sum(self.counts.values())} crashes ({counts}); {len(self.recovered)} states"


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}")


@pytest.mark.parametrize("swaps", [True, False], ids=["exchange", "renames"])
@pytest.mark.parametrize("stride", [53, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("runs", SCENARIOS)
def test_every_effect_in_every_mode(
    runs: Runs, stride: int, swaps: bool, scenario_of: ScenarioOf, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = scenario_of(runs, swaps=swaps)
    cases = [(at, mode) for at, name in enumerate(scenario.log) for mode in MODES if applies(mode, name)]
    for at, mode in cases[::stride]:
        faulty = scenario.crash(at, mode)
        assert len(faulty.log) > at
        scenario.check_readers()
        scenario.check_recovery()
        scenario.counts[mode] += 1
    assert stride > 1 or scenario.counts.keys() == set(MODES)
    tell(capsys, f"{runs.__name__}: {scenario.told()}")


@pytest.mark.parametrize("cuts", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("runs", SCENARIOS)
def test_a_run_that_ended_is_on_stable_storage(runs: Runs, cuts: int, scenario_of: ScenarioOf) -> None:
    scenario = scenario_of(runs)
    for seed in range(cuts):
        storage = scenario.at_first.copy(scenario.out)
        storage.write_now()
        scenario.attempt(storage, None, "")
        storage.write_after_power_cut(random.Random(seed) if seed else None)
        scenario.check_readers(finished=True)
        scenario.check_recovery()


@pytest.mark.parametrize("crashes", [10, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("runs", SCENARIOS)
def test_whatever_part_of_what_was_not_synced_a_power_cut_leaves(
    runs: Runs, crashes: int, scenario_of: ScenarioOf, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = scenario_of(runs)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    changing = [at for at, name in enumerate(scenario.log) if applies("power cut", name)]
    for _ in range(crashes):
        storage = scenario.at_first.copy(scenario.out)
        storage.write_now()
        scenario.attempt(storage, chance.choice(changing), "power cut", chance)
        scenario.check_readers()
        scenario.check_recovery()
        scenario.counts["power cut"] += 1
    tell(capsys, f"{runs.__name__}, seed {seed}: {scenario.told()}")


@pytest.mark.parametrize("pairs", [12, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.parametrize("runs", SCENARIOS)
def test_a_crash_in_a_run_and_another_in_its_recovery(
    runs: Runs, pairs: int, scenario_of: ScenarioOf, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = scenario_of(runs)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    cases = [(at, mode) for at, name in enumerate(scenario.log) for mode in MODES if applies(mode, name)]
    for _ in range(pairs):
        at, mode = chance.choice(cases)
        storage = scenario.crash(at, mode).storage
        second = chance.choice(["die before", "EIO", "power cut", "end"])
        if second == "end":
            # What the recovery promised at its end must hold: also for what the first process had not synced.
            scenario.attempt(storage, None, "")
            storage.write_after_power_cut(chance)
        else:
            scenario.attempt(storage, chance.randrange(len(scenario.log)), second, chance.choice([None, chance]))
        scenario.check_readers(finished=second == "end")
        scenario.check_recovery()
        scenario.counts[f"{mode}, {second}"] += 1
    tell(
        capsys, f"{runs.__name__}, seed {seed}: {sum(scenario.counts.values())} pairs, {len(scenario.recovered)} states"
    )


def test_the_storage_forgets_what_was_not_synced(tmp_path: Path) -> None:
    (tmp_path / "out" / "old").mkdir(parents=True)
    (tmp_path / "out" / "old" / "kept").write_bytes(b"kept")
    root = tmp_path / "out"
    for synced in itertools.product([False, True], repeat=3):
        storage = Storage.of(root)
        storage.mkdir(root / "new")
        storage.create(root / "new" / "file")
        storage.write(storage.number(root / "new" / "file"), b"content")
        if synced[0]:
            storage.sync_file(storage.number(root / "new" / "file"))
        if synced[1]:
            storage.sync_folder(root / "new")
        storage.rename(root / "old" / "kept", root / "new" / "moved")
        if synced[2]:
            storage.sync_folder(root)
        storage.write_after_power_cut()
        new = {"new": b""} if synced[2] else {}
        file = {"new/file": b"content" if synced[0] else b""} if synced[1] and synced[2] else {}
        assert tree(root) == {"old": b"", "old/kept": b"kept"} | new | file
        shutil.rmtree(root / "new", ignore_errors=True)
