"""`tamis publish`: commit published tables to their table format."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day


def publish(
    *,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="YYYY-MM-DD", help="The date to commit; every published one when not given."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Commit to Delta or Iceberg tables what is published in the folder and not in them yet."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.formats.commit import publish_again, tables_url

    outcome = publish_again(loaded, day)
    if not quiet:
        for line in outcome.refused:
            say(f"warning: {line}")
    if as_json:
        print_json(
            {
                "format": loaded.publish.format,
                "url": tables_url(loaded),
                "committed": [asdict(one) for one in outcome.committed],
                "refused": outcome.refused,
            }
        )
        return
    if quiet:
        return
    if not outcome.committed:
        write(sys.stdout, clean(f"Nothing to commit: {tables_url(loaded)} holds what is published."))
        return
    header = ("table", "as_of", "rows", "files", "version", "run")
    rows = [
        (one.table, one.as_of, one.rows, one.files, "–" if one.version is None else str(one.version), one.run_id)
        for one in outcome.committed
    ]
    print_table(header, rows)
    write(sys.stdout, clean(f"{plural(len(rows), 'commit')} to {tables_url(loaded)}"))
