"""From options to a run: the configuration, the day, the executor and the progress, and the record shown at the end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from jobs.console import begin_structured, diagnosis, print_json, say, shown_path, structured, write

if TYPE_CHECKING:
    from typing import TextIO

    from engine.config import Config
    from engine.config_file import LoadedConfig
    from engine.execution.protocol import Executor
    from engine.history.record import Failure
    from engine.history.recording import Asked, Recording
    from engine.history.telling import Console
    from engine.progress import Progress
    from engine.record import RunRecord

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Session:
    """What a run needs, open for as long as it lasts."""

    config: Config
    executor: Executor
    progress: Progress | None
    recording: Recording | None = None
    warnings: tuple[str, ...] = ()

    def done(self, record: RunRecord) -> RunRecord:
        """Take down what the run gave; the record is returned with the warnings from before it began."""
        record = record.with_warnings(self.warnings)
        return record if self.recording is None else self.recording.finish(record)

    def skipped(self, exit_code: int = 0) -> None:
        """There was nothing to do; the command is to end with `exit_code`."""
        if self.recording is not None:
            self.recording.skip(exit_code)

    def recorded(self, as_of: date) -> AbstractContextManager[Recording | None]:
        """One date of a command that runs several, recorded as an attempt of its own if the command is."""
        if self.recording is None:
            return nullcontext()
        from engine.history.recording import recording_date

        return recording_date(self.config, self.recording, as_of, _console())


@dataclass(frozen=True)
class Watching:
    """The options of a command that replace values of section `watch`; None where one was not given."""

    log_format: str | None = None
    log_file: str | None = None
    metrics_file: str | None = None
    notify_command: str | None = None
    notify_on: str | None = None

    def given(self) -> dict[str, str]:
        """Those that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Settings:
    """The options of a command that replace values of the configuration file; those given by name win over `--set`."""

    assignments: Sequence[str] = ()
    out: str | None = None
    executor: str | None = None
    address: str | None = None
    watching: Watching = field(default_factory=Watching)
    others: Sequence[tuple[str, object]] = ()

    def overrides(self) -> list[tuple[str, object]]:
        """The overrides, in rising order of precedence."""
        from engine.config_file import parse_assignments

        named = {"out": self.out, "execution.executor": self.executor, "execution.address": self.address}
        return [
            *parse_assignments(self.assignments),
            *((key, value) for key, value in named.items() if value is not None),
            *((f"watch.{name}", value) for name, value in self.watching.given().items()),
            *self.others,
        ]


def load(path: Path, settings: Settings) -> LoadedConfig:
    """The configuration of a command; what the process writes from here on is for the readers that it names."""
    from engine.config_file import load_config
    from engine.privacy.modes import set_readers

    loaded = load_config(path, overrides=settings.overrides())
    set_readers(loaded.config.privacy.readable_by)
    return loaded


@dataclass(frozen=True)
class Watched:
    """A run that leaves a record, and that others are told of.

    Attributes:
        command: Its name.
        as_of: First day that is not used.
        loaded: Its configuration.
    """

    command: str
    as_of: date | None
    loaded: LoadedConfig


def load_watched(command: str, as_of: date | None, path: Path, settings: Settings) -> Watched:
    """As `load`, for a run that others are told of: also when it has no configuration, by what the options say."""
    given = settings.watching.given()
    if given.get("log_format") == "json":
        begin_structured().context = {"command": command, "as_of": as_of}
    try:
        return Watched(command, as_of, load(path, settings))
    except BaseException as error:
        if given:
            from engine.config_watch import Watch
            from engine.history.recording import Asked, refused
            from engine.privacy.key import child_environment

            with suppress(ValueError):
                watch = Watch.model_validate(given)
                asked = Asked(command, as_of, str(path), {}, child_environment())
                refused(watch, asked, _failure(error), _console())
        raise


