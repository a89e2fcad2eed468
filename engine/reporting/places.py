"""Where reports lie: beside the manifests, one page per date, an index, and a folder of cards per date."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from engine.errors import ConfigError
from engine.tables.layout import TABLES, as_of_folder, encode_partition, reports_folder

INDEX: Final = "index.html"

_LONGEST: Final = 160
_DIGITS: Final = 10

CardKind = Literal["target", "segment"]


def report_file(out: Path, as_of: date) -> Path:
    """The report of a date."""
    return reports_folder(out) / f"{as_of_folder(as_of)}.html"


def index_file(out: Path) -> Path:
    """The page of all dates."""
    return reports_folder(out) / INDEX


def card_file(out: Path, as_of: date, kind: CardKind, name: str) -> Path:
    """The card of a model or a segment, whatever its name holds."""
    encoded = encode_partition(name)
    if len(encoded) > _LONGEST:
        encoded = f"{encoded[:_LONGEST]}~{hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]}"
    return reports_folder(out) / as_of_folder(as_of) / f"{kind}={encoded}.html"


def link(path: Path, page: Path) -> str:
    """The relative address of a file, as a page links to it.

    Args:
        path: A file in the folder of `page`, below it, or in the one above.
        page: The page with the link.
    """
    if path.is_relative_to(page.parent):
        return quote(path.relative_to(page.parent).as_posix())
    return "../" + quote(path.relative_to(page.parent.parent).as_posix())


def check_target(out: Path, target: Path, option: str) -> None:
    """Stop before any work when a report or its tables would lie where readers scan tables.

    Raises:
        ConfigError: The file or folder lies in a published table.
    """
    inside = next((name for name in TABLES if target.resolve().is_relative_to((out / name).resolve())), None)
    if inside is not None:
        raise ConfigError(
            f"{option} {target} lies in the table {inside}, where readers expect nothing but its files",
            code="report-target",
            hint="Name a place outside of the tables.",
        )
