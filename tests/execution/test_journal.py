from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import ConfigError, DataError, HeldError, ResourceError, TransientError
from engine.execution import records
from engine.execution.journal import files_of, goes_on, has_begun, journalled, note_gone, take_up, unjournalled
from engine.execution.local import LocalExecutor
from engine.execution.origin import Origin, is_believed, is_shared, this_origin
from engine.execution.protocol import Executor, TaskSize, with_index
from engine.tables.compact import SampleTask, measure_sample
from engine.tables.durable import durable_text
from engine.tables.rows import Piece, keep_rows
from tests.execution.tasks import Attempts, attempt, break_down, double, panic, refuse

LOCAL = LocalExecutor(threads=1)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(records, "PACKAGES", ("engine", "tests"))
    return tmp_path / "out" / "_work" / "run-1"


def write(task: Attempts) -> str:
    durable_text("x" * attempt(task), Path(f"{task.file}.text"))
    return task.file


def tell(_: Attempts) -> object:
    return object()


def tries(*tasks: Attempts) -> list[int]:
    return [len(Path(task.file).read_text()) if Path(task.file).exists() else 0 for task in tasks]


def named(folder: Path, *names: str) -> list[Attempts]:
    return [Attempts(str(folder / name)) for name in names]


def life(work: Path, function: Callable[[Any], Any], tasks: list[Any], **more: Any) -> list[Any]:
    with journalled(LOCAL, work) as executor:
        return executor.map(function, tasks, **more)


@pytest.mark.parametrize("small", [False, True])
def test_a_finished_task_is_not_run_again(work: Path, tmp_path: Path, small: bool) -> None:
    a, b, c = named(tmp_path, "a", "b", "c")
    told: list[int] = []
    with journalled(LocalExecutor(threads=2), work) as executor:
        assert executor.map(attempt, [a, b], small=small) == [1, 1]
        # It is the former process that is believed, not this one.
        assert executor.map(attempt, [a], small=small) == [2]
    with journalled(LocalExecutor(threads=2), work) as executor:
        assert executor.map(attempt, [c, b, a], on_done=told.append, small=small) == [1, 1, 1]
        assert executor.map(attempt, [a]) == [2]
        assert executor.map(attempt, [a]) == [3]
    assert sorted(told) == [1, 1, 1]
    assert tries(a, b, c) == [3, 1, 1]


def test_two_lives_at_once_have_each_a_log(work: Path, tmp_path: Path) -> None:
    a, b = named(tmp_path, "a", "b")
    with journalled(LOCAL, work) as first, journalled(LOCAL, work) as second:
        assert second.map(attempt, [a]) == [1]
        assert first.map(attempt, [b]) == [1]
    assert life(work, attempt, [a, b]) == [1, 1]
    assert tries(a, b) == [1, 1]


def test_equal_tasks_are_told_apart(work: Path, tmp_path: Path) -> None:
    [a] = named(tmp_path, "a")
    assert life(work, attempt, [a, a]) == [1, 2]
    assert life(work, attempt, [a, a, a]) == [1, 2, 3]


def test_another_function_or_content_is_another_task(work: Path, tmp_path: Path) -> None:
    [a] = named(tmp_path, "a")
    life(work, attempt, [a])
    assert life(work, write, [a]) == [a.file]
    assert life(work, attempt, [Attempts(a.file, 7)]) == [3]
    assert tries(a) == [3]


def test_tasks_finished_before_a_failure_count(work: Path, tmp_path: Path) -> None:
    a, b = named(tmp_path, "a", "b")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        life(work, attempt, [a, b], on_done=stop)
    assert life(work, attempt, [a, b]) == [1, 1]
    assert tries(a, b) == [1, 1]


def test_what_has_no_form_is_run_each_time(work: Path, tmp_path: Path) -> None:
    [a] = named(tmp_path, "a")
    life(work, tell, [a])
    assert life(work, lambda task: attempt(task) + 0, [a]) == [1]
    assert life(work, lambda task: attempt(task) + 0, [a]) == [2]
    assert not has_begun(work)


