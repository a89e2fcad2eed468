"""The users of a published date, part by part, as rules are evaluated on them: never more than one part in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from engine.errors import IntegrityError
from engine.rules.rule import Rule, segment_column, tenure_column
from engine.why.published import Published


def published_rows(
    published: Published,
    columns: Collection[str],
    segments: Collection[str] = (),
    tenures: Collection[str] = (),
    extra: pl.DataFrame | None = None,
) -> Iterator[pl.DataFrame]:
    """The users of each part, sorted by id within it: `user_id`, the columns, and flags and days of segments.

    Args:
        published: The date; needs the tables `features`, `scores` and `memberships`.
        columns: Columns of `features`, `scores` and `extra`.
        segments: Segments whose `segment_column` is wanted.
        tenures: Segments whose `tenure_column` is wanted.
        extra: `user_id` and more columns of all users; who is missing there has nulls.

    Raises:
        IntegrityError: The tables do not have the same users, or files are not there.
    """
    features = published.parts("features")
    scores, members = published.parts("scores"), published.parts("memberships")
    names = {name: set(published.schema(name)) - {"user_id"} for name in ("features", "scores")}
    wanted = {name: [column for column in columns if column in found] for name, found in names.items()}
    wanted["scores"] = [column for column in wanted["scores"] if column not in names["features"]]
    met = 0
    for part, path in sorted(features.items()):
        frame = _read(path, ["user_id", *wanted["features"]])
        if wanted["scores"]:
            if part not in scores:
                raise _apart(published)
            more = _read(scores[part], ["user_id", *wanted["scores"]])
            if not more["user_id"].equals(frame["user_id"]):
                raise _apart(published)
            frame = frame.hstack(more.drop("user_id"))
        if extra is not None:
            named = [column for column in columns if column in extra.columns]
            frame = frame.join(extra.select("user_id", *named), on="user_id", how="left", maintain_order="left")
        if part in members:
            own = _read(members[part], ["user_id", "segment", "days_in"])
            if not own["user_id"].is_in(frame["user_id"].implode()).all():
                raise _apart(published)
            met += own.height
        else:
            own = pl.DataFrame(schema={"user_id": frame.schema["user_id"], "segment": pl.String, "days_in": pl.Int32})
        yield frame.with_columns(*_flags(frame, own, segments, tenures))
    table = published.table("memberships")
    if table is not None and met != table.rows:
        raise _apart(published)


def held_clauses(rule: Rule, frame: pl.DataFrame) -> pl.DataFrame:
    """A Boolean column per clause of a rule, named after its place, over rows of `published_rows`."""
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    clean = frame.with_columns(pl.col(floats).fill_nan(None))
    # A clause over constants alone would have one row.
    return clean.select(
        (clause.expr | pl.col("user_id").is_null()).alias(str(place)) for place, clause in enumerate(rule.clauses)
    )


def _flags(
    frame: pl.DataFrame, members: pl.DataFrame, segments: Collection[str], tenures: Collection[str]
) -> Iterator[pl.Series]:
    for name in sorted({*segments, *tenures}):
        own = members.filter(pl.col("segment") == name)
        if name in segments:
            yield frame["user_id"].is_in(own["user_id"].implode()).alias(segment_column(name))
        if name in tenures:
            days = frame.select("user_id").join(own, on="user_id", how="left", maintain_order="left")["days_in"]
            yield days.cast(pl.Int64).alias(tenure_column(name))


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns, glob=False, hive_partitioning=False).select(columns)
    except (FileNotFoundError, pl.exceptions.ComputeError) as error:
        raise IntegrityError(
            f"{path} is not there or cannot be read",
            code="table-mismatch",
            hint="Ask again if the date was being published just now; else run the date again.",
        ) from error


def _apart(published: Published) -> IntegrityError:
    return IntegrityError(
        f"the tables published for {published.as_of} do not have the same users in the same parts",
        code="table-mismatch",
        hint=f"Run `tamis score --as-of {published.as_of}` again.",
    )
