"""Consents and objections of a run: read once as of its day, and asked for in every task that works on users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import polars as pl

from engine.config import Config, Target
from engine.config_consent import Consent
from engine.consent.inputs import asked_of_all, inputs_of
from engine.consent.permits import (
    OPPOSED,
    PURPOSES,
    REFUSED,
    Permits,
    Withheld,
    allowed,
    bits,
    consent_counts,
    join_permits,
    total_withheld,
    withhold,
)
from engine.consent.read import ConsentRecord, PermitsTask, write_permits
from engine.errors import DataError
from engine.execution.protocol import Executor
from engine.features.spec import FeatureSpec
from engine.ledger import causes
from engine.privacy.ids import IdRules
from engine.progress import Progress, track
from engine.propensity.population import agreed_column
from engine.remote.fetch import cache_folder
from engine.rollups.bucket import Bucket
from engine.rollups.index import Index
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange
from engine.segments.definitions import segment_purposes
from engine.stages.features import BucketFeatures
from engine.tables.durable import durable_parquet_at

if TYPE_CHECKING:
    from engine.segments.definition import Definition
    from engine.stages.input import Input
    from engine.stages.preparation import Prepared

PERMITS: Final = "permits.parquet"
GONE_FOLDER: Final = "_withheld"
"""Folder of a run's work folder."""


class BucketRecord(Protocol):
    """What every stage that asks for consents tells of a bucket."""

    @property
    def users(self) -> int:
        """Users of whom something is computed."""
        ...

    @property
    def withheld(self) -> Withheld:
        """Further users with an event before the day."""
        ...


@dataclass(frozen=True)
class Asked:
    """What a run knows of consents and objections.

    Attributes:
        permits: What tasks are told; None where nobody was asked and nobody objects.
        record: What became of the rows of the log.
    """

    permits: Permits | None = None
    record: ConsentRecord | None = None


