"""Progress bars on a terminal: tasks, rows and time left of every stage that takes longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.progress import Progress, ProgressEvent
from jobs.console import plural

if TYPE_CHECKING:
    from rich.progress import Task

SECONDS_BEFORE_SHOWN = 1.0


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Progress | None]:
    """A callback that draws bars on stderr, or `None` when it is not a terminal or nothing is to be said."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    class SlowStages(Bars):
        """Only the stages that have taken longer than a second."""

        def get_renderables(self) -> Iterator[RenderableType]:
            slow = [task for task in self.tasks if _seconds(task) >= SECONDS_BEFORE_SHOWN]
            if slow:
                yield self.make_tasks_table(slow)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[more]}"),
    )
    stages: dict[str, TaskID] = {}
    with SlowStages(*columns, console=Console(stderr=True), transient=True) as bars:

        def show(event: ProgressEvent) -> None:
            if event.stage not in stages:
                stages[event.stage] = bars.add_task(event.stage, total=event.total, more="")
            elif event.done == 0:
                bars.reset(stages[event.stage], total=event.total, more="")
            number = stages[event.stage]
            more = details(event, _seconds(bars.tasks[bars.task_ids.index(number)]))
            bars.update(number, completed=event.done, total=event.total, more=more)

        yield show


def details(event: ProgressEvent, seconds: float) -> str:
    """What there is to say of a stage beside its tasks, after so many seconds: `1,200,000 rows/s, 2 tasks retried`."""
    parts = []
    if event.rows and seconds > 0:
        parts.append(f"{event.rows / seconds:,.0f} rows/s")
    if event.bytes and seconds > 0:
        parts.append(f"{event.bytes / seconds / 1e6:,.1f} MB/s")
    if event.retried:
        parts.append(f"{plural(event.retried, 'task')} retried")
    if event.spilled:
        parts.append(f"{event.spilled / 1e9:,.1f} GB spilled")
    return ", ".join(parts)


def _seconds(task: Task) -> float:
    """How long a stage has taken, or took in the end."""
    return (task.elapsed if task.finished_time is None else task.finished_time) or 0.0
