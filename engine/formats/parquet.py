"""The format `parquet` at an address: published files are uploaded as they are, and the manifest decides."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Final

from engine.config import Config
from engine.formats.commit import Committed, Outcome
from engine.formats.receipts import Receipts, read_receipts, write_receipts
from engine.remote.upload import upload
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from engine.why.published import published_dates

_MANIFESTS: Final = "_manifests"


def upload_published(config: Config, url: str, days: Collection[date] | None, must: Collection[date]) -> Outcome:
    """Upload each published date that the store does not have, the oldest first.

    Args:
        config: The configuration; its output root is locked by the caller.
        url: The address that stands for the output root.
        days: Only these dates.
        must: Dates that are looked up in the store itself, whatever was noted before.

    Raises:
        TamisError: As `engine.remote.upload.upload`.
    """
    out = Path(config.out)
    receipts = Receipts(url) if days is not None else read_receipts(out, url)
    committed: list[Committed] = []
    for day in sorted(published_dates(out) if days is None else set(days)):
        file = manifest_path(out, day)
        mark = int.from_bytes(hashlib.sha256(repr(config.publish.tables).encode() + file.read_bytes()).digest()[:7])
        if day not in must and receipts.knows(_MANIFESTS, _MANIFESTS, day, mark):
            continue
        manifest = read_manifest(file)
        if upload(out, url, day, config.publish.tables):
            committed += [
                Committed(table.name, day, manifest.run_id, table.rows, table.files, None)
                for table in manifest.tables
                if table.name in config.publish.tables
            ]
        receipts.note(_MANIFESTS, _MANIFESTS, day, mark)
        if days is None:
            write_receipts(out, receipts)
    return Outcome(tuple(committed))
