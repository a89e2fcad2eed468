"""Whether a run may begin: its day has come, the log is complete, nobody else is writing, it is not done already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jobs.clock import refuse_future
from jobs.console import say

if TYPE_CHECKING:
    from engine.config import Config
    from engine.execution.protocol import Executor
    from engine.record import RunRecord
    from engine.tables.manifest import Manifest

T = TypeVar("T")


@dataclass(frozen=True)
class Begin:
    """The options of a command that say when it may begin; those that are None leave it to the configuration.

    With `quiet`, nothing is told of what it waits for.
    """

    wait_for_lock: float | None = None
    if_done: str | None = None
    allow_future: bool = False
    quiet: bool = False

    def tell(self, text: str) -> None:
        """Say what is waited for."""
        say(text, quiet=self.quiet)

    def overrides(self) -> tuple[tuple[str, object], ...]:
        """What they replace in the configuration."""
        waits: tuple[tuple[str, object], ...] = ()
        if self.wait_for_lock is not None:
            minutes = self.wait_for_lock / 60
            waits = (("schedule.overlap", "wait"), ("schedule.overlap_wait_minutes", minutes))
        return (*waits, *((("schedule.if_done", self.if_done),) if self.if_done is not None else ()))


def ready(config: Config, as_of: date, begin: Begin) -> tuple[str, ...]:
    """Wait until the day of a run is complete, if the configuration says by what; warnings about what is missing.

    Raises:
        ConfigError: The day has not come.
        TransientError: The day is not complete, and the run is to stop.
    """
    refuse_future([as_of], config.timezone, allowed=begin.allow_future)
    if config.schedule.marker is None:
        return ()
    from engine.schedule.markers import await_markers

    return await_markers(config.schedule, as_of, tell=begin.tell)


def in_turn(config: Config, begin: Begin, executor: Executor, action: Callable[[], T]) -> T:
    """The result of a run, which waits for another one that is writing to the same output if it is to.

    Raises:
        ConflictError: Another run is writing still.
        TransientError: The cluster of the executor was lost meanwhile.
    """
    if config.schedule.overlap == "stop":
        return action()
    from engine.schedule import waiting
    from engine.schedule.pause import pause_of

    return waiting.in_turn(action, Path(config.out), config.schedule, tell=begin.tell, pause=pause_of(executor))


def record_of(manifest: Manifest, out: Path) -> RunRecord:
    """What a run said that has published a date, as far as its manifest tells."""
    from engine.record import RunRecord, TableSummary
    from engine.tables.layout import bundles_folder

    tables = {table.name: TableSummary.of(table, str(out)) for table in manifest.tables}
    bundle = None if manifest.bundle is None else str(bundles_folder(out) / manifest.bundle)
    return RunRecord(manifest.run_id, manifest.as_of, dict(manifest.counts), {}, tables, bundle)