def read_permits(  # noqa: PLR0913 - what a run knows by then
    config: Config,
    as_of: date,
    *,
    user_dtype: str,
    index: Index,
    ids: IdRules,
    links: pl.DataFrame | None,
    opposed: pl.Series | None,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> Asked:
    """Read the log of consents as of the day, and who objects.

    Args:
        config: The configuration.
        as_of: Rows from its midnight on play no part.
        user_dtype: Type of the user ids of the store.
        index: The store.
        ids: What becomes of ids as they are read.
        links: `from_id` and `to_id`, as the store has them; None without any.
        opposed: Ids of the users who object, as the store has them; None where there is no list.
        work: Folder for what is only needed by this run.
        executor: Where it is read.
        progress: Told when it is done.

    Raises:
        DataError: As `engine.consent.read.write_permits`.
    """
    if config.consent is None and opposed is None:
        return Asked()
    part = str(work / PERMITS)
    task = PermitsTask(
        consent=config.consent,
        as_of=as_of,
        timezone=config.timezone,
        part=part,
        user_dtype=user_dtype,
        rekeyed=tuple(sorted(index.rekeyed.items())),
        ids=ids,
        links=_staged(links, ("from_id", "to_id"), work / "permits-links.parquet"),
        opposed=_staged(
            None if opposed is None else opposed.alias("user_id").to_frame(), ("user_id",), work / "opposed.parquet"
        ),
        cache=str(cache_folder(Path(config.out))),
    )
    [record] = executor.map(write_permits, [task], on_done=track(progress, "read consents", 1))
    known, process = ((), ()) if config.consent is None else (config.consent.known, asked_of_all(config.consent))
    return Asked(Permits(part, known, process, inputs_of(config.consent)), record)


def check_consent(config: Config, given: Input, as_of: date, executor: Executor) -> None:
    """Read the log of consents as a run of the day would, without writing anything.

    Raises:
        DataError: As `engine.consent.read.write_permits`.
    """
    if config.consent is not None:
        task = PermitsTask(config.consent, as_of, config.timezone, None, given.user_dtype, ids=given.ids)
        executor.map(write_permits, [task])


def _staged(frame: pl.DataFrame | None, columns: Sequence[str], path: Path) -> str | None:
    if frame is None or frame.is_empty():
        return None
    write_part(frame.select(columns), path)
    return str(path)


@dataclass(frozen=True, eq=False)
class Others:
    """The users of a bucket with events before the day of whom nothing is computed.

    Attributes:
        counts: How many, by reason.
        users: `user_id` and `cause` (`engine.ledger.causes`), sorted by id; without those none of whose events counts.
    """

    counts: Withheld
    users: pl.DataFrame | None = None

    def write(self, staging: Path, stem: str) -> str | None:
        """Write them for the ledger, beside the tables; the file, or None without any."""
        if self.users is None or self.users.is_empty():
            return None
        path = staging / GONE_FOLDER / f"{stem}.parquet"
        durable_parquet_at(self.users, path, compression="lz4")
        return str(path)


def permitted(bucket: BucketFeatures, permits: Permits | None, keys: KeyRange) -> tuple[BucketFeatures, Others]:
    """The features of the users for whom the run may compute anything, and the others.

    Args:
        bucket: The features of a bucket.
        permits: What is asked of users; None: nothing.
        keys: The bucket's range.

    Returns:
        The bucket with `PURPOSES` in its users, and without the features of those who are withheld.
    """
    if permits is None:
        return bucket, Others(Withheld())
    users, stays, others = _asked(bucket, permits, keys)
    features = bucket.features if stays is None else bucket.features.filter(stays)
    return replace(bucket, users=users, features=features), others


def permitted_users(bucket: BucketFeatures, permits: Permits | None, keys: KeyRange) -> tuple[pl.DataFrame, Others]:
    """The users of a bucket for whom the run may compute anything, for who joins the features to them, and the others.

    The features themselves are left as they are: to copy a hundred columns without a few rows takes as long as all else
    that is asked here, and the join copies them anyway.

    Args:
        bucket: The features of a bucket.
        permits: What is asked of users; None: nothing.
        keys: The bucket's range.

    Returns:
        The users of the bucket with `PURPOSES`, in their order, without those who are withheld.
    """
    if permits is None:
        return bucket.users, Others(Withheld())
    users, stays, others = _asked(bucket, permits, keys)
    if stays is not None:
        gone = bucket.features["user"].filter(~stays)
        users = users.filter(~pl.col("user").is_in(gone.implode()))
    return users, others


def _asked(bucket: BucketFeatures, permits: Permits, keys: KeyRange) -> tuple[pl.DataFrame, pl.Series | None, Others]:
    """All users with `PURPOSES`, whose features stay (by row; None: all of them), and the others."""
    joined = join_permits(bucket.users, permits.part, keys)
    # The number of a user is its row.
    own = joined.select("user", PURPOSES, REFUSED, OPPOSED)[bucket.features["user"]]
    found = withhold(own, permits)
    counts = replace(found.withheld, unusable=bucket.unusable)
    users = joined.drop(REFUSED, OPPOSED)
    if not found.withheld.users:
        return users, None, Others(counts)
    stays = own["user"].is_in(found.users["user"].implode())
    gone = joined.filter(pl.col("user").is_in(own["user"].filter(~stays).implode()))
    return users, stays, Others(counts, gone.select("user_id", cause=_cause(permits)).sort("user_id"))


def _cause(permits: Permits) -> pl.Expr:
    wanted = pl.lit(bits(permits.process, permits.known), pl.UInt32)
    withdrew = (pl.col(REFUSED) & wanted) != 0
    return (
        pl.when(OPPOSED)
        .then(pl.lit(causes.OBJECTED))
        .when(withdrew)
        .then(pl.lit(causes.CONSENT_WITHDRAWN))
        .otherwise(pl.lit(causes.CONSENT_MISSING))
    )


def permitted_rows(
    bucket: Bucket, spec: FeatureSpec, targets: Sequence[Target], permits: Permits | None, keys: KeyRange
) -> tuple[pl.DataFrame, Bucket, Withheld]:
    """The users of a bucket for whom the run may compute anything, and their rows.

    Args:
        bucket: Users and rows before the day.
        spec: The features.
        targets: The targets.
        permits: What is asked of users; None: nothing.
        keys: The bucket's range.

    Returns:
        `user` (number), `user_key` and `user_id` of these users, with what `with_agreed` adds; the bucket with their
        rows alone and the numbers of users as they were; and the other users with an event, counted.
    """
    users = bucket.users.with_row_index("user")
    if permits is None:
        return users, bucket, Withheld()
    joined = join_permits(users, permits.part, keys)
    present = bucket.daily.filter(pl.col("type") < len(spec.types))["user"].unique()
    withheld = withhold(joined.filter(pl.col("user").is_in(present.implode())), permits).withheld
    own = withhold(joined, permits).users
    stays = np.zeros(users.height, dtype=np.bool_)
    stays[own["user"].to_numpy()] = True

    def kept(rows: pl.DataFrame) -> pl.DataFrame:
        of_own = stays[rows["user"].to_numpy()]
        return rows if of_own.all() else rows.filter(pl.Series(of_own))

    events = None if bucket.events is None else kept(bucket.events)
    asked = with_agreed(own, targets, permits).drop(PURPOSES, REFUSED, OPPOSED)
    return asked, replace(bucket, daily=kept(bucket.daily), events=events), withheld


def only_permitted(users: pl.DataFrame, permits: Permits | None, keys: KeyRange) -> pl.DataFrame:
    """The users of a bucket (`user_key`, `user_id`) for whom the run may compute anything, in their order."""
    if permits is None:
        return users
    return withhold(join_permits(users, permits.part, keys), permits).users.select(users.columns)


def with_agreed(users: pl.DataFrame, targets: Sequence[Target], permits: Permits | None) -> pl.DataFrame:
    """Users with a column per target that asks for purposes: whether they agreed to all of them.

    Args:
        users: One row per user with `PURPOSES`.
        targets: The targets.
        permits: What users agreed to; None where nobody was asked: then nobody agreed to anything.
    """
    asking = [target for target in targets if target.purposes]
    return users.with_columns(
        (pl.lit(value=False) if permits is None else allowed(target.purposes, permits.known)).alias(
            agreed_column(target.name)
        )
        for target in asking
    )


def agreed_to(users: pl.DataFrame, definitions: Sequence[Definition], permits: Permits | None) -> dict[str, pl.Series]:
    """By segment that asks for purposes, whether each user agreed to all of them.

    Args:
        users: One row per user with `PURPOSES`.
        definitions: The segments.
        permits: What users agreed to; None where nobody was asked: then no segment can ask.
    """
    asking = {} if permits is None else {one.name: one.purposes for one in definitions if one.purposes}
    if permits is None or not asking:
        return {}
    held = users.select(allowed(purposes, permits.known).alias(name) for name, purposes in asking.items())
    return {name: held[name] for name in asking}


def consent_told(config: Config, prepared: Prepared, buckets: Sequence[BucketRecord]) -> dict[str, Any]:
    """What the manifest says of consents: `withheld`, `consent`, `consent_log`, `purposes`; nothing without any.

    Args:
        config: The configuration.
        prepared: The rollups of the run, with its permits.
        buckets: What became of the buckets.

    Raises:
        DataError: Nobody is left.
    """
    permits, record = prepared.asked.permits, prepared.asked.record
    if permits is None:
        return {}
    total = total_withheld([bucket.withheld for bucket in buckets])
    users = sum(bucket.users for bucket in buckets)
    if not users and total.users:
        reasons = [f"{number} did not agree to {purpose}" for purpose, number in total.lacking if number]
        reasons += [f"{total.opposed} object"] if total.opposed else []
        reasons += [f"{total.unusable} agreed to the use of none of their events"] if total.unusable else []
        lines = [f"nothing may be computed of any of the {total.users} users: {', '.join(reasons)}"]
        # Of a log none of whose instants can be read, everybody was never asked.
        lines += [] if record is None else record.warnings()
        raise DataError(
            "\n  ".join(lines),
            code="consent-nobody",
            hint="Check that consent.user_id has the same ids as the events, that the log of consents reaches up to "
            "the day, and consent.process; `tamis consent` shows what the log says.",
        )
    told: dict[str, Any] = {**consent_counts(total, permits)}
    if config.consent is not None and record is not None:
        told |= {"consent_log": record.to_dict(), "purposes": purposes_of(config, config.consent)}
    return told


def purposes_of(config: Config, consent: Consent) -> dict[str, Any]:
    """For which purpose what is computed: `process` stands for everything, the others are asked for beside it."""
    asked = {
        "inputs": {purpose: list(types) for purpose, types in consent.inputs.items() if types},
        "scores": {target.name: list(target.purposes) for target in config.targets if target.purposes},
        "segments": {name: list(purposes) for name, purposes in segment_purposes(config).items()},
    }
    parts = {name: dict(sorted(each.items())) for name, each in asked.items() if each}
    return {"process": list(asked_of_all(consent)), **parts, "exports": list(consent.exports)}


def consent_warnings(prepared: Prepared) -> list[str]:
    """What is worth a word of the log of consents."""
    record = prepared.asked.record
    return [] if record is None else record.warnings()
