"""The quality of the data of the run: what lacks values, what is wrong or late, and limits that are broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.quality.table import KEY
from engine.reporting.message import Message, Name, Quantity, Unit, say
from engine.reporting.model import Field, Figure, Section
from engine.reporting.sections.rows import MOST_LISTED

if TYPE_CHECKING:
    from engine.reporting.facts import Facts

SHARES: Final = ("invalid_share", "duplicate_share", "late_share", "outlier_share", "rule_share")
"""Metrics that are shares of rows which are not as they should be."""
_METRIC: Final = "quality_metric"


def section(facts: Facts) -> Section:
    """Completeness, shares of rows that are not as they should be, freshness, and limits."""
    title, table = say("data_quality.title"), facts.now.tables.get("quality")
    if table is None or table.is_empty():
        return Section("data_quality", "engineer", title, missing=say("data_quality.none"))
    whole = _beside(table, None if facts.before is None else facts.before.tables.get("quality"))
    complete = whole.filter(pl.col("metric") == "completeness").sort("value", "name", "column")
    wrong = whole.filter(pl.col("metric").is_in(SHARES) & (pl.col("value") > 0))
    wrong = wrong.sort("value", "name", "metric", "column", descending=[True, False, False, False])
    return Section(
        "data_quality",
        "engineer",
        title,
        sentences=tuple(_sentences(whole, complete)),
        figures=(*_completeness(complete), *_shares(wrong)),
        alarms=tuple(_alarm(row) for row in whole.filter(pl.col("status") == "warn").iter_rows(named=True)),
    )


def _beside(table: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """The measurements that are about no single day, with those of the date that is compared with as `previous`."""
    whole = table.filter(pl.col("day").is_null() & pl.col("value").is_not_null())
    then = (table if before is None else before).filter(pl.col("day").is_null())
    then = (then.clear() if before is None else then).select(*KEY[:-1], previous="value")
    return whole.join(then, on=KEY[:-1], how="left", nulls_equal=True, maintain_order="left")


def _sentences(whole: pl.DataFrame, complete: pl.DataFrame) -> Iterator[Message]:
    if complete.height:
        least = complete.row(0, named=True)
        if least["value"] == 1:
            yield say("data_quality.all_complete")
        else:
            yield say(
                "data_quality.least_complete",
                column=_column(least),
                name=Name(least["name"]),
                share=Quantity(least["value"], "share"),
            )
    for row in whole.filter(pl.col("metric") == "freshness_days").iter_rows(named=True):
        yield say("data_quality.fresh", name=Name(row["name"]), days=row["numerator"])
    for row in whole.filter((pl.col("metric") == "late_share") & (pl.col("value") > 0)).iter_rows(named=True):
        yield say("data_quality.late", name=Name(row["name"]), share=Quantity(row["value"], "share"))
    for row in whole.filter((pl.col("metric") == "rule_share") & (pl.col("value") > 0)).iter_rows(named=True):
        yield say(
            "data_quality.broken",
            rows=row["numerator"],
            name=Name(row["name"]),
            rule=Name(row["column"]),
            share=Quantity(row["value"], "share"),
        )
    if (whole["status"] == "none").all():
        yield say("data_quality.no_limits")
    elif (whole["status"] != "warn").all():
        yield say("data_quality.limits_kept")


def _alarm(row: dict[str, Any]) -> Message:
    is_share = row["denominator"] is not None
    unit: Unit = "share" if is_share else "count"
    value = Quantity(row["value"], unit)
    metric, name = Name(row["metric"], _METRIC), Name(row["name"])
    if row["column"] is None:
        return say("data_quality.limit", metric=metric, name=name, value=value)
    return say("data_quality.limit_column", metric=metric, name=name, column=Name(row["column"]), value=value)


def _column(row: dict[str, Any]) -> Name:
    # An enrichment as a whole is as complete as contacts find their row in it.
    return Name(row["column"] or row["name"])


def _completeness(complete: pl.DataFrame) -> Iterator[Figure]:
    if complete.is_empty() or complete["value"].min() == 1:
        return
    least = complete.row(0, named=True)
    yield Figure(
        key="quality_completeness",
        kind="bars",
        title=say(
            "data_quality.completeness_title",
            column=_column(least),
            name=Name(least["name"]),
            share=Quantity(least["value"], "share"),
        ),
        definition=say("data_quality.completeness_definition"),
        table=_listed(complete),
        fields=(
            Field("what", say("data_quality.what")),
            Field("value", say("data_quality.share"), "share"),
            Field("previous", say("data_quality.before"), "share"),
        ),
        x="value",
        y="what",
    )


def _shares(wrong: pl.DataFrame) -> Iterator[Figure]:
    if wrong.is_empty():
        return
    table = _listed(wrong)
    yield Figure(
        key="quality_shares",
        kind="bars",
        title=say(
            "data_quality.shares_title",
            metric=Name(table["metric"][0], _METRIC),
            what=Name(table["what"][0]),
            share=Quantity(table["value"][0], "share"),
        ),
        definition=say("data_quality.shares_definition"),
        table=table.with_columns(what=pl.format("{} · {}", "what", "metric")),
        fields=(
            Field("what", say("data_quality.what")),
            Field("metric", say("data_quality.metric"), vocabulary=_METRIC),
            Field("value", say("data_quality.share"), "share"),
            Field("previous", say("data_quality.before"), "share"),
        ),
        x="value",
        y="what",
    )


def _listed(rows: pl.DataFrame) -> pl.DataFrame:
    what = pl.when(pl.col("column").is_null()).then("name").otherwise(pl.format("{}: {}", "name", "column"))
    return rows.head(MOST_LISTED).select(what=what, metric="metric", value="value", previous="previous")
