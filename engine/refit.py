"""Whether a new fit is due: because of the schedule, or because the users are no longer those of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any, Final, Literal

from engine.bundle import load_bundle
from engine.bundle_store import Conditions, find_bundle
from engine.config import Config
from engine.execution.protocol import Executor
from engine.features.spec import FeatureSpec
from engine.progress import Progress, track
from engine.propensity.drift import add
from engine.propensity.psi import psi_table
from engine.stages.accounts import account_files
from engine.stages.preparation import Prepared
from engine.stages.watching import WatchRecord, WatchTask, watch_bucket, watched_reference

Trigger = Literal["no-bundle", "age", "features", "psi", "far"]

_NAMED: Final = 3


@dataclass(frozen=True)
class Refit:
    """Whether a fit is due, and the figures that say so.

    Attributes:
        triggers: Why it is due; empty when it is not.
        lines: The same for a person, one figure each: of the triggers, or of all that was looked at when none fired.
        bundle: Id of the bundle that the users were compared with.
        age_days: Days since its fit.
        psi: Population stability index of each clustering feature, the greatest first; None when not looked at.
        far_share: Share of the users who are farther from every cluster than 99 % were at its fit; None as above.
    """

    triggers: tuple[Trigger, ...]
    lines: tuple[str, ...]
    bundle: str | None = None
    age_days: int | None = None
    psi: tuple[tuple[str, float], ...] | None = None
    far_share: float | None = None

    @property
    def due(self) -> bool:
        """Whether to fit."""
        return bool(self.triggers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, in `counts["refit"]` of a run's record."""
        return {
            "due": self.due,
            "triggers": list(self.triggers),
            "reasons": list(self.lines),
            "bundle": self.bundle,
            "age_days": self.age_days,
            "psi": None if self.psi is None else dict(self.psi),
            "far_share": self.far_share,
        }


def by_schedule(config: Config, as_of: date, conditions: Conditions) -> tuple[Refit, Path | None]:
    """Whether the schedule alone makes a fit due, and the folder of the bundle that is in use for the day.

    Args:
        config: The configuration; its `refit_after_days` is the schedule.
        as_of: The day of the fit.
        conditions: What a bundle must have been fitted with.
    """
    folder = find_bundle(Path(config.out), as_of, conditions)
    if folder is None:
        return Refit(("no-bundle",), (f"no bundle in use for {as_of} was fitted with this configuration",)), None
    fitted = load_bundle(folder).as_of
    age, limit = (as_of - fitted).days, config.refit_after_days
    line = f"the last fit, as of {fitted}, is {age} days old (limit {limit})"
    triggers: tuple[Trigger, ...] = ("age",) if age >= limit else ()
    return Refit(triggers, (line,), folder.name, age), folder


def by_users(
    config: Config,
    schedule: Refit,
    folder: Path,
    spec: FeatureSpec,
    prepared: Prepared,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> tuple[Refit, list[WatchRecord]]:
    """Whether the users have become others than those of the last fit.

    Args:
        config: The configuration.
        schedule: What `by_schedule` gave.
        folder: Folder of the bundle that it found.
        spec: The features that a fit would have now.
        prepared: The rollups of the run.
        work: Folder for what is only needed now.
        executor: Where the users are counted.
        progress: Told of each finished bucket.

    Returns:
        The decision, and what every bucket gave; no bucket is read when the features are no longer the bundle's.
    """
    bundle = load_bundle(folder)
    if bundle.spec != spec:
        line = "the features are not those of the last fit: the log has other event types, or the software is newer"
        return _decided(schedule, ("features",), (line,)), []
    if bundle.clustering is None:
        line = "the last fit has no clusters, so that only the schedule counts"
        return _decided(schedule, (), (line,)), []
    accounts = account_files(
        prepared, prepared.shelf, spec, (prepared.shelf.end_day,), work=work, executor=executor, progress=progress
    )
    contacts = None if prepared.contacts is None else prepared.contacts.part
    tasks = [
        WatchTask(index, keys, portion, contacts, str(folder.absolute()), accounts, prepared.asked.permits)
        for index, (keys, portion) in enumerate(prepared.portions(prepared.shelf))
    ]
    records = executor.map(watch_bucket, tasks, on_done=track(progress, "compare", len(tasks)))
    users = sum(record.users for record in records)
    far = sum(record.far for record in records) / users if users else 0.0
    counts = reduce(add, (record.counts for record in records))
    table = psi_table(watched_reference(bundle), counts).drop_nulls("psi")
    rows: list[tuple[str, float, float]] = table.select("column", "psi", "chance").rows()
    # Of few users the index is large without any drift.
    drifted = [(name, psi) for name, psi, chance in rows if psi >= config.clusters.refit_psi and psi > chance]
    triggers: list[Trigger] = []
    lines: dict[Trigger, str] = {}
    if rows:
        shown = drifted or [(name, psi) for name, psi, _ in rows]
        lines["psi"] = f"greatest PSI of a clustering feature: {_some(shown)} (limit {config.clusters.refit_psi:g})"
        triggers += ["psi"] if drifted else []
    lines["far"] = (
        f"{far:.1%} of {users:,} users are farther from every cluster than 99 % were at the fit "
        f"(limit {config.clusters.refit_far:.1%})"
    )
    triggers += ["far"] if far >= config.clusters.refit_far else []
    told = [line for trigger, line in lines.items() if not triggers or trigger in triggers]
    psi = tuple((name, value) for name, value, _ in rows)
    return _decided(schedule, tuple(triggers), tuple(told), psi, far), records


def _decided(
    schedule: Refit,
    triggers: tuple[Trigger, ...],
    lines: tuple[str, ...],
    psi: tuple[tuple[str, float], ...] | None = None,
    far_share: float | None = None,
) -> Refit:
    # What did not fire is only told when nothing did.
    told = lines if triggers else (*schedule.lines, *lines)
    return Refit(triggers, told, schedule.bundle, schedule.age_days, psi, far_share)


def _some(values: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {psi:.2f}" for name, psi in values[:_NAMED])
