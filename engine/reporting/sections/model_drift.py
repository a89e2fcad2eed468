"""Whether the users of the run are still those of the fit: drift of features and scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.reporting.message import Message, Name, Quantity, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.learnt import MOST_ROWS, listed, missing, number, share

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

SOME: Final = 0.1
"""Population stability index below which little has changed (N. Siddiqi, "Credit Risk Scorecards", 2006)."""
MUCH: Final = 0.25
"""That from which much has."""
NULLS: Final = 0.1
"""Change of the share of missing values that is told."""
_UNSEEN: Final = 0.01
_NAMED: Final = 3
_ALARMS: Final = 5
_COLUMNS: Final = frozenset({"column", "kind", "psi", "chance", "null_share_then", "null_share_now", "rows"})


def section(facts: Facts) -> Section:
    """The table `drift` of the date, the columns that moved the most first."""
    title, table = say("model_drift.title"), facts.now.drift
    if table is None or not set(table.columns) >= _COLUMNS or table.is_empty():
        return Section("model_drift", "scientist", title, missing=missing(facts, say("model_drift.none")))
    rows = table.sort("psi", "column", descending=[True, False], nulls_last=True)
    moved = rows.filter((pl.col("psi") >= SOME) & (pl.col("psi") > pl.col("chance")))
    figures = [] if _is_still(rows) else [_psi(rows, moved)]
    return Section(
        "model_drift",
        "scientist",
        title,
        sentences=tuple(_sentences(facts, rows, moved)),
        figures=(*figures, *_nulls(rows)),
        alarms=tuple(_alarms(rows, moved)),
    )


def _is_still(rows: pl.DataFrame) -> bool:
    return not (rows["psi"] > 0).any()


def _sentences(facts: Facts, rows: pl.DataFrame, moved: pl.DataFrame) -> Iterator[Message]:
    if facts.bundle is not None:
        days = (facts.as_of - facts.bundle.as_of).days
        key = "model_drift.same_day" if days == 0 else "model_drift.since"
        yield say(key, day=facts.bundle.as_of, days=Quantity(days, "days"))
    if _is_still(rows):
        yield say("model_drift.still", columns=rows.height)
    elif moved.is_empty():
        yield say("model_drift.steady", columns=rows.height)
    else:
        names = moved["column"].to_list()
        yield say(
            "model_drift.moved",
            moved=len(names),
            columns=rows.height,
            first=listed(names[:_NAMED]),
        )


def _alarms(rows: pl.DataFrame, moved: pl.DataFrame) -> Iterator[Message]:
    much = moved.filter(pl.col("psi") >= MUCH)
    for key, part in (
        ("model_drift.alarm_scores", much.filter(pl.col("kind") == "score")),
        ("model_drift.alarm_features", much.filter(pl.col("kind") != "score")),
    ):
        if not part.is_empty():
            named = part.head(_ALARMS).select("column", "psi").iter_rows()
            first = tuple(say("model_drift.with_psi", column=Name(name), psi=number(psi)) for name, psi in named)
            yield say(key, count=part.height, first=first)
    if {"unseen_share", "unseen_share_then"} <= set(rows.columns):
        more = rows.filter(pl.col("unseen_share") - pl.col("unseen_share_then") > _UNSEEN)
        for name, unseen in more.select("column", "unseen_share").iter_rows():
            yield say("model_drift.alarm_unseen", column=Name(name), share=share(unseen))


def _psi(rows: pl.DataFrame, moved: pl.DataFrame) -> Figure:
    first = rows.head(MOST_ROWS)
    names = moved["column"].to_list()
    users = int(rows["rows"].max() or 0)  # type: ignore[arg-type]
    if names:
        title = say("model_drift.psi_moved", column=Name(names[0]), psi=number(moved["psi"][0]), moved=len(names))
    else:
        title = say("model_drift.psi_steady", psi=number(rows["psi"][0]))
    return Figure(
        key="drift_psi",
        kind="bars",
        title=title,
        definition=say("model_drift.psi_definition", users=users),
        table=_shown(first),
        fields=_fields(),
        x="psi",
        y="column",
        marked=tuple(name for name in first["column"].to_list() if name in set(names)),
    )


def _shown(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "column",
        "psi",
        "chance",
        "null_share_then",
        "null_share_now",
        "kind",
        meaning=pl.when(pl.col("kind") != "score").then(pl.col("column")),
    )


def _fields() -> tuple[Field, ...]:
    return (
        Field("column", say("model_drift.column")),
        Field("psi", say("model_drift.psi"), "number"),
        Field("chance", say("model_drift.chance"), "number"),
        Field("null_share_then", say("model_drift.nulls_then"), "share"),
        Field("null_share_now", say("model_drift.nulls_now"), "share"),
        Field("kind", say("model_drift.kind"), vocabulary="drift_kind"),
        Field("meaning", say("importance.meaning"), vocabulary="feature"),
    )


def _nulls(rows: pl.DataFrame) -> Iterator[Figure]:
    """Features that lack values for another share of users than at the fit."""
    change = (pl.col("null_share_now") - pl.col("null_share_then")).abs()
    moved = rows.filter((pl.col("kind") != "score") & (change >= NULLS))
    moved = moved.sort(change, "column", descending=[True, False]).head(MOST_ROWS)
    if moved.is_empty():
        return
    pairs = [
        (name, line, value)
        for name, then, now in moved.select("column", "null_share_then", "null_share_now").iter_rows()
        for line, value in (("fit", then), ("run", now))
    ]
    name, then, now = moved.select("column", "null_share_then", "null_share_now").row(0)
    yield Figure(
        key="drift_nulls",
        kind="grouped_bars",
        title=say("model_drift.nulls_title", column=Name(name), then=share(then), now=share(now)),
        definition=say("model_drift.nulls_definition"),
        table=pl.DataFrame(pairs, {"column": pl.String, "line": pl.String, "nulls": pl.Float64}, orient="row"),
        fields=(
            Field("column", say("model_drift.column")),
            Field("line", say("models.line"), vocabulary="series"),
            Field("nulls", say("model_drift.nulls"), "share"),
        ),
        x="nulls",
        y="column",
        colour="line",
    )
