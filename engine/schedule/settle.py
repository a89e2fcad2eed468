"""What runs that died have left to be done, so that a date that is found published needs nothing more."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from engine.config import Config
from engine.execution.protocol import Executor
from engine.formats.commit import publish_again
from engine.ledger.cascade import correct_later, pending_correction
from engine.progress import Progress
from engine.remote.address import is_remote
from engine.schedule.finished import judge, look_at, read_new
from engine.stages.opening import open_run
from engine.tables.layout import manifest_path, work_root
from engine.tables.lock import writer_lock
from engine.tables.manifest import Manifest
from engine.tables.publish import INTENT, recover
from engine.why.published import published_dates


def settle(config: Config, executor: Executor, progress: Progress | None = None) -> None:
    """Complete publishes that were cut short, correct ledgers that wait for it, and commit what the format lacks.

    Raises:
        ConflictError: Another run is writing to the same output.
        IntegrityError: A publish cannot be completed, or published files are not those of their manifests.
        TamisError: As `engine.formats.commit.commit_published`.
    """
    out = Path(config.out).absolute()
    if any(work_root(out).glob(f"*/{INTENT}")):
        with writer_lock(out, "settle"):
            recover(out)
    correct(config, executor, progress)
    is_committed = config.publish.format != "parquet" or is_remote(config.publish.url or "")
    if is_committed and published_dates(out):
        publish_again(config)


def correct(config: Config, executor: Executor, progress: Progress | None = None, until: date | None = None) -> None:
    """Correct the ledgers that a run has left to be corrected, as far as `until`, if there are any.

    Raises:
        ConflictError: Another run is writing to the same output.
        IntegrityError: Published files are not those of their manifests.
    """
    out = Path(config.out).absolute()
    since = pending_correction(out)
    if since is None or (until is not None and since >= until):
        return
    with writer_lock(out, "ledger"):
        correct_later(out, since, executor, progress, until=until)


def finish(config: Config, as_of: date, executor: Executor, progress: Progress | None = None) -> Manifest | None:
    """As `engine.schedule.finished.find_finished`, certain also where new files of the log came, and nothing is left.

    Files that no run has read are rolled up, which the next run would have to do, if they are all that the answer
    hangs on; what runs that died have left undone is done.

    Raises:
        TamisError: As `settle` and `engine.schedule.finished.read_new`.
    """
    if not manifest_path(Path(config.out).absolute(), as_of).exists():
        return None
    settle(config, executor, progress)
    log = look_at(open_run(config))
    verdict = judge(log, as_of)
    if verdict.is_undecided:
        verdict = judge(read_new(log, executor, progress), as_of)
    return verdict.published if verdict.is_done else None
