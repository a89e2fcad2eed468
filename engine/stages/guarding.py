"""What is looked at, and told, of the segments of a whole run before they are published."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import Config
from engine.history import events
from engine.ledger.previous import Previous
from engine.segments.before import read_before
from engine.segments.composition import segment_composition
from engine.segments.definitions import definitions_table
from engine.segments.findings import held_error
from engine.segments.guards import judge
from engine.segments.kpis import segment_kpis
from engine.segments.plan import SegmentPlan
from engine.segments.stats import SegmentStats
from engine.stages.segmenting import Applied

if TYPE_CHECKING:
    import polars as pl


def guarded(
    stats: SegmentStats,
    plan: SegmentPlan,
    config: Config,
    before: Previous | None,
    *,
    as_of: date,
    attributes: Collection[str],
    accept: Collection[str],
) -> tuple[str, ...]:
    """What the guards warn of.

    Args:
        stats: Counts of the whole run.
        plan: The segments.
        config: The configuration.
        before: The published date before; None for the first one.
        as_of: Day of the run.
        attributes: Names of the contact attributes.
        accept: What a person has accepted.

    Raises:
        HeldError: They found what holds the publish back.
    """
    then = None if before is None else read_before(Path(config.out), before.as_of)
    findings = judge(
        stats, then, plan.definitions, plan.rules, config, as_of=as_of, attributes=attributes, accept=accept
    )
    for finding in findings.held:
        events.guard_held(finding.guard, finding.text)
    for warning in findings.warnings:
        events.warned(warning)
    if findings.held:
        raise held_error(findings)
    return findings.warnings


def segment_tables(
    stats: SegmentStats, plan: SegmentPlan, applied: Applied, currency_digits: int
) -> dict[str, pl.DataFrame]:
    """The tables that have rows per segment, not per user."""
    return {
        "segment_definitions": definitions_table(plan.definitions, plan.depends_on),
        "segment_kpis": segment_kpis(stats, plan.definitions, window=applied.window, currency_digits=currency_digits),
        "segment_composition": segment_composition(stats),
    }
