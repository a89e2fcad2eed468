"""`tamis ddl`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.console import say, write
from jobs.options import DEFAULT_CONFIG, Assignments, ConfigFile, Out
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.warehouse.statements import Asked

_Kind = Literal["bigquery", "snowflake", "redshift", "clickhouse", "duckdb", "postgres", "spark", "dbt"]


def ddl(
    warehouse: Annotated[_Kind, typer.Argument(metavar="WAREHOUSE", help="The dialect, or dbt for a sources.yml.")],
    *,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="TABLE", help="Only this table; repeatable. All when not given."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="YYYY-MM-DD", help="A published date; the latest when not given."),
    ] = None,
    external: Annotated[bool, typer.Option("--external", help="Tables over the files, not filled ones.")] = False,
    schema: Annotated[
        str | None, typer.Option("--schema", metavar="NAME", help="Schema, dataset or database of the tables.")
    ] = None,
    location: Annotated[
        str | None,
        typer.Option("--location", metavar="URL", help="Where the warehouse finds the output folder."),
    ] = None,
    stage: Annotated[str, typer.Option("--stage", metavar="NAME", help="Snowflake: name of the stage.")] = "tamis",
    role: Annotated[
        str | None, typer.Option("--role", metavar="ARN", help="Redshift: the role that reads; else the default one.")
    ] = None,
    manifests: Annotated[
        Path | None,
        typer.Option("--manifests", metavar="DIR", help="Redshift: also write the manifests that COPY names."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
) -> None:
    """Print the statements that make the published tables in a warehouse and fill them."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.warehouse.ddl import Place, asked_of, script
    from engine.why.published import open_published

    published = open_published(Path(loaded.out).absolute(), day, ())
    if warehouse == "dbt":
        from engine.warehouse.dbt import dbt_sources
        from engine.warehouse.dictionary import describe

        write(sys.stdout, dbt_sources(describe(published, loaded, tables or ()), schema=schema).rstrip())
        return
    asked = asked_of(published, loaded, warehouse, Place(schema, location, stage, role), tables or ())
    write(sys.stdout, script(asked, external=external).rstrip())
    if manifests is not None:
        _write_manifests(asked, manifests)


def _write_manifests(asked: Sequence[Asked], folder: Path) -> None:
    from engine.errors import ConfigError
    from engine.tables.durable import durable_text
    from engine.warehouse.dialects.redshift import manifests

    if any(one.dialect != "redshift" for one in asked):
        raise ConfigError("--manifests is for redshift alone", code="usage", hint="Leave it out.")
    written = [(folder / path, text) for one in asked for path, text in manifests(one).items()]
    for path, text in written:
        durable_text(text, path)
    say(f"{len(written)} manifests in {folder}: copy it to the location")
