"""What a run wants a person to know although it went through: `counts["warnings"]` of its record."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from engine.bundle import Bundle
from engine.config import Config
from engine.features.windows import EPOCH
from engine.propensity.spec import ModelSpec
from engine.stages.preparation import Prepared


def score_warnings(
    config: Config, as_of: date, bundle: Bundle, counts: Mapping[str, Any], prepared: Prepared
) -> list[str]:
    """Everything that a score run warns of.

    Args:
        config: The configuration.
        as_of: Day of the run.
        bundle: The bundle that scored.
        counts: The run's counts.
        prepared: The rollups of the run.
    """
    users = {name: size["users"] for name, size in counts["segments"].items()}
    return [
        *stale_log(config, prepared.ingested.last_day, as_of),
        *damaged_rollups(prepared.damaged),
        *missing_types(counts.get("missing_types", ())),
        *empty_segments(config, users),
        *weak_models(model.spec for model in bundle.models),
    ]


def stale_log(config: Config, last_day: int | None, as_of: date) -> list[str]:
    """Whether the log ends before the shortest window begins, so that everyone looks inactive.

    Args:
        config: The configuration.
        last_day: Day of the last event before `as_of` (days since 1970-01-01).
        as_of: Day of the run.
    """
    if last_day is None:
        return []
    last = EPOCH + timedelta(days=last_day)
    gap = (as_of - last).days
    if gap <= config.features.windows[0]:
        return []
    tomorrow = last + timedelta(days=1)
    return [f"the last event is of {last}, {gap} days before as_of; the log would be complete as of {tomorrow}"]


def damaged_rollups(damaged: Sequence[tuple[str, str]]) -> list[str]:
    """Units whose rollups were not what had been written; they were made again from the log."""
    if not damaged:
        return []
    listed = ", ".join(f"{source} {label}".strip() for source, label in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return [f"rollups were damaged and made again: {listed}{more}; check the disk they are on"]


def weak_models(specs: Iterable[ModelSpec]) -> list[str]:
    """Models that are no better than the base rate on the rows they were measured on."""
    return [
        f"model {spec.target.name!r} is no better than the base rate on later rows: log loss "
        f"{spec.metrics.log_loss:.3f}, base rate {spec.metrics.base_log_loss:.3f}; do not use its scores"
        for spec in specs
        if spec.metrics.log_loss >= spec.metrics.base_log_loss
    ]


def empty_segments(config: Config, users: Mapping[str, int]) -> list[str]:
    """Configured segments that nobody is in: the rule matches nobody, or an earlier rule takes all that it matches."""
    empty = [segment for segment in config.segments if not users.get(unicodedata.normalize("NFC", segment.name))]
    return [f"nobody is in segment {segment.name!r}: {segment.where}" for segment in empty]


def missing_types(names: Sequence[str]) -> list[str]:
    """Event types that the bundle knows and the log does not have."""
    return [f"the log has no event of type {name!r}; the features over it are 0 or null" for name in names]
