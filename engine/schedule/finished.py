"""Whether a date is done: what `tamis run` would publish for it is published already.

Nothing but names, sizes, times of change and small records is looked at: the content of published files is what
`tamis verify` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Final

from engine.bundle import bundle_id
from engine.bundle_store import find_bundle
from engine.config import Config
from engine.config_file import config_hash
from engine.errors import IntegrityError
from engine.execution.journal import journalled
from engine.execution.protocol import Executor
from engine.fitting import conditions_of
from engine.identity import run_identity
from engine.ledger.cascade import pending_correction
from engine.progress import Progress
from engine.rollups.index import Entry
from engine.rollups.update import open_index, store_folder
from engine.schedule.late import BESIDE, EVENTS, input_marks
from engine.segments.definitions import definitions
from engine.stages.input import unit_name
from engine.stages.opening import Opened, open_run
from engine.stages.segmenting import segments_hash
from engine.stages.upkeep import bring_up_to_date
from engine.tables.layout import manifest_path
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.schema_policy import TABLE_VERSION
from engine.tables.verify import listing_problems
from engine.tables.workspace import workspace

UNREAD: Final = "files of the log that no run has read"
"""The reason that a look into new files can take away: they may hold late events of the date, or none."""
_RAN_WITH: Final[tuple[str, ...]] = ("config", "input", "bundle", "segments")
"""The fingerprints that the id of a run is made of, in their order."""


@dataclass(frozen=True)
class Log:
    """The input as it is now, beside what the rollups have of it.

    Attributes:
        opened: The configuration and its input.
        entries: What the rollups have of each unit that is as it was.
        unread: Units that are new or changed since they were rolled up: source and label.
    """

    opened: Opened
    entries: tuple[Entry, ...]
    unread: tuple[tuple[str, str], ...]

    @cached_property
    def segments(self) -> str:
        """What the segments are now."""
        return segments_hash(definitions(self.opened.config))

    @property
    def days(self) -> tuple[int, int] | None:
        """First and last day with an event that the rollups know of (days since 1970-01-01); None without any."""
        spans = [span for entry in self.entries if (span := entry.days) is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


@dataclass(frozen=True)
class Verdict:
    """Whether a date is done.

    Attributes:
        published: What is published for it; None when nothing is.
        reasons: Why a run would publish something else; none when the date is done.
    """

    published: Manifest | None
    reasons: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether a run would publish the same again."""
        return self.published is not None and not self.reasons

    @property
    def is_undecided(self) -> bool:
        """Whether only new files stand in the way, which may have nothing to do with the date."""
        return self.reasons == (UNREAD,)


def find_finished(config: Config, as_of: date) -> Manifest | None:
    """What is published for a date, when `tamis run` would publish the same; None when it is to be run.

    The same: the same events before the date and tables beside the log, by the names, sizes and times of change of
    their files, the same configuration and segments, the bundle that a run would use and no fit due, the same versions
    of the code, every published file there with its size, and no correction of its ledger outstanding. New files of
    the log that no run has read yet may hold late events: then it is to be run.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: Files that cannot be read, or whose columns do not fit.
    """
    out = Path(config.out).absolute()
    if not manifest_path(out, as_of).exists():
        return None
    verdict = judge(look_at(open_run(config)), as_of)
    since = pending_correction(out)
    return verdict.published if verdict.is_done and (since is None or since >= as_of) else None


def look_at(opened: Opened) -> Log:
    """The input of a configuration beside its rollups; nothing is read but the index."""
    index, _ = open_index(store_folder(Path(opened.config.out)))
    known = index.by_name()
    entries, unread = [], []
    for item in opened.given.units:
        name = unit_name(opened.config, item)
        entry = known.get(name)
        if entry is not None and entry.fingerprint == item.fingerprint:
            entries.append(entry)
        else:
            unread.append(name)
    return Log(opened, tuple(entries), tuple(unread))


def read_new(log: Log, executor: Executor, progress: Progress | None = None) -> Log:
    """The same with every unit read: what is new or changed is rolled up, as the next run would do.

    Raises:
        ConflictError: Another run is writing to the same output.
        DataError: The log cannot be used.
        ResourceError: The disk of the rollups is full or failing.
    """
    if not log.unread:
        return log
    opened = log.opened
    run_id = run_identity("rollup", None, opened.fingerprints)
    with workspace(Path(opened.config.out), run_id) as work, journalled(executor, work) as journal:
        bring_up_to_date(opened, work=work, executor=journal, progress=progress)
    return look_at(opened)


def judge(log: Log, as_of: date) -> Verdict:
    """Compare what is published for a date with what a run would publish."""
    opened = log.opened
    config, out = opened.config, Path(opened.config.out)
    try:
        manifest = read_manifest(manifest_path(out, as_of))
    except FileNotFoundError:
        return Verdict(None, ("nothing is published",))
    except IntegrityError:
        return Verdict(None, ("its manifest is damaged",))
    then = manifest.fingerprints
    reasons = []
    if any(
        found or sizes != {record.path: record.bytes for record in table.records}
        for table in manifest.tables
        for found, sizes in [listing_problems(out, table)]
    ):
        reasons.append("published files are not there")
    version = manifest.counts.get(TABLE_VERSION, 1)
    if then.get("config") != config_hash(config) or version != config.publish.table_version:
        reasons.append("another configuration")
    elif then.get("segments") != log.segments:
        reasons.append("other segments")
    reasons += _model_reasons(opened, as_of, manifest)
    ran_with = {name: then[name] for name in _RAN_WITH if name in then}
    if run_identity("score", as_of, ran_with) != manifest.run_id:
        reasons.append("other versions of the code")
    return Verdict(manifest, (*reasons, *_data_reasons(log, as_of, then)))


def _model_reasons(opened: Opened, as_of: date, manifest: Manifest) -> list[str]:
    config = opened.config
    folder = find_bundle(Path(config.out), as_of, conditions_of(opened), config.refit_after_days)
    if folder is None:
        return ["a fit is due"]
    return [] if bundle_id(folder) == manifest.bundle else ["another bundle"]


def _data_reasons(log: Log, as_of: date, then: Mapping[str, str]) -> list[str]:
    if then.get("input") == log.opened.fingerprints["input"]:
        return []
    now = input_marks(log.opened.config, log.entries, as_of)
    reasons = [] if then.get(BESIDE) == now.get(BESIDE) else ["other tables beside the log"]
    if log.unread:
        # What was counted then and is gone or another now: no look into new files can make that good.
        return [*reasons, UNREAD]
    return reasons if then.get(EVENTS) == now[EVENTS] else [*reasons, "late, corrected or removed events"]
