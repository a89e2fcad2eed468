"""All files of one run at any moment: for readers of several tables, which change one after the other.

While a publish is under way, and after it was cut short, some tables of the new run have their place and others are
still sealed in its work folder; the manifest is that of the old run until all are in place. Since a run counts from its
`commit.json` on, that is the manifest to read then, and each file is in one of the two places.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.layout import manifest_path, work_root
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import INTENT, SEALED

_ATTEMPTS: Final = 20
_PAUSE_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Snapshot:
    """One complete run of one date.

    Attributes:
        manifest: What the run published, or is publishing.
        files: Where each file is now, by its path in the manifest.
    """

    manifest: Manifest
    files: dict[str, Path]


def snapshot(out: Path, as_of: date) -> Snapshot | None:
    """Where the files of the run are that counts for a date; None when nothing was published for it.

    A publish that begins afterwards moves or removes the files: when one is gone on opening, ask again.

    Raises:
        IntegrityError: Files of the manifest are not there, also after some time; or the manifest is damaged.
    """
    missing: list[str] = []
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            found = _counting(out, as_of)
        except FileNotFoundError:
            continue
        if found is None:
            return None
        manifest, places = found
        paths = [record.path for table in manifest.tables for record in table.records]
        files = {path: next((at / path for at in places if (at / path).exists()), None) for path in paths}
        missing = [path for path, file in files.items() if file is None]
        if not missing:
            return Snapshot(manifest, {path: file for path, file in files.items() if file is not None})
    listed = ", ".join(missing[:3]) or "its manifest"
    raise IntegrityError(
        f"not all of {as_of} is in {out}: {len(missing)} files are missing ({listed})",
        code="table-mismatch",
        hint="run the date again",
    )


def _counting(out: Path, as_of: date) -> tuple[Manifest, tuple[Path, ...]] | None:
    """The manifest that counts for a date, and the folders in which its files are."""
    for work in disk.list_folder(work_root(out)):
        if (work / INTENT).is_file():
            manifest = read_manifest(work / INTENT)
            if manifest.as_of == as_of:
                return manifest, (out, work / SEALED)
    path = manifest_path(out, as_of)
    return (read_manifest(path), (out,)) if path.exists() else None