def test_an_executor_without_a_work_folder_is_what_it_was(work: Path) -> None:
    with journalled(LOCAL, work) as executor:
        assert unjournalled(executor) is LOCAL
        assert unjournalled(LOCAL) is LOCAL
        assert (executor.name, executor.threads) == ("local", 1)
        assert executor.tally is LOCAL.tally
        assert unjournalled(executor).map(double, [1, 2]) == [2, 4]
        assert executor.map(double, []) == []
    assert not work.exists()
    assert files_of(LOCAL) == set()
    note_gone(LOCAL, [], [])


def test_sizes_are_those_of_the_tasks_that_are_left(work: Path, tmp_path: Path) -> None:
    tasks = named(tmp_path, "a", "b", "c")
    life(work, attempt, tasks[1:2])
    executor = LocalExecutor(threads=1)
    with journalled(executor, work) as kept:
        kept.map(attempt, tasks, sizes=[TaskSize(rows=1), TaskSize(rows=10), TaskSize(rows=100)])
    assert executor.tally.rows == 101


def test_files_of_a_finished_task_must_be_there(work: Path, tmp_path: Path) -> None:
    a, b = named(tmp_path, "a", "b")
    life(work, write, [a, b])
    with journalled(LOCAL, work) as executor:
        assert files_of(executor) == {tmp_path / "a.text", tmp_path / "b.text"}
    (tmp_path / "a.text").unlink()
    (tmp_path / "b.text").write_text("longer")
    life(work, write, [a, b])
    assert tries(a, b) == [2, 2]


def test_what_became_of_a_file_stands_for_it(work: Path, tmp_path: Path) -> None:
    a, b = named(tmp_path, "a", "b")
    with journalled(LOCAL, work) as executor:
        executor.map(write, [a, b])
        durable_text("both", tmp_path / "both")
        note_gone(executor, [tmp_path / "a.text", tmp_path / "b.text"], [tmp_path / "both"])
    (tmp_path / "a.text").unlink()
    life(work, write, [a, b])
    assert tries(a, b) == [1, 1]
    (tmp_path / "both").write_text("neither")
    life(work, write, [a, b])
    assert tries(a, b) == [2, 1]


def test_a_folder_that_is_taken_up_has_what_finished_tasks_wrote(work: Path) -> None:
    work.mkdir(parents=True)
    assert not take_up(work)
    a, b = named(work, "a", "b")
    life(work, write, [a, b])
    (work / "b.text").unlink()
    (work / "table").mkdir()
    for name in ("table/late", ".b.text.123456.tmp", "_tasks/failed-by-hand"):
        (work / name).write_text("stray")
    assert take_up(work)
    assert sorted(path.name for path in work.rglob("*") if path.is_file()) == ["a.text", "done-00000.log"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), True),
        (SystemExit(15), True),
        (TransientError("m", code="c"), True),
        (DataError("m", code="c"), False),
        (ConfigError("m", code="c"), False),
        (HeldError("m", code="c"), False),
        (ResourceError("m", code="disk-full"), False),
        (ValueError(), False),
        (pl.exceptions.PanicException("m"), False),
    ],
)
def test_which_runs_go_on(error: BaseException, expected: bool) -> None:
    assert goes_on(error) == expected


