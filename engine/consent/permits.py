"""What each user agreed to, as the tasks of a run need it: joined to the users of a bucket, and who is withheld.

In: the part that `engine.consent.read.write_permits` wrote, one row per user of the log of consents or of a list of
objections. Out: users with their purposes as bits, and the users for whom nothing may be done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from engine.consent.inputs import Inputs
from engine.rollups.ranges import KeyRange

PURPOSES: Final = "__purposes"
"""Purposes that a user agreed to (UInt32): bit `n` is the purpose `Permits.known[n]`; 0 without a row."""
REFUSED: Final = "__refused"
"""Purposes that a user agreed to and withdrew, or refused (UInt32), in the same bits."""
OPPOSED: Final = "__opposed"
"""Whether a user objects to any use (Boolean)."""
PART_SCHEMA: Final = pl.Schema(
    {
        "user_key": pl.UInt64(),
        "user_id": pl.String(),
        "purposes": pl.UInt32(),
        "refused": pl.UInt32(),
        "opposed": pl.Boolean(),
    }
)
"""Columns of `permits.parquet`, sorted by `user_key` and `user_id`."""
MOST_PURPOSES: Final = 32


@dataclass(frozen=True)
class Permits:
    """What a task is told of consents and objections.

    Attributes:
        part: File with the columns of `PART_SCHEMA`.
        known: All purposes; their positions are their bits. Empty without a log of consents.
        process: Purposes that a user must have agreed to, all of them, for anything to be computed. Empty without a
            log of consents: users who object are withheld all the same.
        inputs: Event types that only count for users who agreed to more than that; None where all of them count.
    """

    part: str
    known: tuple[str, ...] = ()
    process: tuple[str, ...] = ()
    inputs: Inputs | None = None


@dataclass(frozen=True)
class Withheld:
    """Users with events for whom nothing is computed, by reason.

    Attributes:
        opposed: Users who object to any use.
        lacking: By purpose of `process`, users who do not object and lack it; one who lacks several counts under the
            first of them.
        unusable: Users who agreed to be processed, but to the use of none of their events.
        states: By purpose, the users who granted it, withdrew it, or never answered: all users with usable events.
    """

    opposed: int = 0
    lacking: tuple[tuple[str, int], ...] = ()
    unusable: int = 0
    states: tuple[tuple[str, int, int, int], ...] = ()

    @property
    def users(self) -> int:
        """All of them; each counts once."""
        return self.opposed + self.unusable + sum(users for _, users in self.lacking)


@dataclass(frozen=True, eq=False)
class Permitted:
    """The users of a bucket who may be worked on, with `PURPOSES`, `REFUSED` and `OPPOSED`, and who may not."""

    users: pl.DataFrame
    withheld: Withheld = field(default_factory=Withheld)


def join_permits(users: pl.DataFrame, part: str | None, keys: KeyRange) -> pl.DataFrame:
    """Users with `PURPOSES`, `REFUSED` and `OPPOSED`.

    Args:
        users: One row per user with `user_key` and `user_id`; its order is kept.
        part: File with the columns of `PART_SCHEMA`; None where nobody was asked and nobody objects.
        keys: The bucket's range.
    """
    if part is None:
        return users.with_columns(
            pl.lit(0, pl.UInt32).alias(PURPOSES),
            pl.lit(0, pl.UInt32).alias(REFUSED),
            pl.lit(value=False).alias(OPPOSED),
        )
    # Users who share a key with another one are there under the key of their own, as in the store.
    states = (
        pl.scan_parquet(part, glob=False, hive_partitioning=False)
        .filter(keys.contains())
        .select(
            pl.col("user_key").alias("__key"),
            pl.col("user_id").alias("__text"),
            pl.col("purposes").alias(PURPOSES),
            pl.col("refused").alias(REFUSED),
            pl.col("opposed").alias(OPPOSED),
        )
        .collect()
    )
    joined = users.with_columns(__key=pl.col("user_key"), __text=pl.col("user_id").cast(pl.String)).join(
        states, on=["__key", "__text"], how="left", maintain_order="left"
    )
    return joined.drop("__key", "__text").with_columns(
        pl.col(PURPOSES).fill_null(0), pl.col(REFUSED).fill_null(0), pl.col(OPPOSED).fill_null(value=False)
    )


def bits(purposes: Sequence[str], known: Sequence[str]) -> int:
    """The purposes as bits in the order of `known`.

    Raises:
        ValueError: One of them is not known.
    """
    return sum(1 << known.index(name) for name in dict.fromkeys(purposes))


def allowed(purposes: Sequence[str], known: Sequence[str], column: str = PURPOSES) -> pl.Expr:
    """Whether users agreed to all of the purposes (Boolean); true without purposes.

    Args:
        purposes: What they must have agreed to.
        known: All purposes, as in `Permits.known`.
        column: Column with their purposes as bits.
    """
    wanted = pl.lit(bits(purposes, known), pl.UInt32)
    return (pl.col(column) & wanted) == wanted


def withhold(users: pl.DataFrame, permits: Permits | None) -> Permitted:
    """The users for whom the run may compute anything.

    Args:
        users: One row per user with an event before the day, with what `join_permits` adds.
        permits: What is asked of them; None withholds nobody.

    Returns:
        Those who do not object and agreed to all of `permits.process`, in their order; and the others, counted.
    """
    if permits is None:
        return Permitted(users)
    opposed = pl.col(OPPOSED)
    lacks = [~allowed((purpose,), permits.known) for purpose in permits.process]
    reasons = users.select(
        reason=pl.when(opposed)
        .then(pl.lit(len(lacks) + 1))
        .otherwise(pl.coalesce(*(pl.when(lack).then(number) for number, lack in enumerate(lacks, 1)), pl.lit(0)))
        .cast(pl.Int32)
    )["reason"]
    numbers = dict(reasons.value_counts().iter_rows())
    withheld = Withheld(
        opposed=int(numbers.get(len(lacks) + 1, 0)),
        lacking=tuple((purpose, int(numbers.get(number, 0))) for number, purpose in enumerate(permits.process, 1)),
        states=_states(users, permits.known),
    )
    return Permitted(users.filter(reasons == 0) if withheld.users else users, withheld)


def _states(users: pl.DataFrame, known: Sequence[str]) -> tuple[tuple[str, int, int, int], ...]:
    if not known:
        return ()
    counted = users.select(
        *(allowed((name,), known).sum().alias(f"granted_{name}") for name in known),
        *(allowed((name,), known, REFUSED).sum().alias(f"withdrawn_{name}") for name in known),
    ).row(0, named=True)
    listed = []
    for name in known:
        granted, withdrawn = int(counted[f"granted_{name}"]), int(counted[f"withdrawn_{name}"])
        listed.append((name, granted, withdrawn, users.height - granted - withdrawn))
    return tuple(listed)


def total_withheld(buckets: Sequence[Withheld]) -> Withheld:
    """The counts of all buckets together."""
    lacking: dict[str, int] = {}
    states: dict[str, tuple[int, int, int]] = {}
    for bucket in buckets:
        for purpose, users in bucket.lacking:
            lacking[purpose] = lacking.get(purpose, 0) + users
        for purpose, granted, withdrawn, never in bucket.states:
            known = states.get(purpose, (0, 0, 0))
            states[purpose] = (known[0] + granted, known[1] + withdrawn, known[2] + never)
    return Withheld(
        opposed=sum(bucket.opposed for bucket in buckets),
        lacking=tuple(lacking.items()),
        unusable=sum(bucket.unusable for bucket in buckets),
        states=tuple((name, *numbers) for name, numbers in states.items()),
    )


def consent_counts(withheld: Withheld, permits: Permits | None) -> dict[str, Mapping[str, object]]:
    """What the manifest tells: `withheld` by reason, and `consent` by purpose; nothing where nothing is asked."""
    if permits is None:
        return {}
    told: dict[str, Mapping[str, object]] = {"withheld": {**dict(withheld.lacking), "opposed": withheld.opposed}}
    if permits.inputs is not None:
        told["withheld"] = {**told["withheld"], "no_usable_event": withheld.unusable}
    if permits.known:
        told["consent"] = {
            name: {"granted": granted, "withdrawn": withdrawn, "never": never}
            for name, granted, withdrawn, never in withheld.states
        }
    return told
