"""`tamis tables`: what Delta or Iceberg tables hold, and their upkeep."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

tables_app = typer.Typer(help="Look at Delta or Iceberg tables, and keep them small.")

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TABLE]...", help="The tables; all when not given.", show_default=False),
]


@tables_app.command("list")
def list_tables(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what each table holds: version, dates, rows, files, bytes."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.formats.compact import list_tables as states_of

    states = states_of(loaded)
    if as_json:
        print_json({"tables": [asdict(state) for state in states]})
        return
    if quiet:
        return
    header = ("table", "version", "dates", "last", "rows", "files", "bytes")
    rows = [
        (
            state.table,
            "–" if state.version is None else str(state.version),
            state.dates,
            state.last or "–",
            state.rows,
            state.files,
            state.bytes,
        )
        for state in states
    ]
    print_table(header, rows)


@tables_app.command()
def history(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table.")],
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many versions.")] = 20,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the last versions of a table and the runs that made them, the newest first."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.formats.compact import table_history

    versions = table_history(loaded, table, limit)
    if as_json:
        print_json({"table": table, "versions": [asdict(version) for version in versions]})
        return
    if quiet:
        return
    rows = [
        (str(one.version), one.at.isoformat(timespec="seconds"), one.operation, one.as_of or "–", one.run_id or "–")
        for one in versions
    ]
    print_table(("version", "at", "operation", "as_of", "run"), rows)


@tables_app.command()
def optimize(
    tables: Names = None,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put small files of each date together; no row changes, and older versions stay readable."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.formats.compact import optimize_tables

    done = optimize_tables(loaded, tables or ())
    if as_json:
        print_json({"tables": [asdict(one) for one in done]})
    elif not quiet:
        print_table(("table", "small files", "put into"), [(one.table, one.removed, one.added) for one in done])


@tables_app.command()
def vacuum(
    tables: Names = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove files that no version of `publish.keep_days` and `publish.keep_versions` needs."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.formats.compact import vacuum_tables

    done = vacuum_tables(loaded, datetime.now(UTC), tables or (), dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "tables": [asdict(one) for one in done]})
        return
    if quiet:
        return
    verb = "would be removed" if dry_run else "removed"
    for one in done:
        write(sys.stdout, clean(f"{one.table}: {plural(len(one.files), 'file')} {verb}"))