class Failing(LocalExecutor):
    """Its second task ends in an error of the executor."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(threads=1)
        object.__setattr__(self, "error", error)

    def map(self, function: Any, tasks: Any, **more: Any) -> Any:
        super().map(function, tasks[:1], **more)
        raise with_index(self.error, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ResourceError("m", code="task-died", hint="h."), True),
        (ResourceError("m", code="task-timeout", hint="h."), True),
        (ResourceError("m", code="task-memory", hint="h."), True),
        (ResourceError("m", code="disk-full", hint="h."), False),
        (TransientError("m", code="cluster-lost", hint="h."), False),
        (OSError(errno.ENOSPC, "full"), False),
        (FileNotFoundError(errno.ENOENT, "missing"), True),
        (MemoryError(), True),
        (KeyboardInterrupt(), False),
    ],
)
def test_the_input_of_a_lost_task_is_kept(work: Path, tmp_path: Path, error: BaseException, kept: bool) -> None:
    tasks = named(tmp_path, "a", "b", "c")
    life(work, attempt, tasks[:1])
    with pytest.raises(type(error)) as caught, journalled(Failing(error), work) as executor:
        executor.map(attempt, tasks)
    found = list(work.glob("_tasks/failed/*.json"))
    assert len(found) == kept
    if kept:
        assert json.loads(found[0].read_bytes())["task"]["fields"]["file"] == tasks[2].file
        said = f"`tamis task run-1 {found[0].stem}` runs this task alone"
        assert said in " ".join([getattr(caught.value, "hint", ""), *getattr(caught.value, "__notes__", ())])
        assert goes_on(caught.value)


@pytest.mark.parametrize(("function", "kept"), [(break_down, 1), (panic, 1), (refuse, 0), (lambda _: 1 / 0, 0)])
def test_the_input_of_a_task_that_is_a_bug_is_kept(
    work: Path, tmp_path: Path, function: Callable[[Any], Any], kept: int
) -> None:
    with pytest.raises(BaseException, match=r".") as caught:
        life(work, function, named(tmp_path, "a"))
    assert len(list(work.glob("_tasks/failed/*.json"))) == kept
    assert goes_on(caught.value) == bool(kept)


def test_tasks_on_any_executor(executor: Executor, tmp_path: Path) -> None:
    pieces = [keep_rows(pl.DataFrame({"user_id": range(n)}), tmp_path / f"{n}.arrow")[0] for n in range(1, 6)]
    tasks = [SampleTask(piece) for piece in pieces]
    with journalled(executor, tmp_path / "work") as kept:
        first = kept.map(measure_sample, tasks)
    for piece in pieces:
        Path(piece.path).unlink()
    with journalled(executor, tmp_path / "work") as kept:
        assert kept.map(measure_sample, tasks[::-1]) == first[::-1]
        with pytest.raises(Exception, match="is gone or was changed"):
            kept.map(measure_sample, [SampleTask(Piece(pieces[0].path, 0, 9))])


@pytest.mark.parametrize(
    ("origin", "shared", "believed"),
    [
        (Origin("here", "1"), False, True),
        (Origin("here", "0"), False, False),
        (Origin("here", "0"), True, False),
        (Origin("another", "1"), False, True),
        (Origin("another", "0"), False, False),
        (Origin("another", "0"), True, True),
        (Origin("here", ""), True, False),
    ],
)
def test_whom_to_believe(origin: Origin, shared: bool, believed: bool) -> None:
    assert is_believed(origin, Origin("here", "1"), shared=shared) == believed


def test_where_the_start_of_a_machine_is_not_told_nothing_is_believed() -> None:
    assert not is_believed(Origin("here", ""), Origin("here", ""), shared=True)
    assert not is_believed(Origin("here", "1"), Origin("here", ""), shared=True)


def test_where_a_folder_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:50 / {tmp_path.resolve()}/with\\040space rw shared:1 - nfs4 server:/x rw\n"
        f"3 1 0:51 / {tmp_path.resolve()}/with\\040space/local rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr("engine.execution.origin._MOUNTS", mounts)
    assert not is_shared(tmp_path)
    assert is_shared(tmp_path / "with space")
    assert is_shared(tmp_path / "with space" / "out" / "_work")
    assert not is_shared(tmp_path / "with space" / "local" / "x")
    assert not is_shared(tmp_path / "with space more")
    monkeypatch.setattr("engine.execution.origin._MOUNTS", tmp_path / "missing")
    assert not is_shared(tmp_path / "with space")
    assert this_origin().host
