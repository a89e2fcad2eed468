from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ConflictError, ExitCode, IntegrityError, TamisError
from engine.tables import disk, effects, lock
from engine.tables import publish as publishing
from engine.tables.layout import TABLES, table_folder, work_folder
from engine.tables.publish import publish_steps, recover
from engine.tables.snapshot import snapshot
from engine.tables.workspace import workspace
from tests.faults.publishing import EARLIER, Run, a_run, followed, listed, prepared
from tests.faults.storage import Storage
from tests.tables.samples import AS_OF, tree

PHASES = ("open", "stage", "check", "intent", "switch", "record")
SCHEDULES = [
    tuple("B" if place in others else "A" for place in range(2 * len(PHASES)))
    for others in itertools.combinations(range(2 * len(PHASES)), len(PHASES))
]
UNSEEN = ("stage", "check")
MEMORY = Path("/dev/shm")  # noqa: S108
# What a run may be told whose lock is lost.
ENDS = {"lock-lost", "out-disturbed", "table-mismatch"}


class Unlocked:
    def release(self) -> None:
        pass


class Publisher:
    """One process that publishes: each call of `step` is one phase, in which no other process does anything."""

    def __init__(self, name: str, run: Run, out: Path, *, fine: bool = False) -> None:
        self.name = name
        self.run = run
        self.out = out
        self.error: TamisError | None = None
        self.ended = False
        self.steps = 0
        self._is_fine = fine
        self._open = ExitStack()
        self._phases = self._fine() if fine else self._six()

    def _six(self) -> Iterator[None]:
        work = self._open.enter_context(workspace(self.out, self.run.manifest.run_id))
        yield
        self.run.stage(work)
        yield
        names = {table.name for table in self.run.manifest.tables}
        steps = publish_steps(work, self.out, self.run.manifest, names)
        next(steps)
        yield
        next(steps)
        yield
        for _ in range(1 + len(TABLES)):
            next(steps)
        yield
        for _ in steps:
            pass
        self._open.close()

    def _fine(self) -> Iterator[None]:
        """The same in steps of one table each."""
        work = self._open.enter_context(workspace(self.out, self.run.manifest.run_id))
        for path, content in self.run.files.items():
            yield
            replace(self.run, files={path: content}).stage(work)
        yield
        names = {table.name for table in self.run.manifest.tables}
        yield from publish_steps(work, self.out, self.run.manifest, names)
        self._open.close()

    def step(self) -> str:
        if self.ended:
            return "stage"
        self.steps += 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lock, "identity", lambda: {"host": self.name, "pid": 1})
            try:
                next(self._phases)
            except StopIteration:
                self.ended = True
            except TamisError as error:
                self.ended, self.error = True, error
                with suppress(TamisError):
                    self._open.__exit__(type(error), error, None)
        return "step" if self._is_fine else PHASES[self.steps - 1]


class World:
    """An output root in which a date is published, and the runs that publish it again."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        scratch = folder / "scratch"
        earlier = a_run(scratch, "earlier", {"loyal": [61]}, (), EARLIER)
        old = a_run(scratch, "old", {"loyal": [41], "gone": [42]}, ("rejects",))
        prepared(self.out, (earlier, old))
        self.at_first = Storage.of(self.out)
        self.earlier = followed(self.out, EARLIER)
        self.runs = {"old": old} | {
            name: a_run(scratch, f"run-{name}", {"loyal": [first], f"new-{name}": [first + 1]}, ("scores",))
            for name, first in (("A", 1), ("B", 11), ("C", 21))
        }
        self.whole = {
            table: [
                {path: content for path, content in run.files.items() if path.startswith(f"{table}/")}
                for run in self.runs.values()
            ]
            for table in TABLES
        }
        self.counts: Counter[str] = Counter()

    def fresh(self) -> None:
        self.at_first.copy(self.out).write_now()

    def check_segments(self) -> None:
        assert listed(self.out) in self.whole["segments"]

    def check_readers(self) -> None:
        """Each table is one of a run, and whoever follows the manifest finds one whole run."""
        for table in ("segments", "scores", "rejects"):
            assert listed(self.out, table=table) in self.whole[table]
        found = followed(self.out)
        assert found is not None
        run = self.runs[found[0].run_id.removeprefix("run-")]
        assert found == (run.manifest, run.files)
        assert followed(self.out, EARLIER) == self.earlier

    def check_end(self, winner: Run) -> None:
        """The tables are those of the last writer, and nothing is left of any other."""
        with workspace(self.out, "next"):
            pass
        self.check_readers()
        assert followed(self.out) == (winner.manifest, winner.files)
        found = {path for path, content in tree(self.out).items() if f"as_of={AS_OF}" in path and content}
        assert found == {*winner.files, f"_manifests/as_of={AS_OF}.json"}
        assert [path.name for path in (self.out / "_work").iterdir()] == ["lock"]

    def play(self, publishers: dict[str, Publisher], schedule: Sequence[str]) -> Run:
        """Steps in the order of the schedule, and then to the end; returns the run that was recorded last."""
        self.fresh()
        winner = self.runs["old"]
        for name in (*schedule, *(name for name in publishers for _ in range(len(schedule)))):
            publisher = publishers[name]
            if publisher.ended:
                continue
            if publisher.step() not in UNSEEN:
                self.check_readers()
            if publisher.ended:
                self.counts[publisher.error.code if publisher.error else "published"] += 1
                winner = winner if publisher.error else publisher.run
        return winner


@pytest.fixture(autouse=True)
def in_an_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LISTING_SECONDS", 0)
    monkeypatch.setattr(effects.os, "fsync", lambda _: None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    if not MEMORY.is_dir():
        yield World(tmp_path)
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield World(Path(folder))


def tell(capsys: pytest.CaptureFixture[str], schedules: int, world: World) -> None:
    with capsys.disabled():
        print(f"\n  {schedules} schedules: {dict(sorted(world.counts.items()))}")


@pytest.mark.parametrize("stride", [21, pytest.param(1, marks=pytest.mark.slow)])
def test_two_publishers_under_the_lock(world: World, stride: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SCHEDULES) == 924
    for number, schedule in enumerate(SCHEDULES[::stride]):
        publishers = {name: Publisher(name, world.runs[name], world.out) for name in "AB"}
        winner = world.play(publishers, schedule)
        world.check_end(winner)
        refused = [publisher for publisher in publishers.values() if publisher.error is not None]
        for publisher in refused:
            assert isinstance(publisher.error, ConflictError)
            assert (publisher.error.code, publisher.error.exit_code) == ("out-locked", ExitCode.CONFLICT)
            if number % 9 == 0:
                # It goes when it is started again.
                publisher.run.publish(world.out)
                world.check_end(publisher.run)
        assert len(refused) < 2
    assert world.counts.keys() == {"published", "out-locked"}
    tell(capsys, len(SCHEDULES[::stride]), world)


@pytest.fixture
def lost_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the lease of whoever has the lock had always just run out."""
    monkeypatch.setattr(effects, "lock", lambda path, timeout: (path.touch(), Unlocked())[1])


