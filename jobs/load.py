"""`tamis load`: published tables into a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import plural, print_json, say
from jobs.options import DEFAULT_CONFIG, AsJson, AsOf, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from engine.warehouse.evolution import Loaded
    from engine.warehouse.statements import Asked
    from engine.warehouse.types import Dialect

load_app = typer.Typer(help="Load published tables into a database: a date in place of itself, in one transaction.")

_Tables = Annotated[
    list[str] | None, typer.Option("--table", metavar="TABLE", help="Only this table; repeatable. All when not given.")
]
_Schema = Annotated[
    str | None, typer.Option("--schema", metavar="NAME", help="Schema of the tables; made when it is not there.")
]


@load_app.command("duckdb")
def into_duckdb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The database; made when it is not there.")],
    *,
    as_of: AsOf,
    tables: _Tables = None,
    schema: _Schema = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Load a date into a DuckDB file."""
    day = parse_day(as_of)
    root, asked = _asked(config, Settings(assignments or (), out), day, "duckdb", schema, tables)
    from engine.warehouse.into_duckdb import load_duckdb

    _show(load_duckdb(file, asked, root), day, as_json=as_json, quiet=quiet)


@load_app.command("postgres")
def into_postgres(
    dsn: Annotated[
        str,
        typer.Argument(
            metavar="[DSN]",
            help="postgresql://user@host:5432/database; what it lacks comes from PGHOST, PGPASSWORD, ~/.pgpass …",
            show_default=False,
        ),
    ] = "",
    *,
    as_of: AsOf,
    tables: _Tables = None,
    schema: _Schema = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Load a date into PostgreSQL, by COPY."""
    day = parse_day(as_of)
    root, asked = _asked(config, Settings(assignments or (), out), day, "postgres", schema, tables)
    from engine.warehouse.into_postgres import load_postgres, with_timeout

    address = dsn if "PGCONNECT_TIMEOUT" in os.environ else with_timeout(dsn)
    _show(load_postgres(address, asked, root), day, as_json=as_json, quiet=quiet)


def _asked(
    config: Path, settings: Settings, day: date, dialect: Dialect, schema: str | None, tables: Sequence[str] | None
) -> tuple[Path, tuple[Asked, ...]]:
    """The output root, and the tables that are to be loaded."""
    loaded = load(config, settings).config
    from engine.warehouse.ddl import Place, asked_with_absent
    from engine.why.published import open_published

    published = open_published(Path(loaded.out).absolute(), day, ())
    return published.out, asked_with_absent(published, loaded, dialect, Place(schema=schema), tables or ())


def _show(loaded: Sequence[Loaded], day: date, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        tables = [{"table": one.table, "rows": one.rows, "added_columns": list(one.added)} for one in loaded]
        print_json({"as_of": day.isoformat(), "tables": tables})
        return
    for one in loaded:
        added = f", with new columns {', '.join(one.added)}" if one.added else ""
        say(f"{one.table}: {plural(one.rows, 'row')} of {day}{added}", quiet=quiet)
