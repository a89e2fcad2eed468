"""Whom a run will move: a share of the users is scored as the run would do it, and compared with the last date.

Whole users are taken: those of a range of user keys, which are hashes. What is not rolled up yet is rolled up in a
temporary copy of the store (hard links where the file system has them); nothing is written below the output root.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from engine.bundle import load_bundle
from engine.bundle_store import find_bundle
from engine.config import Config
from engine.config_segments import PRIMARY
from engine.contacts.duplicates.decisions import decisions_file
from engine.errors import ConfigError
from engine.events.files import locate_files, text_kind
from engine.execution.protocol import Executor
from engine.fitting import conditions_of
from engine.ledger.previous import Previous, find_previous, nearest_ledger, previous_members, previous_of
from engine.privacy.opposed import opposed_file
from engine.progress import Progress
from engine.remote.address import RemoteFile
from engine.rollups.index import INDEX_NAME
from engine.rollups.ranges import KEYS, KeyRange
from engine.rollups.update import open_index, store_folder
from engine.segments.static_lists import linked_lists
from engine.stages.accounts import account_files
from engine.stages.features import wanted_of
from engine.stages.input import read_links
from engine.stages.memberships import staged_lists
from engine.stages.opening import Opened, open_run
from engine.stages.preparation import prepare
from engine.stages.schemas import bundle_schema
from engine.stages.scoring import ScoreTask, check_attributes, check_finite, check_user_ids, score_bucket
from engine.stages.segmenting import applied_of, compile_applied
from engine.why.published import published_dates

LEAST_USERS: Final = 1_000
"""Of a small base more than the share is taken: fewer users tell nothing of small segments."""
_Z: Final = 1.959963984540054
"""Of a normal distribution, 95 % lie within so many standard deviations."""


@dataclass(frozen=True)
class Moved:
    """What becomes of one segment.

    Attributes:
        segment, group: Name and group; None for a tag.
        before: Users of the last published date; None without one.
        after: Users that the run will put there, scaled up.
        low, high: Where `after` lies with 95 % confidence.
        entering, leaving: Users of the sample who enter and leave it.
    """

    segment: str
    group: str | None
    before: int | None
    after: int
    low: int
    high: int
    entering: int
    leaving: int


@dataclass(frozen=True)
class Audience:
    """Whom a run will move.

    Attributes:
        as_of: Day of the run.
        compared: The day itself where it is published, else the last one before it; None without one.
        bundle: Id of the bundle that scored the sample.
        users: Users of the sample, and `share` of all that they are.
        moved: Users of the sample whose segment of the primary group is another one.
        segments: By size.
    """

    as_of: date
    compared: date | None
    bundle: str
    users: int
    share: float
    moved: int
    segments: tuple[Moved, ...]


def find_audience(
    config: Config, as_of: date, *, executor: Executor, share: float, progress: Progress | None = None
) -> Audience:
    """Score a share of the users with the bundle in use, and compare.

    Args:
        config: The configuration.
        as_of: Day of the run.
        executor: Where the tasks run; in this process is fastest for a share.
        share: Of the users, in (0, 1].
        progress: Told how far each stage is.

    Raises:
        ConfigError: No bundle fits the configuration and the day.
        DataError: The log cannot be used.
    """
    out = Path(config.out).absolute()
    with TemporaryDirectory(prefix="tamis-plan-") as name:
        place = Path(name)
        opened = open_run(config, cache=place) if _is_text_or_remote(config) else open_run(config)
        folder = find_bundle(out, as_of, conditions_of(opened))
        if folder is None:
            raise ConfigError(
                f"no bundle fits this configuration as of {as_of}: whom a run will move is known after a fit",
                code="plan-audience",
                hint=f"Run `tamis fit --as-of {as_of}`, or leave --audience out.",
            )
        _copy_store(store_folder(out), store_folder(place))
        _copy_people(out, place)
        previous = find_previous(out, as_of)
        sampled, keys, users = _scored(opened, as_of, folder, place, previous, executor, share, progress)
        return _compared(sampled, users, keys, _replaced(out, as_of) or previous, as_of, folder.name)


def _replaced(out: Path, as_of: date) -> Previous | None:
    """What the date was published with, which a run would replace."""
    manifest = nearest_ledger(out, [day for day in published_dates(out) if day == as_of])
    return None if manifest is None else previous_of(manifest, out)


def _is_text_or_remote(config: Config) -> bool:
    files = [file for source in config.sources for file in locate_files(source.name, source.path, text=True)]
    return any(isinstance(file, RemoteFile) or text_kind(file) is not None for file in files)


def _copy_store(store: Path, to: Path) -> None:
    index, _ = open_index(store)
    for file in index.files():
        target = to / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(store / file.path)
        except OSError:
            if (store / file.path).exists():
                shutil.copy2(store / file.path, target)
    if (store / INDEX_NAME).exists():
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy2(store / INDEX_NAME, to / INDEX_NAME)


def _copy_people(out: Path, place: Path) -> None:
    """Who objects, and which contacts are one person: a run asks for both in the output root."""
    for file in (opposed_file(out), decisions_file(out)):
        if file.exists():
            target = place / file.relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _scored(
    opened: Opened,
    as_of: date,
    folder: Path,
    place: Path,
    previous: Previous | None,
    executor: Executor,
    share: float,
    progress: Progress | None,
) -> tuple[pl.DataFrame, KeyRange, int]:
    """`user_id`, `segment`, `group` of the users of a range of keys, the range, and how many they are."""
    config = opened.config.model_copy(update={"out": str(place)})
    fitted = load_bundle(folder)
    contacts = check_attributes(fitted, opened.contacts)
    check_user_ids(fitted, opened.given.user_dtype)
    applied = applied_of(config, fitted.spec, contacts)
    compiled = compile_applied(applied, bundle_schema(fitted), as_of)
    work = place / "work"
    work.mkdir()
    prepared = prepare(
        config,
        opened.given,
        as_of,
        work=work,
        executor=executor,
        progress=progress,
        types=tuple(kind.name for kind in fitted.spec.types if kind.of is None),
        wanted=wanted_of(applied.spec, config.targets, compiled.measures),
    )
    everyone = sum(file.rows for file in prepared.index.users)
    keys = KeyRange(0, max(1, int(KEYS * min(1.0, max(share, LEAST_USERS / max(1, everyone))))))
    accounts = account_files(
        prepared,
        prepared.shelf,
        applied.spec,
        (prepared.shelf.end_day,),
        work=work,
        executor=executor,
        progress=progress,
    )
    task = ScoreTask(
        bucket=0,
        keys=keys,
        shelf=prepared.shelf,
        contacts=None if prepared.contacts is None else prepared.contacts.part,
        as_of=as_of,
        bundle=str(folder),
        applied=applied,
        staging=str(work),
        mark="plan",
        threads=executor.threads,
        accounts=accounts,
        lists=staged_lists(linked_lists(opened.lists, read_links(config, opened.given)), work),
        previous=previous if compiled.plan.tenures else None,
        cluster_names=tuple(config.clusters.names.items()),
        permits=prepared.asked.permits,
    )
    [record] = executor.map(score_bucket, [task])
    check_finite([record])
    columns = ("user_id", "segment", "group")
    if record.sets is None:
        user = pl.Int64 if opened.given.user_dtype == "Int64" else pl.String
        return pl.DataFrame(schema={"user_id": user, "segment": pl.String, "group": pl.String}), keys, 0
    return pl.read_parquet(record.sets, columns=list(columns), glob=False, hive_partitioning=False), keys, record.users


# ----------------------------------------------------------------------------------------------------------- comparing


def _compared(
    sampled: pl.DataFrame,
    users: int,
    keys: KeyRange,
    previous: Previous | None,
    as_of: date,
    bundle: str,
) -> Audience:
    share = (keys.end - keys.start) / KEYS
    now = sampled.select("user_id", "segment", pl.col("group").cast(pl.String))
    then = None
    sizes: Mapping[str, int] = {}
    if previous is not None:
        then = previous_members(previous, keys, now.select("user_id").unique())
        then = then.select("user_id", "segment", pl.col("group").cast(pl.String))
        sizes = _sizes(previous)
    groups = dict(now.select("segment", "group").unique().iter_rows())
    if then is not None:
        groups = dict(then.select("segment", "group").unique().iter_rows()) | groups
    counts = dict(now.group_by("segment").len().iter_rows())
    entering = _only(now, then)
    leaving = {} if then is None else _only(then, now)
    segments = []
    for name in sorted({*groups, *sizes}):
        before = None if then is None else sizes.get(name, 0)
        after, low, high = scaled(counts.get(name, 0), before, entering.get(name, 0), leaving.get(name, 0), share)
        segments.append(
            Moved(name, groups.get(name), before, after, low, high, entering.get(name, 0), leaving.get(name, 0))
        )
    return Audience(
        as_of=as_of,
        compared=None if previous is None else previous.as_of,
        bundle=bundle,
        users=users,
        share=share,
        moved=_moved(now, then),
        segments=tuple(sorted(segments, key=lambda one: (-one.after, one.segment))),
    )


def scaled(count: int, before: int | None, entering: int, leaving: int, share: float) -> tuple[int, int, int]:
    """Users of a segment from a sample of them, and where they lie with 95 % confidence.

    With a date before, only the change is scaled up: the difference estimator of W. Cochran, "Sampling techniques"
    (1977), chapter 7. Each user is in the sample by chance, so counts are Poisson, thinned by the share; no count at
    all is taken as one, so that it does not pass for certainty.

    Args:
        count: Users of the sample in the segment.
        before: All users of the segment on the date before; None without one.
        entering, leaving: Users of the sample who enter and leave.
        share: Of the users that are in the sample.
    """
    if before is None:
        total, spread = count / share, math.sqrt(max(1, count) * (1 - share)) / share
    else:
        total = before + (entering - leaving) / share
        spread = math.sqrt(max(1, entering + leaving) * (1 - share)) / share
    return max(0, round(total)), max(0, round(total - _Z * spread)), max(0, round(total + _Z * spread))


def _only(one: pl.DataFrame, other: pl.DataFrame | None) -> dict[str, int]:
    """Users per segment who are in it in one frame and not in the other."""
    rows = one if other is None else one.join(other, on=["user_id", "segment"], how="anti")
    return dict(rows.group_by("segment").len().iter_rows())


def _moved(now: pl.DataFrame, then: pl.DataFrame | None) -> int:
    if then is None:
        return 0
    primary = [frame.filter(pl.col("group") == PRIMARY).select("user_id", "segment") for frame in (now, then)]
    both = primary[0].join(primary[1], on="user_id", how="inner", suffix="_then")
    return both.filter(pl.col("segment") != pl.col("segment_then")).height


def _sizes(previous: Previous) -> dict[str, int]:
    """Users of each segment on the date before."""
    paths = previous.paths("memberships")
    if not paths:
        return {}
    rows = pl.scan_parquet(paths, glob=False, hive_partitioning=False).group_by("segment").len().collect()
    return dict(rows.iter_rows())
