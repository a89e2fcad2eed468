"""What a task costs: seconds and bytes of memory by its kind and size, measured on a machine or as they are shipped.

A task takes `fixed` seconds and so many for each unit of its sizes (`TERMS`); the first one of its kind in a process
takes `first` more, for what is imported and compiled then. Memory likewise. On other numbers of threads than were
measured, time follows G. Amdahl, "Validity of the single processor approach to achieving large scale computing
capabilities" (AFIPS 1967): `serial` of the time on one thread stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.errors import ConfigError
from engine.planning.work import Work
from engine.tables.durable import durable_json

FORMAT: Final = 1

TERMS: Final[Mapping[str, tuple[str, ...]]] = {
    "DiscoverTask": ("rows",),
    "VerifyTask": ("bytes",),
    "PartTask": ("rows",),
    "RangeTask": ("rows",),
    "RollTask": ("rows", "units"),
    "CollisionTask": ("users",),
    "ContactsTask": ("rows",),
    "PermitsTask": ("rows",),
    "MatrixTask": ("files", "partials", "cells"),
    "AccountTask": ("files", "partials", "users"),
    "AddTask": ("parts",),
    "ChooseTask": ("trials",),
    "BlockTask": ("cells",),
    "Visit sums_of": ("work",),
    "Visit first_of_block": ("work",),
    "Visit second_of_block": ("work",),
    "FarTask": ("work",),
    "LabelTask": ("work",),
    "ResampleTask": ("work",),
    "ViewTask": ("work",),
    "ScalesTask": ("users",),
    "ValueTask": ("users",),
    "TargetTask": ("cells", "growing", "scoring"),
    "TrialTask": ("cells", "growing"),
    "DriftTask": ("cells", "scoring"),
    "ScoreTask": ("files", "partials", "cells"),
    "LedgerTask": ("members", "before"),
    "SampleTask": ("rows",),
    "CompactTask": ("rows", "pieces"),
    "CheckTask": ("rows",),
    "driver fit": ("files", "tasks"),
    "driver score": ("files", "tasks", "written"),
}
"""The sizes that the time of a kind of task grows with."""

MEMORY_TERMS: Final[Mapping[str, str]] = {
    "DiscoverTask": "rows",
    "PartTask": "rows",
    "RangeTask": "rows",
    "RollTask": "rows",
    "CollisionTask": "users",
    "ContactsTask": "rows",
    "PermitsTask": "rows",
    "MatrixTask": "partials",
    "AccountTask": "partials",
    "ChooseTask": "users",
    "ScalesTask": "users",
    "ValueTask": "users",
    "TargetTask": "cells",
    "TrialTask": "cells",
    "DriftTask": "cells",
    "ScoreTask": "cells",
    "LedgerTask": "members",
    "CheckTask": "rows",
}
"""The size that the memory of a kind of task grows with, where it grows."""


LEAST: Final[Mapping[str, Mapping[str, float]]] = {
    "DiscoverTask": {"files": 1e-3},
    "RollTask": {"files": 2e-3},
    "MatrixTask": {"files": 5e-5},
    "AccountTask": {"files": 5e-5},
    "ScoreTask": {"files": 5e-5},
    "driver fit": {"files": 1e-3, "tasks": 1e-4},
    "driver score": {"files": 2e-5, "tasks": 1e-4, "written": 2e-4},
}
"""Seconds that are so small on generated logs that they drown in others, and add up on large ones: a file to be found
and looked at, its footer to be opened, a record to be taken back, a file to be renamed and synced. Those of source
files were measured on 10,000 files of 20 rows."""


@dataclass(frozen=True)
class Cost:
    """What tasks of one kind cost on the threads that were measured.

    Attributes:
        fixed: Seconds of every task.
        per: Seconds for one unit of each size.
        first: Seconds more for the first task of a process.
        serial: Share of the time on one thread that more threads do not shorten.
        memory: Bytes of every task, beside those of the process.
        memory_per: Bytes for one unit of the size in `MEMORY_TERMS`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    fixed: float
    per: Mapping[str, float] = field(default_factory=dict)
    first: float = 0.0
    serial: float = 1.0
    memory: float = 0.0
    memory_per: float = 0.0


@dataclass(frozen=True)
class Costs:
    """The costs of a machine.

    Attributes:
        source: `shipped`, or the day on which they were measured.
        threads: Threads that the tasks had.
        start: Seconds until a process has imported what every run needs.
        process: Bytes of such a process.
        kinds: By kind of task.
        versions: Of the packages that did the work.
        measured_seconds: How long it took to measure them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    source: str
    threads: int
    start: float
    process: float
    kinds: Mapping[str, Cost]
    versions: Mapping[str, str] = field(default_factory=dict)
    measured_seconds: float = 0.0
    format: int = FORMAT

    def seconds(self, work: Work, threads: int | None = None) -> float:
        """Time of one task on so many threads; on as many as were measured when None."""
        cost = self.kinds.get(work.kind, _UNKNOWN)
        time = cost.fixed + sum(each * work.sizes.get(name, 0.0) for name, each in cost.per.items())
        if threads is None or threads == self.threads:
            return time
        return time * _slower(cost.serial, threads) / _slower(cost.serial, self.threads)

    def first(self, kind: str) -> float:
        """Seconds that the first task of a kind takes more in its process."""
        return self.kinds.get(kind, _UNKNOWN).first

    def memory(self, work: Work) -> float:
        """Most bytes of a process that does such a task alone."""
        cost = self.kinds.get(work.kind, _UNKNOWN)
        return self.process + cost.memory + cost.memory_per * work.sizes.get(MEMORY_TERMS.get(work.kind, ""), 0.0)


_UNKNOWN: Final = Cost(0.01)
_COSTS: Final = TypeAdapter(Costs)


def _slower(serial: float, threads: int) -> float:
    return serial + (1 - serial) / threads


def write_costs(costs: Costs, path: Path) -> None:
    """Keep what was measured.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    durable_json(asdict(costs), path)


def read_costs(path: Path) -> Costs:
    """What was measured before.

    Raises:
        ConfigError: There is no such file, or it is of another version.
    """
    try:
        costs = _COSTS.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no calibration {path}",
            code="plan-calibration",
            hint="`tamis plan --calibrate --calibration FILE` measures this machine and writes it.",
        ) from error
    except (OSError, ValidationError) as error:
        raise _unusable(path, "it cannot be read") from error
    if costs.format != FORMAT:
        raise _unusable(path, f"it is of format {costs.format}, expected {FORMAT}")
    return costs


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the calibration {path} cannot be used: {why}",
        code="plan-calibration",
        hint="Measure again with `tamis plan --calibrate`, or take the file away.",
    )
