"""The quality of the data of a run: measured and compared with its limits before anything is computed of users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import Config
from engine.quality.limits import judge
from engine.quality.measure import measure
from engine.quality.published import values_before
from engine.quality.table import Measured, frame, with_previous
from engine.stages.preparation import Prepared

if TYPE_CHECKING:
    import polars as pl

    from engine.stages.scoring import ScoreRecord

_RUN = "run"


@dataclass(frozen=True)
class Quality:
    """What was measured of the data of a run.

    Attributes:
        measured: Beside the values of the date before, with their status.
        warnings: What is said of measurements that break a limit.
    """

    measured: tuple[Measured, ...]
    warnings: tuple[str, ...]

    def table(self, buckets: Sequence[ScoreRecord]) -> pl.DataFrame:
        """The table `quality` of the run.

        Args:
            buckets: What became of the users.
        """
        return frame([*self.measured, *_of_run(self.measured, buckets)])


def with_quality(prepared: Prepared, config: Config, as_of: date) -> tuple[Prepared, Quality]:
    """What was prepared for a run, and what is measured of it.

    Raises:
        DataError: Limits that are broken and are to stop the run; all of them at once.
        IntegrityError: Rows of a source do not add up.
    """
    before = values_before(Path(config.out), as_of)
    found = measure(config, prepared.index.entries, prepared.contacts, as_of, prepared.types)
    judged = judge(with_previous(found, before), config.quality.limits)
    return prepared, Quality(judged.measured, judged.warnings)


def _of_run(measured: Sequence[Measured], buckets: Sequence[ScoreRecord]) -> list[Measured]:
    """Rows of all sources by what became of them, and what became of the users whose events were kept."""
    rows: Counter[str] = Counter()
    for one in measured:
        if one.scope == "source" and one.day is None and one.metric.startswith("rows_"):
            rows[one.metric] += one.numerator
    scored = sum(bucket.users for bucket in buckets)
    withheld = sum(bucket.withheld.users for bucket in buckets)
    users = {"users": scored + withheld, "users_scored": scored, "users_withheld": withheld}
    return [Measured(_RUN, _RUN, metric, None, number) for metric, number in (*rows.items(), *users.items())]
