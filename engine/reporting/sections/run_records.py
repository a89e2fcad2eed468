"""The records of runs that belong to a date, read with care: another version may have written them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

TOTAL: Final = "total"
"""Name of the time of all stages together."""


def record_of(facts: Facts) -> Mapping[str, Any] | None:
    """The record of the run that published the date: the last one with its run id, of one that went through."""
    wanted = facts.now.manifest.run_id
    return next((record for record in done(facts) if wanted in _texts(record.get("run_ids"))), None)


def done(facts: Facts) -> tuple[Mapping[str, Any], ...]:
    """Records of runs that went through, the last first."""
    return tuple(record for record in facts.records if record.get("result") == "done")


def stages(record: Mapping[str, Any]) -> dict[str, float]:
    """Seconds by stage in the order of the run, without sums of others."""
    found = record.get("timings")
    if not isinstance(found, Mapping):
        return {}
    seconds = {str(name): known for name, value in found.items() if (known := _number(value)) is not None}
    parts = {name: value for name, value in seconds.items() if name.rpartition(".")[2] != TOTAL}
    return dict(sorted(parts.items(), key=lambda item: _place(item[0])))


def seconds_of(record: Mapping[str, Any]) -> float | None:
    """Seconds from start to end."""
    return _number(record.get("seconds"))


def peak_of(record: Mapping[str, Any]) -> float | None:
    """Largest resident set of the driver or one of its children, in bytes."""
    return _number(record.get("peak_memory_bytes"))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_ORDER: Final = ("read", "compare", "features", "cluster", "learn", "score", "ledger", "publish")


def _place(stage: str) -> tuple[bool, int, str]:
    """Fits come first; stages that are not known last."""
    fit, _, name = stage.rpartition(".")
    return not fit, _ORDER.index(name) if name in _ORDER else len(_ORDER), stage


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in found) if isinstance(found, list | tuple) else ()
