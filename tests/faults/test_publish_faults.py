from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import ConfigError, ConflictError, ExitCode, IntegrityError, ResourceError, TamisError
from engine.tables import effects, lock
from engine.tables import publish as publishing
from engine.tables.layout import TABLES, work_folder
from engine.tables.lock import writer_lock
from engine.tables.publish import publish, publish_steps
from engine.tables.workspace import workspace
from tests.faults.publishing import EARLIER, Run, followed, listed, prepared, same_date
from tests.memory import memory_folder
from tests.samples import write_sample
from tests.tables.samples import tree

ROOT = Path(__file__).parents[2]
HOLDER = """
import pathlib, sys
from engine.tables.lock import writer_lock
with writer_lock(pathlib.Path(sys.argv[1]), "first"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@dataclass
class Case:
    """A date is published; a run that replaces it meets a fault."""

    out: Path
    at_first: Path
    old: Run
    run: Run
    before: dict[str, bytes]
    expected: dict[str, bytes]

    @classmethod
    def at(cls, out: Path, scratch: Path) -> Case:
        published, run = same_date(scratch)
        prepared(out, published)
        at_first, undisturbed = (shutil.copytree(out, scratch / name) for name in ("at_first", "undisturbed"))
        run.publish(undisturbed)
        return cls(out, at_first, published[-1], run, tree(out), tree(undisturbed))

    def elsewhere(self, out: Path) -> Case:
        """The same in another folder."""
        shutil.copytree(self.at_first, out)
        return replace(self, out=out)

    def restore(self) -> None:
        """The output root as it was."""
        shutil.rmtree(self.out)
        shutil.copytree(self.at_first, self.out)

    def check_whole(self) -> None:
        """Readers find the old run or the new one."""
        for table in TABLES:
            whole = [
                {path: content for path, content in run.files.items() if path.startswith(f"{table}/")}
                for run in (self.old, self.run)
            ]
            assert listed(self.out, table=table) in whole
        assert followed(self.out) in [(run.manifest, run.files) for run in (self.old, self.run)]
        assert followed(self.out, EARLIER) is not None

    def check_next(self) -> None:
        """The next run succeeds, and leaves what an undisturbed one leaves."""
        self.run.publish(self.out)
        assert tree(self.out) == self.expected


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LISTING_SECONDS", 0)


@pytest.fixture(scope="module")
def first_case() -> Iterator[Case]:
    with memory_folder() as folder:
        yield Case.at(folder / "out", folder / "scratch")


@pytest.fixture
def case(first_case: Case) -> Iterator[Case]:
    with memory_folder() as folder:
        yield first_case.elsewhere(folder / "out")


def test_two_runs_at_once(tmp_path: Path) -> None:
    file = write_sample(tmp_path, users=5)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, out], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        before = tree(out)
        command = ["fit", "-c", file, "--as-of", "2024-01-01"]
        second = subprocess.run(
            [sys.executable, "-c", "from jobs.app import main; main()", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == ExitCode.CONFLICT, second.stderr
        assert f"process {first.pid}" in " ".join(second.stderr.split())
        # That it was refused is all that it leaves.
        assert {name: content for name, content in tree(out).items() if not name.startswith("_runs")} == before
        first.communicate("\n")


def commands(*arguments: object) -> bool:
    """Whether the system let us do that, ourselves or as its administrator."""
    tries = ([str(each) for each in (*prefix, *arguments)] for prefix in ((), ("sudo", "-n")))
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        for command in tries:
            if shutil.which(command[0]) and not subprocess.call(command, stdout=nowhere, stderr=nowhere):
                return True
    return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not commands("mount", "-t", "tmpfs", "-o", f"size=2m,uid={os.getuid()}", "tmpfs", folder):
        pytest.skip("needs the right to mount a small disk; test_crash_points has every ENOSPC without one")
    yield folder
    assert commands("umount", folder)


def test_a_full_disk(small_disk: Path, first_case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case = first_case.elsewhere(small_disk / "out")
    outcomes = []
    for pages in range(0, 64, 3):
        case.restore()
        filler = small_disk / "filler"
        free = shutil.disk_usage(small_disk).free
        with filler.open("wb", buffering=0) as handle:
            handle.write(bytes(free - pages * 4096))
        try:
            case.run.publish(case.out)
            outcomes.append("published")
        except ResourceError as error:
            outcomes.append(error.code)
        case.check_whole()
        filler.unlink()
        case.check_next()
    assert set(outcomes) == {"published", "disk-full"}
    with capsys.disabled():
        print(f"\n  {outcomes.count('disk-full')} full disks, {outcomes.count('published')} that had just enough room")


def test_a_disk_that_cannot_be_written(small_disk: Path, first_case: Case) -> None:
    case = first_case.elsewhere(small_disk / "out")
    assert commands("mount", "-o", "remount,ro", small_disk)
    with pytest.raises(ConfigError) as caught:
        case.run.publish(case.out)
    assert caught.value.code == "out-not-writable"
    assert "Read-only" in caught.value.message
    assert tree(case.out) == case.before
    assert commands("mount", "-o", "remount,rw", small_disk)
    case.check_next()


@pytest.mark.parametrize("writes", [0, 1, 5, 20, 60, 100])
def test_a_disk_that_becomes_read_only(case: Case, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [writes]

    def refusing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("mkdir", "create", "rename", "swap", "unlink", "rmdir"):
            patch.setattr(effects, name, refusing(getattr(effects, name)))
        with pytest.raises(ConfigError) as caught:
            case.run.publish(case.out)
        assert caught.value.code == "out-not-writable"
    case.check_whole()
    case.check_next()


@pytest.mark.parametrize("gone", ["segments", "_manifests", "scores/as_of=2018-01-01", "_work", ""])
@pytest.mark.parametrize("after", range(6))
def test_an_output_that_is_removed_meanwhile(case: Case, gone: str, after: int) -> None:
    told: TamisError | None = None
    try:
        with workspace(case.out, case.run.manifest.run_id) as work:
            case.run.stage(work)
            steps = publish_steps(work, case.out, case.run.manifest, {table.name for table in case.run.manifest.tables})
            for _ in range(after):
                next(steps)
            shutil.rmtree(case.out / gone)
            for _ in steps:
                pass
    except (ConflictError, IntegrityError) as error:
        told = error
    assert told is None or (told.code in {"out-disturbed", "table-mismatch"} and told.hint)
    assert told is not None or gone not in {"", "_work"}
    case.run.publish(case.out)
    # What somebody removed of other dates is gone; this date is complete.
    found, expected = tree(case.out), case.expected
    assert found.items() <= expected.items()
    mine = {path for path in expected if f"as_of={case.run.manifest.as_of}" in path}
    assert mine <= found.keys()


@pytest.mark.parametrize("damage", ["cut", "grown", "zeros at the end", "a flipped bit"])
def test_a_corrupted_staged_file(case: Case, damage: str) -> None:
    path = max(case.run.files)
    content = case.run.files[path]
    damaged = {
        "cut": content[:-10],
        "grown": content + b"x",
        "zeros at the end": content[:-100] + bytes(100),
        "a flipped bit": content[:20] + bytes([content[20] ^ 1]) + content[21:],
    }[damage]

    def publish_damaged() -> None:
        with workspace(case.out, case.run.manifest.run_id) as work:
            case.run.stage(work)
            (work / path).write_bytes(damaged)
            publish(work, case.out, case.run.manifest, deep=True)

    with pytest.raises(IntegrityError) as caught:
        publish_damaged()
    assert caught.value.code == "table-mismatch"
    assert path in caught.value.message
    assert tree(case.out) == case.before
    case.check_next()


@pytest.mark.parametrize("hours", [-24 * 400, -1, 1])
def test_a_clock_that_is_set(case: Case, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Set(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=hours)  # type: ignore[arg-type]

    past = time.time() + hours * 3600
    with writer_lock(case.out, "before"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(lock, "datetime", Set)
        with workspace(case.out, case.run.manifest.run_id) as work:
            case.run.stage(work)
            for path in work.rglob("*"):
                os.utime(path, (past, past))
            publish(work, case.out, case.run.manifest)
    assert tree(case.out) == case.expected
    assert not work_folder(case.out, case.run.manifest.run_id).exists()
    case.check_next()


@pytest.mark.parametrize("turns", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_readers_in_a_loop_meanwhile(
    turns: int, first_case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # On a disk: in memory the old folder is gone before a thread that has opened it gets its turn to list it.
    case = first_case.elsewhere(tmp_path / "out")
    monkeypatch.setattr(publishing, "LISTING_SECONDS", 0.2)
    stop = threading.Event()
    found = {"listed": [], "followed": []}
    complete = {
        "listed": [run.segments for run in (case.old, case.run)],
        "followed": [(run.manifest, run.files) for run in (case.old, case.run)],
    }

    def read(how: str, reader: Callable[[Path], object]) -> None:
        while not stop.is_set():
            try:
                seen = reader(case.out)
            except FileNotFoundError:
                continue
            found[how].append(seen)

    threads = [
        threading.Thread(target=read, args=("listed", listed)),
        threading.Thread(target=read, args=("followed", followed)),
    ]
    for thread in threads:
        thread.start()
    for turn in range(turns):
        (case.old if turn % 2 else case.run).publish(case.out)
    stop.set()
    for thread in threads:
        thread.join()
    for how, seen in found.items():
        assert [one for one in seen if one not in complete[how]] == [], how
        assert len(seen) > turns, how
    with capsys.disabled():
        print(f"\n  {turns} publishes, {len(found['listed'])} listings, {len(found['followed'])} by the manifest")
    case.check_next()
