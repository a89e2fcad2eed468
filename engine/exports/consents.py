"""Which users of a date may be exported: those who had agreed by then and have not withdrawn since.

A tool tells people apart by their addresses: of users who share one, one who withdrew is enough that none is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from engine.config import Config
from engine.consent.inputs import asked_of_all
from engine.consent.permits import bits
from engine.consent.read import PermitsTask, write_permits
from engine.rollups.parts import write_part
from engine.segments.definitions import segment_purposes
from engine.stages.permits_now import permits_task, up_to_now


@dataclass(frozen=True)
class Agreed:
    """What users agreed to, for an export.

    Attributes:
        users: File with `user_id`, in the type of the published ones and sorted, and `purposes` (UInt32): what each
            agreed to by the date and has not withdrawn since.
        refused: File with `user_id` (text) and `refused` (UInt32): what each had withdrawn by the date, or since; ids
            that are linked to such a user are there, too.
        everybody: Purposes that users must have agreed to, all of them, to be in any file; as bits.
        segments: By segment that asks for purposes of its own, these with those of everybody.
    """

    users: str
    refused: str
    everybody: int
    segments: Mapping[str, int]

    def asked(self, segment: str) -> int:
        """What the users of a segment must have agreed to, as bits."""
        return self.segments.get(segment, self.everybody)


@contextmanager
def agreed_users(config: Config, as_of: date, user_dtype: pl.DataType) -> Iterator[Agreed | None]:
    """What users agreed to, in files that are there for as long as they are read; None where nobody is asked.

    Who is written agreed to `consent.process`, `consent.exports` and the purposes of the segment as of the date, and by
    the last row of the log: who has withdrawn since is left out, and who has agreed since is there at the next date.

    Args:
        config: The configuration.
        as_of: The date that is exported.
        user_dtype: Type of the published user ids.

    Raises:
        ConfigError: No file.
        DataError: As `engine.consent.read.write_permits`.
    """
    consent = config.consent
    if consent is None:
        yield None
        return
    purposes = (*asked_of_all(consent), *consent.exports)
    with TemporaryDirectory() as folder:
        task = permits_task(config, as_of, user_dtype, Path(folder))
        parts = []
        for place, each in enumerate(up_to_now(task)):
            part = f"{folder}/permits-{place}.parquet"
            write_permits(replace(each, part=part))
            parts.append(part)
        agreed = Agreed(
            users=f"{folder}/agreed.parquet",
            refused=f"{folder}/refused.parquet",
            everybody=bits(purposes, consent.known),
            segments={
                name: bits((*purposes, *asked), consent.known) for name, asked in segment_purposes(config).items()
            },
        )
        together = _together(parts)
        ids = pl.col("user_id").cast(user_dtype, strict=False)
        kept = together.filter(pl.col("purposes") > 0).select(ids, "purposes")
        write_part(kept.drop_nulls("user_id").sort("user_id"), agreed.users)
        write_part(_with_linked(together.filter(pl.col("refused") > 0), task), agreed.refused)
        yield agreed


def _together(parts: list[str]) -> pl.DataFrame:
    """By user, the purposes that all parts have, and what any part has as refused; the last part has every user."""
    scans = [
        pl.scan_parquet(part, glob=False, hive_partitioning=False).select(
            "user_id", pl.col("purposes").alias(f"purposes_{place}"), pl.col("refused").alias(f"refused_{place}")
        )
        for place, part in enumerate(parts)
    ]
    every = reduce(lambda all_, one: all_.join(one, on="user_id", how="left"), reversed(scans))
    purposes, refused = (
        [pl.col(f"{name}_{place}").fill_null(0) for place in range(len(parts))] for name in ("purposes", "refused")
    )
    return every.select(
        "user_id",
        purposes=reduce(lambda one, other: one & other, purposes),
        refused=reduce(lambda one, other: one | other, refused),
    ).collect()


def _with_linked(refusing: pl.DataFrame, task: PermitsTask) -> pl.DataFrame:
    """Users who refused something with the ids that are linked to them: contacts have those of the sources."""
    found = refusing.select("user_id", "refused")
    if task.links is None:
        return found
    links = pl.read_parquet(task.links, glob=False, hive_partitioning=False).select(
        pl.col("from_id", "to_id").cast(pl.String)
    )
    linked = links.join(found, left_on="to_id", right_on="user_id", how="inner")
    return pl.concat([found, linked.select(pl.col("from_id").alias("user_id"), "refused")])
