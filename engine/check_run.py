"""The job that reads the whole log and counts what would become of its rows."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.config import Config
from engine.events.checks import rows_read
from engine.execution.protocol import Executor
from engine.features.choice import feature_spec
from engine.features.windows import day_number
from engine.fitting import check_rules
from engine.identity import run_identity
from engine.progress import Progress
from engine.record import RunRecord
from engine.stages.accounting import (
    Stopwatch,
    ingest_counts,
)
from engine.stages.learning import check_history
from engine.stages.notices import quarantined_files, stale_log
from engine.stages.opening import open_run
from engine.stages.preparation import count_rows


def check_run(
    config: Config, as_of: date | None = None, *, executor: Executor, progress: Progress | None = None
) -> RunRecord:
    """Read the whole log and count what would become of its rows; nothing is written.

    Args:
        config: The configuration.
        as_of: First day that is not used; every event counts when None.
        executor: Where the tasks run.
        progress: Told how far each stage is.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: The log cannot be used, or is too short for a target as of `as_of`.
    """
    watch = Stopwatch()
    day = as_of or date.max - timedelta(days=1)
    with TemporaryDirectory() as cache:
        opened = open_run(config, cache=Path(cache))
        with watch.stage("read"):
            total, types = count_rows(config, opened.given, day, executor=executor, progress=progress)
    priced = frozenset(count.event_type for count in total.types if count.priced)
    check_rules(config, feature_spec(config, types, priced, opened.contacts), opened.contacts)
    warnings = quarantined_files(total.quarantined)
    if as_of is not None:
        check_history(config.targets, total.first_day or 0, total.last_day or 0, day_number(as_of))
        warnings += stale_log(config, total.last_day, as_of)
    counts = {
        "rows": {
            "read": rows_read(total),
            "left_out": total.left_out,
            **({"excluded": total.excluded} if total.excluded else {}),
            **({"erased": total.erased} if total.erased else {}),
            "rejected": sum(total.rejected.values()),
            "after_as_of": total.after_as_of,
            "passed": total.passed,
        },
        **ingest_counts(total),
        "warnings": warnings,
    }
    return RunRecord(run_identity("check", as_of, opened.fingerprints), as_of, counts, watch.timings())
