"""A published date with two segments, made by hand: who is in them, what is known of them, and their contacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Columns, Config, Contacts, Source, Value
from engine.config_exports import Exports
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import Manifest, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace

AS_OF = date(2026, 1, 31)
PREMIUM = "Été & Co"
ASLEEP = "asleep"
ID = "client"


def make(
    folder: Path,
    contacts: pl.DataFrame | None,
    *,
    members: Mapping[str, Sequence[Any]],
    entries: Mapping[str, Sequence[Any]] | None = None,
    exits: Mapping[str, Sequence[Any]] | None = None,
    features: Mapping[str, Sequence[Any]] | None = None,
    parts: int = 1,
    **exports: Any,
) -> Config:
    """Publish the date and write the contacts; the configuration to export them with.

    Args:
        folder: Where everything goes.
        contacts: With the column `client`.
        members, entries, exits: Ids of users by segment.
        features: Columns of the users, in the order of their ids; `user_id` among them for users in no segment.
        parts: Files per table.
        exports: The section `[exports]`.
    """
    everyone = sorted({user for users in members.values() for user in users})
    columns = {"user_id": everyone, **(features or {})}
    table = pl.DataFrame(columns)
    changes = [
        {"user_id": user, "segment": name, "change": change}
        for change, users_of in (("enter", entries or {}), ("exit", exits or {}))
        for name, users in users_of.items()
        for user in users
    ]
    frames = {
        "features": table,
        "scores": table.select("user_id", propensity_purchase=pl.int_range(pl.len()) / 8.0),
        "memberships": _members(members, table.schema["user_id"]),
        "membership_changes": pl.DataFrame(
            changes, schema={"user_id": table.schema["user_id"], "segment": pl.String, "change": pl.String}
        ),
        "segment_definitions": _definitions([*members]),
    }
    out = folder / "out"
    records = []
    with workspace(out, "run-1") as work:
        for name, frame in frames.items():
            target = table_folder(work, name, AS_OF)
            # Neighbours in one table are not neighbours in the files.
            cut = [frame.gather_every(parts, offset) for offset in range(parts)] if frame.height >= parts else [frame]
            files = [durable_parquet(one, target, f"part-{at:05d}-0", root=work) for at, one in enumerate(cut)]
            records.append(table_record(name, AS_OF, dtypes_of(frame.schema), files))
        publish(work, out, Manifest("run-1", AS_OF, None, {}, {}, tuple(records)))
    if contacts is not None:
        contacts.write_parquet(folder / "contacts.parquet")
    return Config(
        out=str(out),
        sources=(
            Source(
                name="shop",
                path="none.parquet",
                columns=Columns(user_id="u", event_type=Value(value="purchase"), event_time="t"),
            ),
        ),
        contacts=None if contacts is None else Contacts(path=str(folder / "contacts.parquet"), user_id=ID),
        exports=Exports(**exports),
    )


def people(rows: Mapping[Any, str | None], **columns: Sequence[Any]) -> pl.DataFrame:
    """Contacts by user id with their address."""
    return pl.DataFrame({ID: list(rows), "mail": pl.Series(list(rows.values()), dtype=pl.String), **columns})


def _members(members: Mapping[str, Sequence[Any]], dtype: pl.DataType) -> pl.DataFrame:
    rows = [
        {"user_id": user, "segment": name, "entered_on": date(2026, 1, 1 + place)}
        for place, (name, users) in enumerate(members.items())
        for user in users
    ]
    return pl.DataFrame(rows, schema={"user_id": dtype, "segment": pl.String, "entered_on": pl.Date}).sort(
        "user_id", "segment"
    )


def _definitions(names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "position": range(len(names)),
            "segment": names,
            "kind": "rule",
            "group": "primary",
            "rule": "TRUE",
            "priority": 0,
            "campaigns": [[] for _ in names],
            "description": "",
            "rule_version": "1",
            "frozen_on": None,
            "expires_on": None,
            "depends_on": [[] for _ in names],
        },
        schema_overrides={
            "campaigns": pl.List(pl.String),
            "depends_on": pl.List(pl.String),
            "frozen_on": pl.Date,
            "expires_on": pl.Date,
        },
    )