@pytest.mark.usefixtures("lost_lock")
@pytest.mark.parametrize("stride", [21, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("other", ["B", "A"], ids=["two runs", "one run, started twice"])
def test_two_publishers_of_whom_one_has_lost_the_lock(
    world: World, stride: int, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for schedule in SCHEDULES[::stride]:
        runs = {"A": world.runs["A"], "B": world.runs[other]}
        publishers = {name: Publisher(name, run, world.out) for name, run in runs.items()}
        winner = world.play(publishers, schedule)
        assert winner is not world.runs["old"]
        world.check_end(winner)
    assert world.counts.keys() <= ENDS | {"published"}
    assert world.counts["lock-lost"] > 0
    tell(capsys, len(SCHEDULES[::stride]), world)


@pytest.mark.usefixtures("lost_lock")
@pytest.mark.parametrize("schedules", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_three_publishers_step_by_step(world: World, schedules: int, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(schedules):
        publishers = {name: Publisher(name, world.runs[name], world.out, fine=True) for name in "ABC"}
        schedule = [name for name in "ABC" for _ in range(25)]
        chance.shuffle(schedule)
        winner = world.play(publishers, schedule)
        assert winner is not world.runs["old"], f"seed {seed}"
        world.check_end(winner)
    tell(capsys, schedules, world)


LATE = ("folder", "file", "content", "name")


def late_attempt(out: Path, run: Run) -> Iterator[None]:
    """A task that was given up for lost and still writes its file, with other rows than the one that replaced it."""
    folder = table_folder(work_folder(out, run.manifest.run_id), "segments", AS_OF) / "segment=loyal"
    disk.make_folder(folder)
    yield
    temporary, handle = disk.create_temporary(folder / "late.parquet")
    try:
        yield
        handle.write(b"late")
        handle.flush()
        yield
        disk.rename(temporary, folder / "late.parquet")
    finally:
        handle.close()


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_task_given_up_for_lost_writes_at_any_time(
    world: World, stride: int, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = len(PHASES) + len(LATE)
    schedules = list(itertools.combinations(range(steps), len(LATE)))[::stride]
    for late in schedules:
        world.fresh()
        publisher = Publisher("A", world.runs["A"], world.out)
        task = late_attempt(world.out, publisher.run)
        for place in range(steps):
            if place in late:
                with suppress(StopIteration, TamisError, FileNotFoundError):
                    next(task)
                world.check_segments()
            elif publisher.step() not in UNSEEN:
                world.check_readers()
        task.close()
        if publisher.error is None:
            world.counts["published"] += 1
            world.check_end(publisher.run)
        else:
            # Its file was there, under its name, when the tables were checked.
            assert isinstance(publisher.error, IntegrityError)
            assert "not in the manifest" in publisher.error.message
            world.counts["refused"] += 1
            world.check_end(world.runs["old"])
            publisher.run.publish(world.out)
            world.check_end(publisher.run)
    assert world.counts["published"] > world.counts["refused"] > 0
    tell(capsys, len(schedules), world)


def test_a_snapshot_without_its_files_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.tables.snapshot._PAUSE_SECONDS", 0)
    assert snapshot(world.out, AS_OF.replace(year=2030)) is None
    found = snapshot(world.out, AS_OF)
    assert found is not None
    next(iter(found.files.values())).unlink()
    with pytest.raises(IntegrityError, match=r"1 files are missing \(segments/"):
        snapshot(world.out, AS_OF)
    assert recover(world.out) == ()
