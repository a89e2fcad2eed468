"""What was published: tables with their rows, files and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from engine.reporting.message import Name, Quantity, say
from engine.reporting.model import Field, Figure, Section

if TYPE_CHECKING:
    from engine.reporting.facts import DateFacts, Facts


def section(facts: Facts) -> Section:
    """The tables of the date as the manifest has them, and how they grew since the date before."""
    title, tables = say("files.title"), facts.now.manifest.tables
    if not tables:
        return Section("files", "engineer", title, missing=say("files.none"))
    earlier = {} if facts.before is None else _sizes(facts.before)
    total = sum(table.bytes for table in tables)
    sentences = [
        say(
            "files.told",
            tables=len(tables),
            files=sum(table.files for table in tables),
            size=Quantity(total, "bytes"),
        )
    ]
    before = sum(earlier.values())
    if facts.before is not None and before:
        change = Quantity(total / before - 1, "share", signed=True)
        sentences.append(say("files.grown", day=facts.before.as_of, change=change))
    return Section("files", "engineer", title, sentences=tuple(sentences), figures=(_figure(facts, earlier, total),))


def _sizes(side: DateFacts) -> dict[str, int]:
    return {table.name: table.bytes for table in side.manifest.tables}


def _figure(facts: Facts, earlier: dict[str, int], total: int) -> Figure:
    tables = sorted(facts.now.manifest.tables, key=lambda table: (-table.bytes, table.name))
    largest = tables[0]
    return Figure(
        key="files_tables",
        kind="bars",
        title=say(
            "files.figure_title",
            table=Name(largest.name),
            share=Quantity(largest.bytes / total if total else None, "share"),
            size=Quantity(total, "bytes"),
        ),
        definition=say("files.definition"),
        table=pl.DataFrame(
            [
                (table.name, table.bytes, table.rows, table.files, len(table.schema), earlier.get(table.name))
                for table in tables
            ],
            {
                "table": pl.String,
                **dict.fromkeys(("bytes", "rows", "files", "columns", "bytes_before"), pl.Int64),
            },
            orient="row",
        ),
        fields=(
            Field("table", say("files.table")),
            Field("bytes", say("files.bytes"), "bytes"),
            Field("rows", say("rows.rows"), "count"),
            Field("files", say("files.files"), "count"),
            Field("columns", say("files.columns"), "count"),
            Field("bytes_before", say("files.bytes_before"), "bytes"),
        ),
        x="bytes",
        y="table",
    )
