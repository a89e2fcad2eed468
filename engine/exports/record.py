"""What an export is asked for, and what it says it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Final

from engine.errors import IntegrityError
from engine.exports.files import ExportFile
from engine.exports.people import Kind
from engine.exports.plan import Tool

REASONS: Final = (
    "without_contact",
    "without_address",
    "invalid_address",
    "refused",
    "suppressed",
    "address_suppressed",
    "still_member",
    "duplicate",
)
"""Why a user of a segment is in none of its files; the first that holds counts. With `[consent]` there is one more,
`without_consent`, which is looked at after those that are told of one user."""


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    Attributes:
        tool: Whose format.
        segments: Their names.
        to: The folder.
        as_of: Published date; the latest when None.
        changes: Whether to write who entered and who left as well.
        suppress: More suppression lists than those of the configuration.
        overwrite: Whether an earlier export in the folder is replaced.
    """

    tool: Tool
    segments: tuple[str, ...]
    to: Path
    as_of: date | None = None
    changes: bool = False
    suppress: tuple[Path, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class UnitRecord:
    """What became of the users of one segment, or of those who entered or left it: users = written + left out.

    Attributes:
        segment, kind: Which users: "members", "entries" or "exits".
        users: How many there are.
        written: How many are in the files.
        left_out: How many are not, by reason; see `REASONS`.
        clipped: Cells that were cut, by header.
        emptied: Numbers that were not written, as somebody has them who objects, was erased or has withdrawn, by
            header.
        files: The files.
    """

    segment: str
    kind: Kind
    users: int
    written: int
    left_out: dict[str, int]
    clipped: dict[str, int]
    emptied: dict[str, int]
    files: tuple[ExportFile, ...]


@dataclass(frozen=True)
class ExportRecord:
    """An export: of which date and run, where to, and what of each segment; `suppression`: values of each list."""

    tool: Tool
    as_of: date
    run_id: str
    to: str
    units: tuple[UnitRecord, ...]
    suppression: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, object]:
        """The record as values that JSON has."""
        units = [asdict(unit) for unit in self.units]
        lists = [{"file": file, "values": values} for file, values in self.suppression]
        listed = {"tool": self.tool, "as_of": self.as_of.isoformat(), "run_id": self.run_id, "to": self.to}
        return {**listed, "segments": units, "suppression": lists}


def check_record(record: ExportRecord, members: Mapping[str, int]) -> None:
    """Nobody is lost: every user is written or left out for one reason, and those written are in the files.

    Args:
        record: What an export counted.
        members: Published users of each segment.

    Raises:
        IntegrityError: Somebody is.
    """
    wrong = [
        f"  {unit.segment!r}, {unit.kind}: {unit.users} users ({members.get(unit.segment, 0)} members are published), "
        f"{unit.written} written, "
        f"{sum(unit.left_out.values())} left out, {sum(file.rows for file in unit.files)} in the files"
        for unit in record.units
        if unit.users != unit.written + sum(unit.left_out.values())
        or unit.written != sum(file.rows for file in unit.files)
        or (unit.kind == "members" and unit.users != members.get(unit.segment, 0))
    ]
    if wrong:
        raise IntegrityError(
            "users of the export are not accounted for:\n" + "\n".join(wrong),
            code="users-lost",
            hint="Nothing was written; run the command again, and report it when it comes back.",
        )
