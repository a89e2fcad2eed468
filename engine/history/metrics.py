"""Metrics of runs in the text format of Prometheus (exposition format 0.0.4), for node exporter's textfile collector.

A job that ends is not scraped: its last values stand in a file that is replaced at the end of every run. One file
holds the last run of each command. Names follow https://prometheus.io/docs/practices/naming/: base units, as suffixes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from engine.history.record import Attempt
from engine.tables import disk

_LAST_SUCCESS: Final = "tamis_run_last_success_timestamp_seconds"
_HELP: Final = {
    "tamis_run_success": "Whether the last run ended with what was asked (1), or not (0).",
    "tamis_run_exit_code": "Exit code of the last run.",
    "tamis_run_timestamp_seconds": "When the last run ended, seconds since 1970 UTC.",
    _LAST_SUCCESS: "When a run last ended with what was asked, seconds since 1970 UTC.",
    "tamis_run_as_of_timestamp_seconds": "Midnight UTC of the day that the last run was as of, seconds since 1970.",
    "tamis_run_duration_seconds": "How long the last run took.",
    "tamis_run_stage_duration_seconds": "How long each stage of the last run took.",
    "tamis_run_peak_memory_bytes": "Largest resident set of the driver of the last run, or of one of its children.",
    "tamis_run_input_files": "Input files of the last run.",
    "tamis_run_input_rows": "Rows of the input files of the last run.",
    "tamis_run_input_bytes": "Bytes of the input files of the last run.",
    "tamis_run_rows": "Rows of the event logs that the last run read, by what became of them.",
    "tamis_run_users": "Users in the last run.",
    "tamis_run_segment_users": "Users of each segment in the last run.",
    "tamis_run_warnings": "Warnings of the last run.",
    "tamis_run_guards_held": "Findings of guards that held the publish of the last run back.",
    "tamis_run_tasks": "Tasks of the last run.",
    "tamis_run_task_retries": "How often a task of the last run was run again.",
}
_LINE: Final = re.compile(r'([a-z_]+)\{command="([a-z]+)"(.*)\} (\S+)')


@dataclass(frozen=True)
class _Sample:
    name: str
    command: str
    labels: str
    value: str


def write_metrics(path: Path, attempt: Attempt) -> None:
    """Put the metrics of an attempt into the file of metrics, in one instant; those of other commands stay.

    Args:
        path: The file; its folder is there.
        attempt: One that has ended.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
        OSError: There is no such folder.
    """
    before = _read(path)
    own = [*_samples(attempt)]
    if not any(sample.name == _LAST_SUCCESS for sample in own):
        own += [old for old in before if old.command == attempt.command and old.name == _LAST_SUCCESS]
    others = [old for old in before if old.command != attempt.command]
    with disk.storage_errors(path.parent):
        path.parent.stat()
    with disk.replacing(path) as handle:
        handle.write(exposition([*own, *others]).encode())


def exposition(samples: Iterable[_Sample]) -> str:
    """The text of a file of metrics: each metric once with its help and type, then its samples."""
    found = sorted(samples, key=lambda sample: (list(_HELP).index(sample.name), sample.command))
    lines: list[str] = []
    told = ""
    for sample in found:
        if sample.name != told:
            told = sample.name
            lines += [f"# HELP {told} {_HELP[told]}", f"# TYPE {told} gauge"]
        lines.append(f'{sample.name}{{command="{sample.command}"{sample.labels}}} {sample.value}')
    return "".join(f"{line}\n" for line in lines)


def _samples(attempt: Attempt) -> Iterator[_Sample]:
    def sample(name: str, value: float | None, **labels: str) -> Iterator[_Sample]:
        if value is not None:
            shown = "".join(f',{label}="{_escaped(text)}"' for label, text in labels.items())
            yield _Sample(name, attempt.command, shown, repr(value))

    counts, found = attempt.counts, attempt.input
    ended = None if attempt.ended is None else attempt.ended.timestamp()
    success = attempt.result in {"done", "skipped"}
    midnight = None if attempt.as_of is None else datetime.fromisoformat(f"{attempt.as_of}T00:00:00+00:00").timestamp()
    yield from sample("tamis_run_success", int(success))
    yield from sample("tamis_run_exit_code", attempt.exit_code)
    yield from sample("tamis_run_timestamp_seconds", ended)
    if success:
        yield from sample(_LAST_SUCCESS, ended)
    yield from sample("tamis_run_as_of_timestamp_seconds", midnight)
    yield from sample("tamis_run_duration_seconds", attempt.seconds)
    for stage, seconds in attempt.timings.items():
        if not stage.endswith("total"):
            yield from sample("tamis_run_stage_duration_seconds", seconds, stage=stage)
    yield from sample("tamis_run_peak_memory_bytes", attempt.peak_memory_bytes)
    if found is not None:
        yield from sample("tamis_run_input_files", found.files)
        yield from sample("tamis_run_input_rows", found.rows)
        yield from sample("tamis_run_input_bytes", found.bytes)
    for outcome, rows in counts.get("rows", {}).items():
        # What was read is the sum of the others: with it, a sum over the label would count every row twice.
        if outcome != "read":
            yield from sample("tamis_run_rows", rows, outcome=outcome)
    yield from sample("tamis_run_users", counts.get("users"))
    for segment, size in counts.get("segments", {}).items():
        yield from sample("tamis_run_segment_users", size["users"], segment=segment)
    yield from sample("tamis_run_warnings", attempt.warning_count)
    yield from sample("tamis_run_guards_held", sum(found.held for found in attempt.guards))
    yield from sample("tamis_run_tasks", attempt.tasks.total)
    yield from sample("tamis_run_task_retries", attempt.tasks.retried)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _read(path: Path) -> list[_Sample]:
    """What the file holds already; nothing of a file that is not one of these."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
    found = (_LINE.fullmatch(line) for line in lines)
    return [_Sample(*match.groups()) for match in found if match is not None and match[1] in _HELP]
