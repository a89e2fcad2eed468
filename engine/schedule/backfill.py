"""Runs of several dates, the earliest first: what is missing is run, what is done is left, a kill costs one date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from engine.config import Config
from engine.errors import ExitCode
from engine.execution.protocol import Executor
from engine.history.recording import Recording
from engine.pipeline import run
from engine.progress import Progress
from engine.record import RunRecord
from engine.schedule.dates import check_dates, without_early
from engine.schedule.finished import Log, judge, look_at, read_new
from engine.schedule.markers import await_markers
from engine.schedule.pause import Pause
from engine.schedule.settle import correct, settle
from engine.schedule.waiting import in_turn
from engine.stages.opening import open_run
from engine.tables.manifest import Manifest

SEVERITY = (
    ExitCode.BUG,
    ExitCode.INTEGRITY,
    ExitCode.USAGE,
    ExitCode.DATA_REFUSED,
    ExitCode.HELD,
    ExitCode.RESOURCES,
    ExitCode.CONFLICT,
    ExitCode.TRANSIENT,
)
"""Exit codes of failed dates, the one that is told for all of them first: what a person has to look at before what
another try may mend."""


@dataclass(frozen=True)
class Outcome:
    """What became of a date.

    Attributes:
        as_of: The date.
        state: `published` now, `done` before, `failed`, or `left_out` as the log begins later.
        reasons: Why it was run; of a date that was done before, none.
        seconds: How long it took.
        record: What the run did; None without a run that came to its end.
        manifest: What was published before; None when it was run.
        error: What went wrong; None when nothing did.
    """

    as_of: date
    state: Literal["published", "done", "failed", "left_out"]
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    record: RunRecord | None = None
    manifest: Manifest | None = None
    error: Exception | None = None

    @property
    def run_id(self) -> str | None:
        """The run that published the date."""
        found = self.record or self.manifest
        return None if found is None else found.run_id

    @property
    def counts(self) -> dict[str, Any]:
        """The counts of that run."""
        if self.record is not None:
            return self.record.counts
        return {} if self.manifest is None else dict(self.manifest.counts)


@dataclass(frozen=True)
class How:
    """How a back-fill is done.

    Attributes:
        executor: Where the tasks run; the same for all dates.
        progress: Told how far each stage of each run is.
        tell: Given lines to read while something is waited for.
        accept: Guards whose findings do not hold a publish back.
        again: Run dates that are done, too.
        keep_going: After a date that failed, go on with the next.
        leave_out: Leave dates out that lie before the log begins, unless all of them do; else they are refused.
        recorded: The record of a date that is run, open for as long as it is; None when it leaves none.
        pause: How time passes while something is waited for.
    """

    executor: Executor
    progress: Progress | None = None
    tell: Callable[[str], None] = lambda _: None
    accept: tuple[str, ...] = ()
    again: bool = False
    keep_going: bool = False
    recorded: Callable[[date], AbstractContextManager[Recording | None]] = lambda _: nullcontext()
    pause: Pause = field(default_factory=Pause)
    leave_out: bool = False


def backfill(config: Config, dates: Sequence[date], how: How) -> Iterator[Outcome]:
    """Run the dates that are not done, in their order; an outcome as soon as it stands fast.

    A date is fitted for as `run` does it. What was published for later dates is corrected once, when the back-fill
    comes to them or to its end. When it is killed, the same call goes on with the date it was at.

    Args:
        config: The configuration.
        dates: First days that are not used, one per run, ascending.
        how: Where and in which manner.

    Raises:
        ConfigError: The log has no events for some of the dates; nothing was run.
        ConflictError: Another run is writing to the same output before the first date is begun.
        TamisError: The configuration or the log cannot be used.
    """
    out = Path(config.out)

    def begin() -> Log:
        settle(config, how.executor, how.progress)
        return read_new(look_at(open_run(config)), how.executor, how.progress)

    log = in_turn(begin, out, config.schedule, tell=how.tell, pause=how.pause)
    kept = without_early(dates, log.days) if how.leave_out else tuple(dates)
    check_dates(kept, log.days, config.features.windows[0])
    yield from (Outcome(day, "left_out") for day in dates if day not in set(kept))
    for day, following in zip(kept, (*kept[1:], None), strict=True):
        outcome = _one(config, log, day, following, how)
        yield outcome
        if outcome.state == "failed" and not how.keep_going:
            break
    in_turn(lambda: correct(config, how.executor, how.progress), out, config.schedule, tell=how.tell, pause=how.pause)


def worst(outcomes: Sequence[Outcome], code_of: Callable[[Exception], int]) -> int:
    """The exit code that stands for all dates: 0 when none failed, else the first of `SEVERITY` that one has."""
    codes = {code_of(outcome.error) for outcome in outcomes if outcome.error is not None}
    return next((int(code) for code in SEVERITY if code in codes), max(codes, default=0))


def _one(config: Config, log: Log, day: date, following: date | None, how: How) -> Outcome:
    started = how.pause.clock()
    reasons: tuple[str, ...] = ()

    def attempt(progress: Progress | None) -> Outcome:
        nonlocal reasons
        verdict = judge(log, day)
        if verdict.is_done and not how.again:
            correct(config, how.executor, how.progress, until=following)
            return Outcome(day, "done", manifest=verdict.published)
        reasons = verdict.reasons or ("asked for",)
        record = run(
            config,
            day,
            executor=how.executor,
            accept=how.accept,
            progress=progress,
            next_as_of=following,
        )
        return Outcome(day, "published", reasons, record=record)

    try:
        is_due = how.again or not judge(log, day).is_done
        with how.recorded(day) if is_due else nullcontext() as part:
            warnings = await_markers(config.schedule, day, tell=how.tell, pause=how.pause) if is_due else ()
            progress = how.progress if part is None else part.watching(how.progress)
            outcome = in_turn(
                lambda: attempt(progress), Path(config.out), config.schedule, tell=how.tell, pause=how.pause
            )
            if outcome.record is not None:
                outcome = replace(outcome, record=outcome.record.with_warnings(warnings))
            if part is not None and outcome.record is not None:
                part.finish(outcome.record)
            elif part is not None:
                part.skip()
    except Exception as error:  # noqa: BLE001 - what it is decides the exit code, and other dates may be fine
        outcome = Outcome(day, "failed", reasons, error=error)
    return replace(outcome, seconds=how.pause.clock() - started)
