"""The run before, as guards compare with it: sizes, kinds of users and versions of its segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.segments.stats import SegmentStats
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest

if TYPE_CHECKING:
    from engine.tables.manifest import Manifest

_COUNTS = "memberships"


@dataclass(frozen=True)
class Before:
    """What was published for a date.

    Attributes:
        as_of: The date.
        sizes: Users by segment.
        bins: By segment and column, users by bin, as `segment_composition` has them.
        versions: Version of the rule by segment.
    """

    as_of: date
    sizes: Mapping[str, int]
    bins: Mapping[str, Mapping[str, list[tuple[str | None, int]]]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def to_counts(stats: SegmentStats) -> dict[str, Any]:
    """What the manifest keeps for the next run: `memberships`, users by segment, the largest first."""
    sizes = sorted(zip(stats.segments, stats.sizes, strict=True), key=lambda item: (-item[1], item[0]))
    return {_COUNTS: dict(sizes)}


def from_counts(counts: Mapping[str, Any]) -> dict[str, int]:
    """Users by segment; empty for a manifest of a version that did not keep them."""
    kept = counts.get(_COUNTS)
    return {name: users for name, users in kept.items() if isinstance(users, int)} if isinstance(kept, dict) else {}


def read_before(out: Path, as_of: date) -> Before:
    """What guards need of a published date; tables that were not published then count as empty.

    Args:
        out: The output root.
        as_of: The date.

    Raises:
        IntegrityError: The manifest is damaged.
    """
    manifest = read_manifest(manifest_path(out, as_of))
    bins: dict[str, dict[str, list[tuple[str | None, int]]]] = {}
    for segment, column, name, users in _rows(out, manifest, "segment_composition", "segment column bin users".split()):
        bins.setdefault(segment, {}).setdefault(column, []).append((name, users))
    versions = dict(_rows(out, manifest, "segment_definitions", ["segment", "rule_version"]))
    return Before(as_of, from_counts(manifest.counts), bins, versions)


def _rows(out: Path, manifest: Manifest, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    files = [out / file.path for record in manifest.tables if record.name == table for file in record.records]
    if not files:
        return []
    return pl.read_parquet(files, columns=columns, glob=False, hive_partitioning=False).select(columns).rows()
