"""Consents for commands that are no run: read as a run of a day would read them, into a folder that goes again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.config import Config
from engine.consent.coverage import Coverage, coverage
from engine.consent.inputs import asked_of_all, inputs_of
from engine.consent.permits import Permits, allowed
from engine.consent.purposes import check_asked, check_purposes
from engine.consent.read import PermitsTask, write_permits
from engine.consent.told import reasons_withheld
from engine.errors import ConfigError
from engine.exports.suppression import Suppressed, with_linked
from engine.privacy.ids import IdRules, id_rules
from engine.privacy.objections import opposed_users, suppressed_users
from engine.remote.fetch import cache_folder
from engine.rollups.index import Index, read_index
from engine.rollups.parts import write_part
from engine.rollups.update import store_folder
from engine.stages.input import Input, read_links

if TYPE_CHECKING:
    from polars.datatypes import DataTypeClass

_LAST_DAY: Final = date(9999, 12, 31)


def permits_task(config: Config, as_of: date, user_dtype: pl.DataType | DataTypeClass, folder: Path) -> PermitsTask:
    """The task that writes what users agreed to as of a day to `permits.parquet` in a folder.

    Args:
        config: The configuration.
        as_of: The day.
        user_dtype: Type of the user ids of the store.
        folder: For the part and what it is made from.

    Raises:
        ConfigError: Purposes that nobody can have agreed to.
        DataError: Links that cannot be read, or go round in circles.
    """
    check_purposes(config)
    ids, kind = id_rules(config), "String" if user_dtype == pl.String else "Int64"
    links = _links(config, kind, ids)
    staged = None
    if links is not None:
        staged = str(folder / "links.parquet")
        write_part(links.select("from_id", "to_id"), staged)
    return PermitsTask(
        consent=config.consent,
        as_of=as_of,
        timezone=config.timezone,
        part=str(folder / "permits.parquet"),
        user_dtype=kind,
        ids=ids,
        links=staged,
        cache=str(cache_folder(Path(config.out))),
    )


def up_to_now(task: PermitsTask) -> tuple[PermitsTask, ...]:
    """The task as of its day, as of now, and by the last rows of the log: what somebody agreed to is what all have.

    A grant that is dated ahead must not hide what was withdrawn by now, nor a withdrawal ahead be waited for.
    """
    now = max(task.as_of, datetime.now(UTC).date() + timedelta(days=1))
    return (task, replace(task, as_of=now, timezone="UTC"), replace(task, as_of=_LAST_DAY, timezone="UTC"))


def reason_withheld(config: Config, as_of: date, user: str | int) -> str | None:
    """Why nothing is computed of a user of the store as of a day, by the log as it is now; None for no such reason.

    Args:
        config: The configuration.
        as_of: The day.
        user: The id, in the type of the store's.

    Raises:
        TamisError: A log, a list or a key that cannot be used.
    """
    kind = pl.String() if isinstance(user, str) else pl.Int64()
    ids, index = id_rules(config), _index(config)
    users = _user_files(config, index)
    opposed = opposed_users(config, users, _links(config, str(kind), ids), ids)
    if config.consent is None and opposed is None:
        return None
    with TemporaryDirectory() as folder:
        task = permits_task(config, as_of, kind, Path(folder))
        if opposed is not None:
            write_part(opposed.alias("user_id").to_frame(), f"{folder}/opposed.parquet")
            task = replace(task, opposed=f"{folder}/opposed.parquet")
        write_permits(replace(task, rekeyed=tuple(sorted(index.rekeyed.items()))))
        known, process = ((), ()) if config.consent is None else (config.consent.known, asked_of_all(config.consent))
        asked = pl.Series("user_id", [user], kind)
        permits = Permits(str(task.part), known, process, inputs_of(config.consent))
        return reasons_withheld(asked, users, permits).get(user)


def standing(
    config: Config,
    as_of: date,
    users: pl.Series,
    files: Sequence[str],
    purposes: Sequence[str],
    *,
    until_now: bool = False,
) -> pl.DataFrame | None:
    """Whom a run of a day would withhold, by the log and the lists as they are now; None where nothing is asked.

    Args:
        config: The configuration.
        as_of: The day.
        users: Their ids, as the tables have them, each once.
        files: Files with these ids in a column `user_id`.
        purposes: What they must have agreed to beside `consent.process`.
        until_now: Whether a withdrawal since the day counts, too, as it does for an export.

    Returns:
        `user_id`, `withheld` and `agreed` (Boolean: to all of the purposes), a row each.

    Raises:
        ConfigError: Purposes that nobody can have agreed to, or a key that is missing or another one.
        DataError: As `engine.consent.read.write_permits`.
    """
    known = () if config.consent is None else config.consent.known
    check_asked([("--purpose", name) for name in purposes], config.consent)
    ids, kind = id_rules(config), "String" if users.dtype == pl.String else "Int64"
    opposed = opposed_users(config, files, _links(config, kind, ids), ids)
    if config.consent is None and opposed is None:
        return None
    process = () if config.consent is None else asked_of_all(config.consent)
    found = (
        users.alias("user_id")
        .to_frame()
        .with_columns(__text=pl.col("user_id").cast(pl.String), withheld=pl.lit(value=False), agreed=pl.lit(value=True))
    )
    with TemporaryDirectory() as folder:
        task = permits_task(config, as_of, users.dtype, Path(folder))
        if opposed is not None:
            write_part(opposed.alias("user_id").to_frame(), f"{folder}/opposed.parquet")
            task = replace(task, opposed=f"{folder}/opposed.parquet")
        for each in up_to_now(task) if until_now else (task,):
            write_permits(each)
            part = pl.read_parquet(str(each.part), glob=False, hive_partitioning=False)
            given = part.select("purposes", "opposed", __text="user_id")
            joined = found.join(given, on="__text", how="left", maintain_order="left").with_columns(
                pl.col("purposes").fill_null(0), pl.col("opposed").fill_null(value=False)
            )
            found = joined.select(
                "user_id",
                "__text",
                withheld=pl.col("withheld") | pl.col("opposed") | ~allowed(process, known, "purposes"),
                agreed=pl.col("agreed") & allowed(purposes, known, "purposes"),
            )
    return found.drop("__text")


def suppressed_now(
    config: Config, lists: Sequence[Path], headers: Sequence[str], user_dtype: pl.DataType
) -> Suppressed:
    """Everybody who must not be in an export, with every id that is linked to theirs.

    Args:
        config: The configuration.
        lists: Lists of the export.
        headers: More names of columns with ids or addresses.
        user_dtype: Type of the published user ids.

    Raises:
        ConfigError: A list that cannot be read, or a key that is missing or another one.
        DataError: Links that cannot be read.
        IntegrityError: The list of the output root is damaged.
    """
    found = suppressed_users(config, lists, headers)
    if not found.ids.len() and found.hashed is None:
        return found
    kind = "String" if user_dtype == pl.String else "Int64"
    return with_linked(found, _links(config, kind, id_rules(config)))


def consent_coverage(config: Config, as_of: date) -> Coverage:
    """What the log of consents says as of a day, beside the users of the rollup store.

    Raises:
        ConfigError: There is no log (`consent-none`), or no file of it.
        DataError: As `engine.consent.read.write_permits`.
        IntegrityError: The store is damaged.
    """
    if config.consent is None:
        raise ConfigError(
            "the configuration has no log of consents",
            code="consent-none",
            hint="Name its files in [consent]; docs/consent.md shows how.",
        )
    index = _index(config)
    kind = next((entry.user_dtype for entry in index.entries), "String")
    ids = id_rules(config)
    return coverage(
        config.consent,
        as_of,
        config.timezone,
        ids=ids,
        links=_links(config, kind, ids),
        users=_user_files(config, index) if index.entries else None,
        cache=cache_folder(Path(config.out)),
    )


def _index(config: Config) -> Index:
    return read_index(store_folder(Path(config.out)))


def _user_files(config: Config, index: Index) -> Sequence[str]:
    store = store_folder(Path(config.out))
    return [str(store / file.path) for file in index.users]


def _links(config: Config, kind: str, ids: IdRules) -> pl.DataFrame | None:
    return read_links(config, Input((), {}, kind, source_dtype=kind, ids=ids))
