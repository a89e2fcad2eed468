"""Where everything lies under an output root.

    <out>/segments/as_of=YYYY-MM-DD/segment=<name>/part-*.parquet
    <out>/{features,scores,points,memberships,…}/as_of=YYYY-MM-DD/part-*.parquet
    <out>/<table>/as_of=YYYY-MM-DD/_SUCCESS
    <out>/_manifests/as_of=YYYY-MM-DD.json
    <out>/_reports/as_of=YYYY-MM-DD.html      pages for people, made of what is published; nothing reads them back
    <out>/_bundles/
    <out>/_runs/<UTC start>-<6 hex digits>.json      one record per attempt of a run (`engine.history`)
    <out>/_exports/<UTC time>-<6 hex digits>.json      one entry per export (`engine.exports.listing`)
    <out>/_register/{,fit-}as_of=YYYY-MM-DD.{json,md}      records of processing (`engine.register`)
    <out>/_work/<run>/<table>/as_of=YYYY-MM-DD/…      staging: the same file system, never inside a table
    <out>/_work/<run>/_sealed/<table>/as_of=YYYY-MM-DD/…      staged and complete: about to be published

Whatever lies below a table's folder is read by a reader that scans it, so nothing but published files may be there.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from pathlib import Path
from urllib.parse import unquote

from engine.errors import ConfigError

TABLES = (
    "rejects",
    "quality",
    "drift",
    "features",
    "scores",
    "points",
    "segment_definitions",
    "segment_kpis",
    "segment_composition",
    "rfm_grid",
    "score_distribution",
    "segment_flows",
    "membership_history",
    "membership_changes",
    "memberships",
    "segments",
)
"""The published tables in the order in which they are switched: the one that people read comes last."""

SUCCESS = "_SUCCESS"
"""Empty file in a published `as_of=` folder, for tools that wait for it; a name with `_` in front is read by none."""

LONGEST_NAME = 255
"""Bytes of one path component on the file systems in use (ext4, XFS, APFS)."""

_PLAIN_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
# Hive's mark for a null key; Polars turns it into null however it is encoded.
_NULL_VALUE = "__HIVE_DEFAULT_PARTITION__"


def as_of_folder(as_of: date) -> str:
    """The partition folder of one date, `as_of=YYYY-MM-DD`."""
    return f"as_of={as_of.isoformat()}"


def table_path(table: str, as_of: date) -> str:
    """The folder of one table and date, relative to an output root or to a work folder.

    Raises:
        ValueError: `table` is not one of `TABLES`.
    """
    if table not in TABLES:
        message = f"table must be one of {', '.join(TABLES)}, got {table!r}"
        raise ValueError(message)
    return f"{table}/{as_of_folder(as_of)}"


def table_folder(root: Path, table: str, as_of: date) -> Path:
    """The folder of one table and date under `root` (an output root or a work folder)."""
    return root / table_path(table, as_of)


def partition_folder(folder: Path, key: str, value: str) -> Path:
    """The hive folder `key=<value>` in `folder`, with the value percent-encoded.

    Raises:
        ConfigError: The value cannot be a partition; see `encode_partition`.
    """
    name = f"{key}={encode_partition(value)}"
    if len(name) > LONGEST_NAME:
        message = f"{key} {value!r}: the folder name takes {len(name)} bytes when encoded, at most {LONGEST_NAME} fit"
        raise ConfigError(
            message,
            code="partition-too-long",
            hint="shorten the name; each letter outside A-Z a-z 0-9 takes 3 to 12 bytes",
        )
    return folder / name


def manifests_folder(out: Path) -> Path:
    """Folder of the manifests, a sibling of the tables."""
    return out / "_manifests"


def manifest_path(out: Path, as_of: date) -> Path:
    """The manifest of what is published for one date."""
    return manifests_folder(out) / f"{as_of_folder(as_of)}.json"


def reports_folder(out: Path) -> Path:
    """Folder of the pages that people read."""
    return out / "_reports"


def bundles_folder(out: Path) -> Path:
    """Folder of what `fit` hands to `score`."""
    return out / "_bundles"


def work_root(out: Path) -> Path:
    """Parent of the work folders; also holds the lock."""
    return out / "_work"


def work_folder(out: Path, run_id: str) -> Path:
    """The work folder of one run: staged tables and whatever else the run keeps between tasks.

    Raises:
        ValueError: `run_id` is not a plain file name.
    """
    if _RUN_ID.fullmatch(run_id) is None:
        message = f"run_id must be letters, digits, '_', '-' and '.', got {run_id!r}"
        raise ValueError(message)
    return work_root(out) / run_id


def encode_partition(value: str) -> str:
    """The name of a partition as a path component: NFC, then everything but `A-Z a-z 0-9 _ . -` as UTF-8 `%XX`.

    A leading dot is encoded too, so that no value is hidden or climbs.
    DuckDB, Polars and Arrow decode the component when they read the folders as hive partitions; they also guess types
    (`007` becomes 7) unless the reader says that the key is a string.

    Raises:
        ConfigError: The value is empty, Hive's null mark, or holds NUL or a lone surrogate.
    """
    text = unicodedata.normalize("NFC", value)
    problem = ""
    if not text:
        problem = "is empty"
    elif text == _NULL_VALUE:
        problem = "is the mark that hive partitions use for null"
    elif "\0" in text:
        problem = "holds a NUL character"
    elif any("\ud800" <= letter <= "\udfff" for letter in text):
        problem = "holds half a surrogate pair, which is no Unicode text"
    if problem:
        message = f"partition value {value!r} {problem}"
        raise ConfigError(message, code="partition-name", hint="give the segment another name")
    encoded = "".join(chr(byte) if byte in _PLAIN_BYTES else f"%{byte:02X}" for byte in text.encode())
    return f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded


def decode_partition(component: str) -> str:
    """The name that `encode_partition` made `component` from, in NFC."""
    return unquote(component, errors="strict")


def is_partition(folder: str) -> bool:
    """Whether `folder` is a name that `partition_folder` gives: a key, and a value that is neither empty nor null."""
    key, _, component = folder.partition("=")
    try:
        return bool(key) and encode_partition(decode_partition(component)) == component
    except (ConfigError, UnicodeDecodeError):
        return False
