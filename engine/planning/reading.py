"""The first tasks of every run: what is not rolled up yet is, what is rolled up is compared with its checksums.

As `engine.rollups.rolling`: units above a size are cut by rows and then by users, small ones are put together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.config import Config
from engine.events.ingest import Piece
from engine.execution.plan import TASK_ROWS, plan_buckets, plan_pieces
from engine.planning.census import Census, StaleUnit
from engine.planning.scope import Scope
from engine.planning.work import Call, Work
from engine.rollups.rolling import MOST_PORTIONS, WHOLE_ROWS
from engine.rollups.user_ids import MOST_KNOWN

DAILY_BYTES: Final = 14.0
"""Of one row of the store."""
ID_BYTES: Final = 10.0
"""Of one user in the list of ids."""
_VERIFY_BYTES: Final = 256 << 20
_COLLISION_USERS: Final = 5_000_000
_SPARE_BYTES: Final = 12.0
_COLUMN_SHARE: Final = 0.3
_ONE_BY_ONE: Final = 10_000


@dataclass(frozen=True)
class Inputs:
    """What the tasks of a run depend on.

    Attributes:
        forward: Rows and files of partials that a score reads when it brings totals forward; None when it reads all.
        is_first: Whether no date was published before: then everybody enters a segment.
        later: Dates published for later days, whose ledgers are corrected when this one is filled in before them.
        has_bundle: Whether a bundle is in use, which a fit compares with.
    """

    config: Config
    census: Census
    scope: Scope
    forward: tuple[int, int] | None = None
    is_first: bool = True
    has_bundle: bool = False
    later: int = 0

    @property
    def buckets(self) -> int:
        """Ranges of users."""
        return plan_buckets(self.census.rows, self.config.execution.rows_per_task)

    @property
    def users(self) -> float:
        """Users of a bucket."""
        return self.census.users / self.buckets

    @property
    def daily_files(self) -> int:
        """Files of partials once everything is rolled up."""
        return self.census.daily_files + sum(files_of_unit(self.config, unit.rows) for unit in self.census.stale)

    @property
    def files_of_bucket(self) -> float:
        """Files of partials that a task over the users of a bucket opens, on average.

        A file of a unit that was cut into `cut` ranges is opened for the buckets that share users with its range: the
        edges of both fall together only where both numbers have a common divisor.
        """
        cuts = Counter(self.census.daily_cuts)
        for unit in self.census.stale:
            cuts[files_of_unit(self.config, unit.rows)] += 1
        buckets = self.buckets
        return sum(units * (cut + buckets - math.gcd(cut, buckets)) / buckets for cut, units in cuts.items())

    def known_at(self, day: int, as_of_day: int) -> float:
        """Share of the users with an event before a day, when events come at random over the log."""
        first = self.census.first_day
        passed = min(1.0, max(0, day - first) / max(1, as_of_day - first))
        each = max(1.0, self.census.partials / max(1, self.census.users))
        return (1 - math.exp(-each * passed)) / (1 - math.exp(-each))


def reading_calls(inputs: Inputs, *, discovers: bool, rolled: bool = False) -> Iterator[Call]:
    """The calls of the stage `read`.

    Args:
        inputs: What they depend on.
        discovers: Whether event types are looked for first, as a fit does where they are not configured.
        rolled: Whether a fit before has rolled everything up.
    """
    census, config = inputs.census, inputs.config
    stale = () if rolled else census.stale
    rows = [unit.rows for unit in stale]
    per_row = sum(unit.bytes for unit in stale) / max(1, sum(rows))
    limit = config.execution.rows_per_task
    if discovers and not config.events.types and stale:
        sizes = _packed(rows, limit)
        each = _each("DiscoverTask", "rows", sizes, bytes_per_row=per_row * _COLUMN_SHARE)
        opened = sum(unit.files for unit in stale) / max(1, sum(sizes.values()))
        yield Call(
            "read", tuple(replace(work, sizes={**work.sizes, "files": opened}, files_read=opened) for work in each)
        )
    new_bytes = census.new_partials * DAILY_BYTES + sum(rows) * _SPARE_BYTES
    stored = census.store_bytes + (census.stale_rows and rolled) * (
        census.new_partials * DAILY_BYTES + census.stale_rows * _SPARE_BYTES
    )
    if stored:
        tasks = -(-int(stored) // _VERIFY_BYTES)
        share = stored / tasks
        yield Call(
            "read",
            (Work("VerifyTask", tasks, {"bytes": share}, bytes_read=share, files_read=census.store_files / tasks),),
        )
    if stale:
        written = new_bytes / max(1, sum(rows))
        yield from _roll(inputs, per_row, written)
        tasks = 1 + census.users // _COLLISION_USERS
        share = census.users / tasks
        yield Call("read", (Work("CollisionTask", tasks, {"users": share}, rows=share, bytes_read=share * ID_BYTES),))
    if config.contacts is not None:
        yield Call(
            "read",
            (
                Work(
                    "ContactsTask",
                    1,
                    {"rows": census.contacts},
                    rows=census.contacts,
                    bytes_read=census.contact_bytes,
                    bytes_written=census.contact_bytes,
                ),
            ),
        )
    if census.asks:
        rows_asked, read = census.consents, census.consent_bytes
        yield Call("read", (Work("PermitsTask", 1, {"rows": rows_asked}, rows=rows_asked, bytes_read=read),))


def _roll(inputs: Inputs, per_row: float, written: float) -> Iterator[Call]:
    """As `engine.rollups.rolling.roll_units`: units above a size are cut, small ones are put together."""
    config, census = inputs.config, inputs.census
    limit = min(config.execution.rows_per_task, TASK_ROWS)
    large: dict[int, int] = {}
    for unit in census.stale:
        if _ranges(config, unit.rows):
            large[unit.rows] = large.get(unit.rows, 0) + 1
    for rows, units in large.items():
        sizes = _packed([rows], limit)
        ranges = _ranges(config, rows)
        yield Call(
            "read",
            tuple(_each("PartTask", "rows", sizes, bytes_per_row=per_row, written=_SPARE_BYTES * 2)),
            times=units,
        )
        one = rows / ranges
        work = Work(
            "RangeTask",
            ranges,
            {"rows": one, "parts": sum(sizes.values())},
            rows=one,
            bytes_read=one * _SPARE_BYTES * 2,
            bytes_written=one * written,
            files_read=sum(sizes.values()),
            files_written=2,
        )
        yield Call("read", (work,), times=units)
    small = [unit for unit in census.stale if not _ranges(config, unit.rows)]
    if small:
        most = max(limit, sum(unit.rows for unit in small) // MOST_PORTIONS)
        known = census.users if census.users <= MOST_KNOWN else 0
        works = tuple(
            Work(
                "RollTask",
                1,
                {"units": units, "rows": rows, "files": files, "known": known},
                rows=rows,
                bytes_read=rows * per_row + known * ID_BYTES,
                bytes_written=rows * written,
                files_read=files,
                files_written=2 * units,
            )
            for units, rows, files in _portions(small, most)
        )
        yield Call("read", works)


def files_of_unit(config: Config, rows: int) -> int:
    """Files that the partials of a unit of so many rows have."""
    return max(1, _ranges(config, rows))


def _ranges(config: Config, rows: int) -> int:
    """Files that the partials of a unit are cut into; 0 of a unit that is rolled up as a whole."""
    if rows <= min(config.execution.rows_per_task, WHOLE_ROWS):
        return 0
    return -(-rows // min(config.execution.rows_per_task, TASK_ROWS))


def _packed(rows: Sequence[int], limit: int) -> dict[int, int]:
    """Tasks by their number of rows."""
    limit, total = min(limit, TASK_ROWS), sum(rows)
    if total // limit > _ONE_BY_ONE:
        left = {total % limit: 1} if total % limit else {}
        return {limit: total // limit, **left}
    pieces = [Piece(0, "", 0, number) for number in rows]
    return dict(Counter(sum(piece.rows for piece in task) for task in plan_pieces(pieces, limit)))


def _portions(units: Sequence[StaleUnit], limit: int) -> Iterator[tuple[int, int, int]]:
    """Units, rows and files of each task."""
    number = total = files = 0
    current: str | None = None
    for unit in units:
        if number and (unit.source != current or total + unit.rows > limit):
            yield number, total, files
            number = total = files = 0
        current = unit.source
        number, total, files = number + 1, total + unit.rows, files + unit.files
    if number:
        yield number, total, files


def _each(
    kind: str, name: str, sizes: Mapping[int, int], *, bytes_per_row: float, written: float = 0
) -> Iterator[Work]:
    """Tasks of some numbers of rows, equal ones together."""
    for rows, tasks in sizes.items():
        yield Work(
            kind,
            tasks,
            {name: rows},
            rows=rows,
            bytes_read=rows * bytes_per_row,
            bytes_written=rows * written,
            files_written=1 if written else 0,
        )
