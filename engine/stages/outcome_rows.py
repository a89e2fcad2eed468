"""What users did after a published date, as far as it may be looked at: of whom, and in which rows.

In: a bucket up to the end of a horizon, and what users agreed to by then. Out: the users who may be compared, their
rows alone, and for whom of them the event of a target counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Target
from engine.consent.inputs import Inputs
from engine.consent.permits import Permits
from engine.features.spec import FeatureSpec
from engine.propensity.population import agreed_column
from engine.rollups.bucket import Bucket
from engine.rollups.index import Code
from engine.rollups.ranges import KeyRange
from engine.stages.permitting import permitted_rows
from engine.stages.reduced import usable


@dataclass(frozen=True, eq=False)
class OutcomeRows:
    """The users of a bucket who may be compared, and their rows.

    Attributes:
        users: `user` (number), `user_key`, `user_id`; where targets ask for purposes that are known, with
            `agreed_column` of each.
        daily: Partials of these users, as far as they count for them.
        lacks: `LACKS` of each user of the bucket; None where every event counts.
        permits: What users agreed to; None where nobody was asked and nobody objects.
    """

    users: pl.DataFrame
    daily: pl.DataFrame
    lacks: pl.Series | None
    permits: Permits | None

    def counts(self, target: Target, spec: FeatureSpec) -> pl.Series:
        """Whether the outcome of a target may be told of each of the users (Boolean): their event counts for it.

        Args:
            target: The target; nobody agreed to purposes of it that are no longer known.
            spec: The features.
        """
        every = pl.repeat(value=True, n=self.users.height, dtype=pl.Boolean, eager=True)
        if self.permits is None:
            return every
        if target.purposes:
            name = agreed_column(target.name)
            every = self.users[name] if name in self.users.columns else ~every
        inputs: Inputs | None = self.permits.inputs
        if self.lacks is None or inputs is None:
            return every
        return every & ((self.lacks.gather(self.users["user"]) & inputs.of_kind(target.event, spec)) == 0)


def outcome_rows(
    bucket: Bucket,
    kinds: Sequence[Code],
    spec: FeatureSpec,
    targets: Sequence[Target],
    permits: Permits | None,
    keys: KeyRange,
) -> OutcomeRows:
    """The users of a bucket who may be compared, and their rows.

    Args:
        bucket: Users and rows up to the end of the horizon.
        kinds: What each number in the column `type` of the rows stands for.
        spec: The features.
        targets: The targets.
        permits: What users agreed to by the end of the horizon.
        keys: The bucket's range.
    """
    known = () if permits is None else permits.known
    asking = [target for target in targets if target.purposes and set(target.purposes) <= set(known)]
    users, own, _ = permitted_rows(bucket, spec, asking, permits, keys)
    mine = usable(own, kinds, permits, keys)
    if mine is None:
        return OutcomeRows(users, own.daily, None, permits)
    return OutcomeRows(users, mine.bucket.daily, mine.lacks, permits)
