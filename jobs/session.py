"""From options to a run: the configuration, the day, the executor and the progress, and the record shown at the end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from jobs.console import print_json

if TYPE_CHECKING:
    from engine.config import Config
    from engine.config_file import LoadedConfig
    from engine.execution.protocol import Executor
    from engine.progress import Progress
    from engine.record import RunRecord

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Session:
    """What a run needs, open for as long as it lasts."""

    config: Config
    executor: Executor
    progress: Progress | None


@dataclass(frozen=True)
class Settings:
    """The options of a command that replace values of the configuration file; those given by name win over `--set`."""

    assignments: Sequence[str] = ()
    out: str | None = None
    executor: str | None = None
    address: str | None = None

    def overrides(self) -> list[tuple[str, object]]:
        """The overrides, in rising order of precedence."""
        from engine.config_file import parse_assignments

        named = {"out": self.out, "execution.executor": self.executor, "execution.address": self.address}
        return [
            *parse_assignments(self.assignments),
            *((key, value) for key, value in named.items() if value is not None),
        ]


def load(path: Path, settings: Settings) -> LoadedConfig:
    """The configuration of a command."""
    from engine.config_file import load_config

    return load_config(path, overrides=settings.overrides())


@contextmanager
def session(config: Config, *, quiet: bool) -> Iterator[Session]:
    """Open the executor and the progress bars."""
    _give_back_large_blocks()
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


def show_record(record: RunRecord, *, as_json: bool, quiet: bool) -> None:
    """Print what a run did: one JSON object, or a summary for people; its warnings go to stderr."""
    from jobs.summary import print_summary, print_warnings

    if not quiet:
        print_warnings(record)
    if as_json:
        print_json(record.to_dict())
    elif not quiet:
        print_summary(record)
