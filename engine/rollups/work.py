"""What is to be rolled up: the settings of a source, a unit with its rows, and the units that come before it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.config import Exclude, Machines, Source
from engine.events.condition import condition
from engine.events.ingest import Piece, Roles
from engine.privacy.ids import IdRules
from engine.rollups.index import Code
from engine.rollups.units import Unit, date_in

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class RollSettings:
    """What decides how a unit is rolled up.

    Attributes:
        store: Folder of the store.
        source: The source.
        timezone: Zone of the days.
        currency_digits: Decimals of the minor unit.
        codes: What each code of the store stands for.
        coded: The codes to roll up.
        event_types: Event types whose events are kept one by one.
        event_columns: Canonical columns these have.
        rekeyed: User ids that share a key with another one, and the salt of their own.
        machines, roles: How opens and clicks of machines are told, and which event types they are.
        exclude: Users who do not count.
        links: File with the links of ids, relative to the store; None without.
        ids: What becomes of ids.
    """

    store: str
    source: Source
    timezone: str
    currency_digits: int
    codes: tuple[Code, ...]
    coded: tuple[int, ...]
    event_types: tuple[str, ...] = ()
    event_columns: tuple[str, ...] = ()
    rekeyed: tuple[tuple[str, int], ...] = ()
    machines: Machines = field(default_factory=Machines)
    roles: Roles = field(default_factory=Roles)
    exclude: Exclude = field(default_factory=Exclude)
    links: str | None = None
    ids: IdRules = field(default_factory=IdRules)

    def stem(self, unit: Unit, fingerprint: str) -> str:
        """The name of a unit's files: its source, its label, and a mark of everything that decides their content."""
        coded = [(code, self.codes[code].event_type, self.codes[code].where) for code in self.coded]
        wanted = f"{fingerprint} {coded} {self.event_types} {self.event_columns} {self.rekeyed} {self.links}"
        if self.ids.erased is not None:
            # The same files have fewer rows once somebody was erased.
            wanted += f" {self.ids.erased}"
        mark = hashlib.sha256(wanted.encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.source.name)[:40]
        is_day = date_in(unit.label) == unit.label
        label = unit.label if is_day else hashlib.sha256(unit.label.encode()).hexdigest()[:10]
        return f"{name}-{label if unit.label else 'all'}-{mark}"

    def plain(self) -> dict[str, int]:
        """The code of each event type that is rolled up."""
        return {self.codes[code].event_type: code for code in self.coded if self.codes[code].where is None}

    def derived(self) -> list[tuple[int, pl.Expr, tuple[str, ...]]]:
        """The codes that stand for events under a condition, the condition, and the columns it reads."""
        return [
            (code, *condition(where, "where")) for code in self.coded if (where := self.codes[code].where) is not None
        ]


@dataclass(frozen=True)
class UnitWork:
    """One unit to roll up.

    Attributes:
        pieces: The rows of its files.
        fingerprint: Of the entry that it becomes.
        ids: Name of the file with its ids, `/` between folders, relative to the store.
        before: The units it looks back to.
        keeps_ids: Whether a later unit may look back to it.
    """

    unit: Unit
    pieces: tuple[Piece, ...]
    fingerprint: str
    ids: str
    before: tuple[LookBack, ...] = ()
    keeps_ids: bool = False

    @property
    def rows(self) -> int:
        """Rows of its files."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True)
class LookBack:
    """A unit that comes before another one.

    Attributes:
        label: Its label.
        ids: The files with its ids, relative to the store; they may not be there.
        pieces: Its rows, to find the ids in when they are not.
    """

    label: str
    ids: tuple[str, ...]
    pieces: tuple[Piece, ...]
