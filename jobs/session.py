"""From options to a run: the configuration, the day, the executor and the progress, and the record shown at the end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from jobs.console import print_json, print_table, shown_path, write

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
    # Read when LightGBM loads: its waiting threads spin, which makes two of them slower than one on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from engine.execution.open import open_executor
    from jobs.progress import progress_bars

    with open_executor(config.execution) as executor, progress_bars(quiet=quiet) as progress:
        yield Session(config, executor, progress)


def parse_day(text: str) -> date:
    """The day in `YYYY-MM-DD`.

    Raises:
        ConfigError: Anything else.
    """
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigError(
        f"--as-of expects a day such as 2026-01-31 (YYYY-MM-DD), got {text!r}",
        code="as-of-invalid",
        hint="The day is always given, never today's: the same command must give the same tables tomorrow.",
    )


def show_record(record: RunRecord, *, as_json: bool, quiet: bool) -> None:
    """Print what a run did: one JSON object, or a summary for people."""
    if as_json:
        print_json(record.to_dict())
        return
    if not quiet:
        print_summary(record)


def print_summary(record: RunRecord) -> None:
    """The counts, the tables with their sizes and the time, on stdout."""
    import sys

    answer = record.to_dict()
    write(sys.stdout, f"run {answer['run_id']}" + (f" as of {answer['as_of']}" if answer["as_of"] else ""))
    counts, tables, timings = answer["counts"], answer["tables"], answer["timings"]
    groups = {name: group for name, group in counts.items() if _is_grouped(group)}
    plain = {name: value for name, value in counts.items() if name not in groups}
    if plain:
        write(sys.stdout, "")
        print_table(("count", ""), list(_flat(plain)))
    for name, group in groups.items():
        write(sys.stdout, "")
        _print_group(name, group)
    if tables:
        write(sys.stdout, "")
        rows = [
            (name, table["rows"], table["files"], _size(table["bytes"]), shown_path(table["path"]))
            for name, table in tables.items()
        ]
        print_table(("table", "rows", "files", "size", "path"), rows)
    if answer["bundle"]:
        write(sys.stdout, f"\nbundle {shown_path(answer['bundle'])}")
    if timings:
        listed = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in _flat(timings))
        write(sys.stdout, f"\ntime   {listed}")


def _is_grouped(value: object) -> bool:
    """Whether a count is a table: the same numbers for each of several names."""
    return isinstance(value, dict) and bool(value) and all(isinstance(inner, dict) for inner in value.values())


def _print_group(name: str, group: dict[str, dict[str, object]]) -> None:
    columns = list(dict.fromkeys(key for inner in group.values() for key in inner))
    shown = [key for key in columns if not any(isinstance(inner.get(key), list | dict) for inner in group.values())]
    rows = [(member, *(inner.get(key, "") for key in shown)) for member, inner in group.items()]
    print_table((name, *(key.replace("_", " ") for key in shown)), rows)


def _flat(values: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested counts as rows: `rows.kept`."""
    if not isinstance(values, dict):
        yield prefix, values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
