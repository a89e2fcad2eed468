"""What a run wants a person to know although it went through: `counts["warnings"]` of its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from engine.bundle import Bundle
from engine.config import Config
from engine.events.untrusted import Quarantined
from engine.features.windows import EPOCH
from engine.propensity.alarms import is_leak
from engine.propensity.spec import ModelSpec
from engine.stages.preparation import Prepared

_NAMED: Final = 5
_UNSEEN_SHARE: Final = 0.01
_NULL_JUMP: Final = 0.1


def fit_warnings(specs: Iterable[ModelSpec]) -> list[str]:
    """What a fit warns of about the models that go into its bundle: failed gates, every alarm and every note."""
    listed = tuple(specs)
    notes = [f"model {spec.target.name!r}: {note}" for spec in listed for note in spec.notes]
    return [*weak_models(listed), *alarms(listed), *notes]


def reduced_warnings(specs: Iterable[ModelSpec], unscored: Mapping[str, str]) -> list[str]:
    """As `fit_warnings`, of the models of users who lack a purpose of an input, and of targets without one.

    Args:
        specs: The reduced models.
        unscored: Why there is none, by target.
    """
    without = [
        f"target {name!r}: no reduced model, users who lack a purpose of an input have no score: {reason}"
        for name, reason in unscored.items()
    ]
    return [*without, *(f"reduced {line}" for line in fit_warnings(specs))]


def score_warnings(
    config: Config,
    as_of: date,
    bundle: Bundle,
    counts: Mapping[str, Any],
    prepared: Prepared,
    drift: pl.DataFrame | None = None,
) -> list[str]:
    """Everything that a score run warns of.

    Args:
        config: The configuration.
        as_of: Day of the run.
        bundle: The bundle that scored.
        counts: The run's counts.
        prepared: The rollups of the run.
        drift: The users of the run beside those of the fit; None without a reference.
    """
    specs = [model.spec for model in bundle.models]
    return [
        *stale_log(config, prepared.ingested.last_day, as_of),
        *quarantined_files(prepared.ingested.quarantined),
        *damaged_rollups(prepared.damaged),
        *missing_types(counts.get("missing_types", ())),
        *weak_models(specs),
        *(f"reduced {line}" for line in weak_models(model.spec for model in bundle.reduced)),
        *(alarm for alarm in alarms(specs) if is_leak(alarm)),
        *([] if drift is None else drift_warnings(drift, config.drift.warn_at, bundle.as_of)),
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


def quarantined_files(quarantined: Sequence[Quarantined]) -> list[str]:
    """Files of the log that cannot be read: their events are in no number of the run."""
    if not quarantined:
        return []
    listed = "; ".join(f"{bad.file} ({bad.problem})" for bad in quarantined[:_NAMED])
    more = f" and {len(quarantined) - _NAMED} more" if len(quarantined) > _NAMED else ""
    files, were = ("1 file", "was") if len(quarantined) == 1 else (f"{len(quarantined)} files", "were")
    return [f"{files} of the log cannot be read and {were} left out: {listed}{more}"]


def damaged_rollups(damaged: Sequence[tuple[str, str]]) -> list[str]:
    """Units whose rollups were not what had been written; they were made again from the log."""
    if not damaged:
        return []
    listed = ", ".join(f"{source} {label}".strip() for source, label in damaged[:3])
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return [f"rollups were damaged and made again: {listed}{more}; check the disk they are on"]


def weak_models(specs: Iterable[ModelSpec]) -> list[str]:
    """Models that did not pass their gate and are in use all the same: promoted by hand, or with `gate = "warn"`."""
    return [
        f"model {spec.target.name!r} did not pass its gate: {_failed(spec)}; do not rely on its scores"
        for spec in specs
        if not spec.verdict.promoted
    ]


def _failed(spec: ModelSpec) -> str:
    reasons = spec.verdict.reasons
    failed = [reason.removeprefix("no: ") for reason in reasons if reason.startswith("no: ")]
    return "; ".join(failed or reasons)


def alarms(specs: Iterable[ModelSpec]) -> list[str]:
    """The alarms of the models, each with the name of its target."""
    return [
        alarm if alarm.startswith(f"target {spec.target.name!r}") else f"model {spec.target.name!r}: {alarm}"
        for spec in specs
        for alarm in spec.alarms
    ]


def drift_warnings(table: pl.DataFrame, warn_at: float, fitted: date) -> list[str]:
    """Features and scores that are not what they were at the fit; one line per kind of change, the worst five named.

    A PSI that chance alone would give to so few users is not warned of.

    Args:
        table: What `engine.propensity.psi.psi_table` gave.
        warn_at: PSI from which a column is warned of.
        fitted: Day of the fit.
    """
    score = pl.col("kind") == "score"
    moved = table.filter((pl.col("psi") >= warn_at) & (pl.col("psi") > pl.col("chance")))
    jump = (pl.col("null_share_now") - pl.col("null_share_then")).abs()
    nulls = table.filter(~score & (jump >= _NULL_JUMP)).sort(jump, "column", descending=[True, False])
    more = pl.col("unseen_share") - pl.col("unseen_share_then")
    unseen = table.filter(more > _UNSEEN_SHARE).sort(more, "column", descending=[True, False])
    found = [
        ("features are distributed otherwise (PSI)", _with_psi(moved.filter(~score))),
        ("scores are distributed otherwise (PSI)", _with_psi(moved.filter(score))),
        (
            "features lack values for another share of users",
            [
                f"{name} {_percent(then)} → {_percent(now)}"
                for name, then, now in nulls.select("column", "null_share_then", "null_share_now").iter_rows()
            ],
        ),
        (
            "features have values that no model knows",
            [f"{name} {_percent(share)} of users" for name, share in unseen.select("column", "unseen_share").rows()],
        ),
    ]
    return [f"since the fit of {fitted} {what}: {_some(entries)}" for what, entries in found if entries]


def _with_psi(rows: pl.DataFrame) -> list[str]:
    return [f"{name} {psi:.2f}" for name, psi in rows.select("column", "psi").iter_rows()]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _some(entries: Sequence[str]) -> str:
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return ", ".join(entries[:_NAMED]) + more


def missing_types(names: Sequence[str]) -> list[str]:
    """Event types that the bundle knows and the log does not have."""
    return [f"the log has no event of type {name!r}; the features over it are 0 or null" for name in names]
