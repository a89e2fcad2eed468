"""The files that a report's facts come from; what is not there, or of another version, is left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.bundle import UNREADABLE, Bundle, is_bundle_id, load_bundle
from engine.errors import IntegrityError, TamisError
from engine.segments.before import from_counts
from engine.segments.kpis import ALL_USERS
from engine.tables.layout import bundles_folder, decode_partition, manifest_path, table_folder
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.snapshot import snapshot
from engine.validation_groups import TABLE as GROUPS_TABLE
from engine.validation_table import TABLE as VALIDATION_TABLE

SMALL: Final = (
    "quality",
    "drift",
    "segment_definitions",
    "segment_kpis",
    "segment_composition",
    "segment_flows",
    "rfm_grid",
    "score_distribution",
)
"""The published tables whose size does not depend on the number of users."""

HISTORY: Final = pl.Schema(
    {
        "as_of": pl.Date,
        "segment": pl.String,
        "users": pl.Int64,
        "revenue": pl.Float64,
        "mean_value": pl.Float64,
        "total_value": pl.Float64,
    }
)
"""Columns of `read_history`."""

ROWS: Final = pl.Schema({"as_of": pl.Date, "outcome": pl.String, "rows": pl.Int64, "read": pl.Int64})
"""Columns of `read_rows`."""

MOST_RECORDS: Final = 200
"""Records of runs that are read: the last so many."""

_ATTEMPTS: Final = 5
_FIGURES: Final = ("segment", "users", "revenue", "mean_value", "total_value")


def read_date(out: Path, as_of: date) -> tuple[Manifest, dict[str, pl.DataFrame]]:
    """The manifest of a published date, and its small tables by name.

    Raises:
        IntegrityError: The manifest is damaged.
    """
    for _ in range(_ATTEMPTS):
        manifest, files = _places(out, as_of)
        # A publish may move a file before it is read: its place is looked up again.
        with suppress(FileNotFoundError):
            return manifest, _tables(manifest, files)
    manifest, files = _places(out, as_of)
    return manifest, _tables(manifest, files)


def _places(out: Path, as_of: date) -> tuple[Manifest, dict[str, Path]]:
    manifest = read_manifest(manifest_path(out, as_of))
    paths = [record.path for table in manifest.tables if table.name in SMALL for record in table.records]
    there = {path: out / path for path in paths if (out / path).exists()}
    if len(there) < len(paths):
        # A publish is under way, or somebody removed them.
        with suppress(IntegrityError):
            found = snapshot(out, as_of)
            if found is not None:
                return found.manifest, found.files
    return manifest, there


def _tables(manifest: Manifest, files: Mapping[str, Path]) -> dict[str, pl.DataFrame]:
    found = {}
    for table in manifest.tables:
        paths = [files.get(record.path) for record in table.records]
        if table.name in SMALL and paths and None not in paths:
            there = [path for path in paths if path is not None]
            found[table.name] = pl.read_parquet(there, glob=False, hive_partitioning=False)
    return found


def read_history(out: Path, dates: Sequence[date]) -> pl.DataFrame:
    """Sizes and values of the segments of published dates; see `HISTORY`."""
    pieces = [piece.sort("segment") for piece in (_history(out, day) for day in dates) if piece is not None]
    return pl.concat(pieces) if pieces else pl.DataFrame(schema=HISTORY)


def _history(out: Path, day: date) -> pl.DataFrame | None:
    """One date: of its key figures; of its manifest when an earlier version wrote it."""
    files = sorted(table_folder(out, "segment_kpis", day).glob("part-*.parquet"))
    frame: pl.DataFrame | None = None
    with suppress(OSError, pl.exceptions.PolarsError):
        frame = pl.read_parquet(files, glob=False, hive_partitioning=False) if files else None
    if frame is None:
        frame = _from_manifest(out, day)
    if frame is None:
        return None
    return frame.select(
        as_of=pl.lit(day, pl.Date),
        **{name: (pl.col(name) if name in frame.columns else pl.lit(None)).cast(HISTORY[name]) for name in _FIGURES},
    )


def _from_manifest(out: Path, day: date) -> pl.DataFrame | None:
    with suppress(OSError, *UNREADABLE):
        counts = json.loads(manifest_path(out, day).read_bytes())["counts"]
        sizes = {ALL_USERS: int(counts["users"]), **from_counts(counts)}
        return pl.DataFrame({"segment": list(sizes), "users": list(sizes.values())})
    return None


def read_rows(out: Path, dates: Sequence[date]) -> pl.DataFrame:
    """What became of the rows of the log by published date, of their manifests; see `ROWS`."""
    found: list[tuple[date, str, int, int]] = []
    for day in dates:
        with suppress(OSError, *UNREADABLE):
            counts = json.loads(manifest_path(out, day).read_bytes())["counts"]["rows"]
            read = int(counts["read"])
            found += [(day, name, int(rows), read) for name, rows in sorted(counts.items()) if name != "read"]
    return pl.DataFrame(found, ROWS, orient="row")


def bundle_folder(out: Path, name: str) -> Path | None:
    """The folder of the bundle that a manifest names; None when it is gone."""
    folder = bundles_folder(out) / name if is_bundle_id(name) else Path(name)
    return folder if folder.is_dir() else None


def read_bundle(folder: Path) -> Bundle | None:
    """The bundle; None when it is damaged or of another version."""
    with suppress(TamisError, OSError):
        return load_bundle(folder)
    return None


def read_documents(folder: Path) -> dict[str, Any]:
    """The JSON documents of a bundle by name, unchecked; those that cannot be read are left out."""
    names = ["bundle.json", "clusters.json", "value.json"]
    names += sorted(path.relative_to(folder).as_posix() for path in folder.glob("targets/*/model.json"))
    return {name: document for name in names if (document := _document(folder / name)) is not None}


def read_validation(out: Path) -> dict[str, pl.DataFrame]:
    """What became of published scores, by target: one row per validated date, ascending."""
    return {target: frame for target, folder in _parts(out / VALIDATION_TABLE) if (frame := _dated(folder)) is not None}


def read_validation_segments(out: Path) -> dict[tuple[str, str], pl.DataFrame]:
    """What became of published scores of groups, by target and column: one row per validated date and value."""
    return {
        (target, column): frame
        for target, folder in _parts(out / GROUPS_TABLE)
        for column, below in _parts(folder)
        if (frame := _dated(below)) is not None
    }


def read_records(out: Path) -> tuple[Mapping[str, Any], ...]:
    """Records of runs as they are, the last first."""
    files = sorted((out / "_runs").glob("*.json"), reverse=True)[:MOST_RECORDS]
    return tuple(record for file in files if (record := _document(file)) is not None)


def _parts(folder: Path) -> Iterator[tuple[str, Path]]:
    """The partitions of one key below a folder: value and folder, sorted by value."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        key, _, value = path.name.partition("=")
        if key and value and path.is_dir():
            found.append((decode_partition(value), path))
    return iter(sorted(found))


def _dated(folder: Path) -> pl.DataFrame | None:
    frames = list(_readable(sorted(folder.glob("as_of=*.parquet"))))
    return pl.concat(frames, how="diagonal_relaxed") if frames else None


def _readable(files: Iterable[Path]) -> Iterator[pl.DataFrame]:
    for file in files:
        with suppress(OSError, pl.exceptions.PolarsError):
            yield pl.read_parquet(file, glob=False, hive_partitioning=False)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
