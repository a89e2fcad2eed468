"""One attempt of a run, watched from its start to its end: its record, its log, its metrics, and who is told.

What is heard are the events of `engine.history.events` and the progress of the stages. Nothing here ends a run: a
history, a file of metrics or a message that cannot be written is a warning.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from engine.config import Config
from engine.config_file import config_hash
from engine.config_watch import Watch
from engine.errors import ExitCode
from engine.history import events
from engine.history.cleaning import clean_message, clean_overrides, known_texts
from engine.history.logs import Context, file_log, listening, stderr_log
from engine.history.process import peak_memory, process_start
from engine.history.record import (
    Attempt,
    Failure,
    Found,
    Noted,
    Result,
    Tasks,
    attempt_name,
    first_of,
    versions,
    with_outcome,
)
from engine.history.store import TOUCHED_EVERY_SECONDS, keep_last, touch_attempt, write_attempt
from engine.history.telling import Console, attempt_to, path_of, tell_end, tell_others
from engine.history.warning_codes import warning_code
from engine.progress import Progress, ProgressEvent, Tally
from engine.record import RunRecord

_TOLD_EVERY_SECONDS: Final = 10.0
_INTERRUPTED: Final = {ExitCode.INTERRUPTED, ExitCode.TERMINATED}


@dataclass(frozen=True)
class Asked:
    """A run that begins.

    Attributes:
        command: `run`, `score`, `fit`, `check`, `backfill` or `features`.
        as_of: First day that is not used.
        path: The configuration file.
        overrides: Effective values that were given on the command line.
        environment: What a program gets that is told of the end.
        quiet: Warnings and errors only on stderr, where that is a log.
    """

    command: str
    as_of: date | None
    path: str = ""
    overrides: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    quiet: bool = False


class Recording(logging.Handler):
    """What is known of an attempt so far; it hears the events of its process."""

    def __init__(self, attempt: Attempt, context: Context, *, is_part: bool = False) -> None:
        """Begin to listen.

        Args:
            attempt: As it begins.
            context: What every line of the log says.
            is_part: Whether another one, which hears the same, tells the log of it.
        """
        super().__init__(logging.INFO)
        self.begun = self.attempt = attempt
        self.is_part = is_part
        self.context = context
        self.warnings: dict[str, Noted] = {}
        self._stages: dict[str, ProgressEvent] = {}
        self._told: dict[str, float] = {}
        self._retried = 0
        self._tally = Tally()

    def emit(self, record: logging.LogRecord) -> None:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        now = self.attempt
        match getattr(record, "event", ""):
            case "run-named":
                self.context.fields["run_id"] = fields["run_id"]
                self.attempt = replace(now, run_ids=tuple(dict.fromkeys((*now.run_ids, fields["run_id"]))))
            case "input-found":
                found = Found(fields["files"], fields["rows"], fields["bytes"], fields["fingerprint"])
                self.attempt = replace(now, input=found)
            case "stage-begun":
                self.attempt = replace(now, stage=fields["stage"])
            case "stage-ended":
                spent = now.timings.get(fields["stage"], 0.0) + fields["seconds"]
                self.attempt = replace(now, stage=None, timings={**now.timings, fields["stage"]: round(spent, 3)})
            case "task-retried":
                self._retried += 1
            case "guard-held":
                guard = Noted(fields["guard"], fields["finding"], held=True)
                self.attempt = replace(now, guards=first_of((*now.guards, guard)))
            case "warning":
                message = record.getMessage()
                self.warnings[message] = Noted(warning_code(message), message)

    def watching(self, progress: Progress | None, tally: Tally | None = None) -> Progress:
        """A callback that counts and logs the tasks of the stages, and passes everything on.

        Args:
            progress: Who is told as well.
            tally: `Executor.tally`, which is read at the end.
        """
        self._tally = tally or self._tally

        def observe(event: ProgressEvent) -> None:
            self._observe(event)
            if progress is not None:
                progress(event)

        return observe

    def finish(self, record: RunRecord) -> RunRecord:
        """Take down what the run gave; the record is returned as it is."""
        self.attempt = with_outcome(self.attempt, record)
        for message in record.counts.get("warnings", ()):
            if message not in self.warnings:
                events.warned(message)
        return record

    def skip(self, exit_code: int = 0) -> None:
        """There was nothing to do; the process ends with `exit_code`."""
        self.attempt = replace(self.attempt, result="skipped", exit_code=exit_code)

    def tasks(self) -> Tasks:
        """Tasks of all stages so far."""
        stages = self._stages.values()
        counted = sum(event.retried or 0 for event in stages)
        return Tasks(
            sum(event.total for event in stages),
            sum(event.done for event in stages),
            max(counted, self._retried, self._tally.retried),
            max(sum(event.spilled or 0 for event in stages), self._tally.spilled),
        )

    def _observe(self, event: ProgressEvent) -> None:
        name = event.stage
        if event.done == 0:
            # The same stage of the fit and of the scoring, one after the other.
            earlier = self._stages.pop(name, None)
            if earlier is not None:
                self._stages[f"{name} {len(self._stages)}"] = earlier
        self._stages[name] = event
        if self.is_part:
            return
        now = time.monotonic()
        ended = event.done == event.total
        if event.done == 0 or ended or now - self._told.get(name, now) >= _TOLD_EVERY_SECONDS:
            self._told[name] = now
            figures = {"rows": event.rows, "bytes": event.bytes, "retried": event.retried, "spilled": event.spilled}
            known = {name: value for name, value in figures.items() if value is not None}
            what = "tasks-ended" if ended else "tasks-begun" if event.done == 0 else "tasks"
            message = f"{name}: {event.done} of {event.total} tasks"
            events.tell(what, message, tasks_of=name, done=event.done, total=event.total, **known)


@contextmanager
def recording(config: Config, asked: Asked, console: Console) -> Iterator[Recording]:
    """Record what happens in the block as one attempt.

    The record is written at the start and replaced at the end. In an output folder that is not there yet there is none
    at the start, and at the end only if the run made the folder: a run that was refused leaves nothing behind.

    Raises:
        ConfigError: The log file cannot be opened.
    """
    begun = time.perf_counter()
    watch, out = config.watch, Path(config.out).absolute()
    attempt = _started(config, asked)
    context = Context({"attempt": attempt.attempt, "command": asked.command, "as_of": attempt.as_of})
    recorder = Recording(attempt, context)
    with ExitStack() as logs:
        if watch.log_format == "json":
            logs.enter_context(stderr_log(console.stderr, context, quiet=asked.quiet))
        logs.enter_context(file_log(path_of(watch.log_file), watch.log_format, context))
        with listening(recorder), _alive(out, attempt.attempt):
            events.tell("run-begun", f"{asked.command} begins", config_hash=attempt.config_hash, host=attempt.host)
            if out.exists():
                attempt_to("the record of the run", lambda: write_attempt(out, recorder.attempt), console)
            failure = None
            try:
                yield recorder
            except BaseException as error:
                failure = _cleaned(error, console.diagnose(error), config)
                raise
            finally:
                ended = _ended(recorder, failure, time.perf_counter() - begun)
                recorder.attempt = ended
                _keep(out, ended, watch, console)
                tell_others(watch, ended, config.out, asked.environment, console)
                tell_end(ended)


@contextmanager
def recording_date(config: Config, whole: Recording, as_of: date, console: Console) -> Iterator[Recording]:
    """Record one date of a run of several as an attempt of its own; nobody is told of it but the log and the history.

    Args:
        config: The configuration.
        whole: The run of several.
        as_of: First day that is not used.
        console: See `Console`.
    """
    begun, now = time.perf_counter(), datetime.now(UTC)
    out = Path(config.out).absolute()
    attempt = replace(whole.begun, attempt=attempt_name(now, secrets.token_hex(3)), started=now, as_of=as_of)
    recorder = Recording(attempt, Context(), is_part=True)
    before = whole.context.fields.get("as_of")
    whole.context.fields["as_of"] = as_of
    failure = None
    with listening(recorder), _alive(out, attempt.attempt):
        events.tell("date-begun", f"{as_of} begins")
        if out.exists():
            attempt_to("the record of the date", lambda: write_attempt(out, recorder.attempt), console)
        try:
            yield recorder
        except BaseException as error:
            failure = _cleaned(error, console.diagnose(error), config)
            raise
        finally:
            recorder.attempt = ended = _ended(recorder, failure, time.perf_counter() - begun)
            _keep(out, ended, config.watch, console)
            tell_end(ended, "date-ended")
            whole.context.fields["as_of"] = before


def refused(watch: Watch, asked: Asked, failure: Failure, console: Console) -> None:
    """Tell of a run that came to nothing before it had a configuration: metrics and messages, no record.

    Args:
        watch: What the command line says of it.
        asked: The run.
        failure: Why.
        console: See `Console`.
    """
    now = datetime.now(UTC)
    attempt = Attempt(
        attempt=attempt_name(now, secrets.token_hex(3)),
        command=asked.command,
        result="failed",
        started=now,
        ended=now,
        seconds=0.0,
        host=socket.gethostname(),
        pid=os.getpid(),
        as_of=asked.as_of,
        config=asked.path,
        exit_code=failure.exit_code,
        error=replace(failure, message=clean_message(failure.message, [asked.path]), hint=""),
        versions=versions(),
    )
    tell_others(watch, attempt, "", asked.environment, console)


def _started(config: Config, asked: Asked) -> Attempt:
    now = datetime.now(UTC)
    return Attempt(
        attempt=attempt_name(now, secrets.token_hex(3)),
        command=asked.command,
        result="running",
        started=now,
        host=socket.gethostname(),
        pid=os.getpid(),
        process=process_start(os.getpid()),
        as_of=asked.as_of,
        executor=config.execution.executor,
        config=asked.path,
        config_hash=config_hash(config),
        overrides=clean_overrides(asked.overrides.items()),
        versions=versions(),
    )


def _ended(recorder: Recording, failure: Failure | None, seconds: float) -> Attempt:
    attempt = recorder.attempt
    warnings = tuple(recorder.warnings.values())
    told = tuple(
        Noted(one.code.removeprefix("guard-"), one.message.partition(": ")[2])
        for one in warnings
        if one.code.startswith("guard-")
    )
    code = (attempt.exit_code or 0) if failure is None else failure.exit_code
    return replace(
        attempt,
        result=_result(attempt.result, failure),
        ended=datetime.now(UTC),
        seconds=round(seconds, 3),
        stage=None if failure is None else attempt.stage,
        tasks=recorder.tasks(),
        peak_memory_bytes=peak_memory(),
        guards=first_of((*attempt.guards, *told)),
        warnings=first_of(warnings),
        warning_count=len(warnings),
        exit_code=code,
        error=failure,
    )


def _result(before: Result, failure: Failure | None) -> Result:
    if failure is None:
        return "skipped" if before == "skipped" else "done"
    if failure.exit_code == ExitCode.DONE:
        return "done"
    if failure.exit_code in _INTERRUPTED:
        return "interrupted"
    return "held" if failure.exit_code == ExitCode.HELD else "failed"


def _cleaned(error: BaseException, failure: Failure, config: Config) -> Failure:
    """The failure as it may be kept; of a bug, what was raised and where, for its text may hold anything."""
    if failure.code == "bug":
        message = f"this is a bug in tamis: {type(error).__name__}{_raised_at(error)}"
        return replace(failure, message=message)
    known = known_texts(config)
    return replace(failure, message=clean_message(failure.message, known), hint=clean_message(failure.hint, known))


def _raised_at(error: BaseException) -> str:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    path = Path(frames[-1].filename)
    return f" at {path.parent.name}/{path.name}:{frames[-1].lineno} ({frames[-1].name})"


def _keep(out: Path, attempt: Attempt, watch: Watch, console: Console) -> None:
    if not out.exists():
        message = f"no record of this run: {out} is not there"
        events.tell("not-recorded", message)
        return

    def write() -> None:
        write_attempt(out, attempt)
        keep_last(out, watch.keep_runs)

    attempt_to("the record of the run", write, console)


@contextmanager
def _alive(out: Path, name: str) -> Iterator[None]:
    """Touch the record now and then, for as long as the block runs."""
    over = threading.Event()

    def touch() -> None:
        while not over.wait(TOUCHED_EVERY_SECONDS):
            touch_attempt(out, name)

    beat = threading.Thread(target=touch, name="tamis-alive", daemon=True)
    with suppress(RuntimeError):
        beat.start()
    try:
        yield
    finally:
        over.set()
