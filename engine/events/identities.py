"""Which ids are of one user: links from visitors to users and from merged accounts to the one that was kept.

In: files with one link per row. Out: one row per linked id with the id at the end of its chain. Links know no time
once they are read: they hold for all events, before and after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Identity
from engine.errors import DataError
from engine.events.files import locate_files
from engine.events.probe import read_footers
from engine.events.read import reading
from engine.events.schema import TIME_LIMITS_US
from engine.events.untrusted import naming_files
from engine.remote.fetch import fetched_as
from engine.suggest import did_you_mean

_OWNER: Final = "identity"
_SHOWN = 3
_UNIT_US: Final = {"ms": 1_000, "us": 1}
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True)
class Identities:
    """What was read of an identity table.

    Attributes:
        links: `from_id`, `to_id`, both of the type of user ids; one row per linked id, sorted by `from_id`. No `to_id`
            is a `from_id`.
        rows: Rows of the files.
        left_out: Rows without one of the two ids.
    """

    links: pl.DataFrame
    rows: int
    left_out: int


def identity_files(identity: Identity, user_dtype: pl.DataType, cache: Path | None = None) -> tuple[str, ...]:
    """The files of an identity table, checked as far as their footers tell.

    Args:
        identity: Its configuration.
        user_dtype: Int64 or String: the type of the user ids of the events.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: Unreadable files, or columns that are missing or of a type that cannot be used; all of them at once.
    """
    located = locate_files(_OWNER, identity.path)
    with fetched_as(located, cache) as found:
        _check_files(identity, user_dtype, found)
    return tuple(str(file) for file in located)


def _check_files(identity: Identity, user_dtype: pl.DataType, found: Sequence[Path]) -> None:
    footers = read_footers(found)
    bad = [f"  {footer.file}: {footer.problem}" for footer in footers if footer.problem]
    if bad:
        raise DataError("identity: cannot read\n" + "\n".join(bad), code="input-unreadable", hint="Restore the files.")
    files = tuple(str(footer.file) for footer in footers)
    schemas = {file: _schema(file) for file in files}
    problems = [problem for file in files for problem in _column_problems(identity, user_dtype, file, schemas[file])]
    numbered = [file for file in files if schemas[file].get(identity.at or "", pl.Null()).is_integer()]
    timed = [file for file in files if schemas[file].get(identity.at or "", pl.Null()).is_temporal()]
    if numbered and timed:
        problems.append(f"  {identity.at}: a number in {numbered[0]}, a time in {timed[0]}")
    if problems:
        raise DataError(
            "identity: the columns do not fit\n" + "\n".join(problems),
            code="identity-columns",
            hint=f"Ids must be of the type of the events' user ids, here {user_dtype}. Mend [identity], or cast "
            'user_id in [sources.columns]: { sql = "CAST(… AS VARCHAR)" }.',
        )


def _schema(file: str) -> dict[str, pl.DataType]:
    with reading(_OWNER, file):
        return dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())


def _column_problems(
    identity: Identity, user_dtype: pl.DataType, file: str, schema: Mapping[str, pl.DataType]
) -> list[str]:
    names = [identity.anonymous_id, identity.user_id, *([identity.at] if identity.at is not None else [])]
    problems = [f"  no column {name!r} in {file}{did_you_mean(name, schema)}" for name in names if name not in schema]
    for name in (identity.anonymous_id, identity.user_id):
        dtype = schema.get(name, pl.Null())
        fits = dtype == pl.Null or dtype.is_integer() or (user_dtype == pl.String and _is_text(dtype))
        if not fits:
            wanted = "an integer or a string" if user_dtype == pl.String else "an integer"
            problems.append(f"  {name}: expected {wanted}, got {dtype} in {file}")
    at = schema.get(identity.at or "", pl.Null())
    if not (at == pl.Null or at.is_integer() or at == pl.Date or isinstance(at, pl.Datetime)):
        problems.append(f"  {identity.at}: expected a timestamp, a date or an integer, got {at} in {file}")
    return problems


def _is_text(dtype: pl.DataType) -> bool:
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def read_identities(identity: Identity, user_dtype: pl.DataType, cache: Path | None = None) -> Identities:
    """Read the links of files that `identity_files` has checked, and follow each to its end; see `final_links`.

    Args:
        identity: The configuration of the table.
        user_dtype: Int64 or String: the type of the user ids of the events.
        cache: Where files of object stores are fetched to.

    Raises:
        ConfigError: No file.
        DataError: A file that cannot be read, or links that go round in circles.
    """
    with fetched_as(locate_files(_OWNER, identity.path), cache) as found:
        files = [str(file) for file in found]
        columns = [identity.anonymous_id, identity.user_id, *([] if identity.at is None else [identity.at])]
        with naming_files(_OWNER, files, columns):
            rows = pl.concat(_read(identity, user_dtype, number, file) for number, file in enumerate(files))
        known = rows.drop_nulls(["from_id", "to_id"])
        return Identities(final_links(known, files), rows.height, rows.height - known.height)


def final_links(rows: pl.DataFrame, files: Sequence[str]) -> pl.DataFrame:
    """The id at the end of each id's chain of links.

    Of several links of one id the one with the latest `at` counts (a null is earlier than any time), of these the one
    to the largest `to_id` (text by its bytes). A link of an id to itself says that the id stands for itself.

    Args:
        rows: `from_id`, `to_id`, `at` (Int64), and where a link is: `file` (position in `files`) and `row` (Int64).
        files: The names of the files, for the message.

    Returns:
        `links` of `Identities`.

    Raises:
        DataError: Links that go round in circles.
    """
    latest = rows.sort(
        "from_id", "at", "to_id", "file", "row", descending=[False, True, True, False, False], nulls_last=True
    ).unique("from_id", keep="first", maintain_order=True)
    return _follow(latest.filter(pl.col("from_id") != pl.col("to_id")), files)


def _read(identity: Identity, user_dtype: pl.DataType, number: int, file: str) -> pl.DataFrame:
    with reading(_OWNER, file):
        frame = pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name="__row")
        at = pl.lit(None, pl.Int64) if identity.at is None else _order(identity.at, frame.collect_schema()[identity.at])
        ids = {
            name: pl.col(column).cast(user_dtype)
            for name, column in (("from_id", identity.anonymous_id), ("to_id", identity.user_id))
        }
        if user_dtype == pl.String:
            ids = {name: pl.when(text != "").then(text) for name, text in ids.items()}
        return frame.select(**ids, at=at, file=pl.lit(number, pl.UInt32), row=pl.col("__row").cast(pl.Int64)).collect()


def _order(name: str, dtype: pl.DataType) -> pl.Expr:
    """A number in the order of the times: of times of any type and zone their µs since 1970 UTC."""
    number = pl.col(name).to_physical().cast(pl.Int64)
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return number // 1_000
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        unit = _UNIT_US[dtype.time_unit] if isinstance(dtype, pl.Datetime) else _DAY_US
        # Times beyond the calendar would wrap around.
        return number.clip(*(limit // unit for limit in TIME_LIMITS_US)) * unit
    return number


def _follow(links: pl.DataFrame, files: Sequence[str]) -> pl.DataFrame:
    """Each link with the end of its chain, by pointer doubling: after k rounds 2ᵏ links are followed at once."""
    ends = links.select("from_id", "to_id").sort("from_id")
    reach = 1
    while True:
        onward = ends.join(ends, left_on="to_id", right_on="from_id", how="semi")
        if onward.is_empty():
            return ends
        if reach > ends.height:
            # A chain has fewer links than there are: who still has not arrived is on a circle, and all on it are met.
            raise _circular(links.join(onward, left_on="from_id", right_on="to_id", how="semi"), files)
        further = ends.select(to_id="from_id", end="to_id")
        ends = (
            ends.join(further, on="to_id", how="left")
            .select("from_id", to_id=pl.coalesce("end", "to_id"))
            .sort("from_id")
        )
        reach *= 2


def _circular(links: pl.DataFrame, files: Sequence[str]) -> DataError:
    first = links.sort("file", "row").head(_SHOWN)
    places = "; ".join(f"{files[file]} row {row}" for file, row in first.select("file", "row").iter_rows())
    more = "; …" if links.height > _SHOWN else ""
    return DataError(
        f"identity: the links of {links.height} ids go round in circles, so that no id is the user's: {places}{more}",
        code="identity-circular",
        hint="Take out one link of each circle; or give one of its ids a link to itself with a later `at`.",
    )


def resolve(rows: pl.DataFrame, links: pl.DataFrame | None) -> pl.DataFrame:
    """Put each event under the user it belongs to.

    An event's own id is its `user_id`, else its `anonymous_id`; it goes to the user that this id is linked to, else to
    the id itself. An event with a `user_id` is never moved by its `anonymous_id`: a device may be shared.

    Args:
        rows: Canonical rows: `user_id`, and `anonymous_id` where a source has it; of one type. Empty text is no id.
        links: The `links` of `Identities`; None without an identity table.

    Returns:
        The rows in their order, with `user_id` set; null where neither id is given. `anonymous_id` stays.
    """
    done = rows.with_columns(user_id=own_id(rows))
    if links is None or links.is_empty():
        return done
    linked = links.select(user_id="from_id", __to="to_id")
    joined = done.join(linked, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(user_id=pl.coalesce("__to", "user_id")).drop("__to")


def own_id(rows: pl.DataFrame) -> pl.Expr:
    """An event's own id: its `user_id`, else its `anonymous_id`, where a source has it; empty text is no id."""
    own = pl.col("user_id")
    if rows.schema["user_id"] == pl.String:
        own = pl.when(own != "").then(own)
    return pl.coalesce(own, "anonymous_id") if "anonymous_id" in rows.columns else own


def affected(before: pl.DataFrame | None, after: pl.DataFrame | None) -> pl.DataFrame:
    """The ids whose events belong to another user than before.

    Args:
        before: The `links` that stored events were resolved by; None for none.
        after: The links that hold now.

    Returns:
        One row per such id, sorted: `from_id`, `was` and `now` (the user of its events then and now; the id itself
        where it is not linked). Stored events are under `was`, new ones under `now`.
    """
    kept = [links for links in (before, after) if links is not None]
    if not kept:
        message = "affected() needs at least one set of links"
        raise ValueError(message)
    then, now = (kept[0].clear() if links is None else links for links in (before, after))
    return (
        then.join(now, on="from_id", how="full", coalesce=True, suffix="_now")
        .select("from_id", was=pl.coalesce("to_id", "from_id"), now=pl.coalesce("to_id_now", "from_id"))
        .filter(pl.col("was") != pl.col("now"))
        .sort("from_id")
    )