@contextmanager
def session(
    config: Config, *, quiet: bool, watched: Watched | None = None, before: Callable[[], Sequence[str]] = tuple
) -> Iterator[Session]:
    """Open the executor and the progress bars, and record the run if it is one to be watched.

    Args:
        config: The configuration.
        quiet: No progress bars.
        watched: What is recorded of it; None for what leaves no record.
        before: What comes before the run and may last, so that no executor is kept waiting; gives warnings.
    """
    if watched is None:
        warnings = tuple(before())
        with _opened(config, quiet=quiet) as opened:
            yield replace(opened, warnings=warnings)
        return
    from engine.history.recording import recording

    program = begin_structured() if config.watch.log_format == "json" else structured()
    with ExitStack() as stack:
        try:
            recorder = stack.enter_context(recording(config, _asked(watched, quiet=quiet), _console()))
            if program is not None:
                program.context = recorder.context.fields
            warnings = tuple(before())
            opened = stack.enter_context(_opened(config, quiet=quiet or program is not None))
            progress = recorder.watching(opened.progress, opened.executor.tally)
            yield Session(opened.config, opened.executor, progress, recorder, warnings)
        except BaseException as error:
            # An exit is no failure that is told of again, and a log that cannot be opened told nothing yet.
            if program is not None and not (isinstance(error, ConfigError) and error.code == "log-file"):
                program.told = error
            raise


def _asked(watched: Watched, *, quiet: bool) -> Asked:
    from engine.config_file import COMMAND_LINE
    from engine.history.recording import Asked
    from engine.privacy.key import without_keys

    loaded = watched.loaded
    given = {key: loaded.values[key] for key, origin in loaded.origins.items() if origin == COMMAND_LINE}
    # The program that is told of the end needs no key.
    variables = without_keys(os.environ, loaded.config.privacy.key_env)
    return Asked(watched.command, watched.as_of, str(loaded.path.absolute()), given, variables, quiet)


def _console() -> Console:
    import sys

    from engine.history.telling import Console

    def warn(message: str) -> None:
        # As an event it is a line of the log already.
        if structured() is None:
            say(f"warning: {message}")

    def stderr() -> TextIO:
        return sys.stderr

    return Console(_failure, warn, stderr)


def _failure(error: BaseException) -> Failure:
    from engine.history.record import Failure

    return Failure(*diagnosis(error))


@contextmanager
def _opened(config: Config, *, quiet: bool) -> Iterator[Session]:
    _give_back_large_blocks()
    _keep_memory_off_the_disk()
    # Read when LightGBM loads: its waiting threads spin, which makes two of them slower than one on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from engine.execution.open import open_executor
    from engine.remote.fetch import cache_folder, clear
    from jobs.progress import progress_bars

    try:
        with open_executor(config.execution) as executor, progress_bars(quiet=quiet) as progress:
            yield Session(config, executor, progress)
    finally:
        clear(cache_folder(Path(config.out).absolute()))


def _keep_memory_off_the_disk() -> None:
    """Have a crash leave no core file: it would hold whoever was being counted."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _give_back_large_blocks() -> None:
    """Have the C library return blocks of 1 MiB and more to the system when they are freed.

    It raises that limit to 32 MiB by itself, and then keeps numpy's arrays in pieces: a run over 200 M events grew from
    1.0 to 1.8 GiB.
    """
    import ctypes

    mmap_threshold = -3
    # Other C libraries than that of GNU have no such function, and no such limit.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 20)


def parse_day(text: str, option: str = "--as-of") -> date:
    """The day in `YYYY-MM-DD`; `option` is the name of what was given, for the message.

    Raises:
        ConfigError: Anything else.
    """
    day = _day(text)
    if day is not None:
        return day
    raise ConfigError(
        f"{option} expects a day such as 2026-01-31 (YYYY-MM-DD), got {text!r}",
        code="as-of-invalid",
        hint="The day is always given, never today's: the same command must give the same tables tomorrow.",
    )


def parse_bound(text: str | None, option: str) -> date | None:
    """The day of an option that bounds a range; None when it was not given.

    Raises:
        ConfigError: Anything but `YYYY-MM-DD`.
    """
    if text is None:
        return None
    day = _day(text)
    if day is None:
        raise ConfigError(
            f"{option} expects a day such as 2026-01-31 (YYYY-MM-DD), got {text!r}",
            code="day-invalid",
            hint="A range takes its first day in and leaves its last one out.",
        )
    return day


def _day(text: str) -> date | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def show_record(record: RunRecord, *, as_json: bool, quiet: bool, report: str | None = None) -> None:
    """Print what a run did: one JSON object, or a summary for people; its warnings go to stderr.

    Args:
        record: What the run did.
        as_json: Print one JSON object.
        quiet: Print no summary.
        report: Path of the report that was written of it.
    """
    from jobs.summary import print_summary, print_warnings

    # Where stderr is a log, they are lines of it already.
    if not quiet and structured() is None:
        print_warnings(record)
    if as_json:
        print_json(record.to_dict() | ({} if report is None else {"report": report}))
    elif not quiet:
        print_summary(record)
        if report is not None:
            write(sys.stdout, f"report {shown_path(report)}")
