"""Where records of processing lie: `<out>/_register/as_of=….{json,md}`, and `fit-as_of=….{json,md}` of fits."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from engine.tables.layout import as_of_folder


def register_folder(out: Path) -> Path:
    """Folder of the records."""
    return out / "_register"


def register_path(out: Path, kind: Literal["score", "fit"], as_of: date, ending: Literal["json", "md"]) -> Path:
    """The record of one run and date."""
    return register_folder(out) / f"{'fit-' if kind == 'fit' else ''}{as_of_folder(as_of)}.{ending}"
