"""`tamis consent`: who agreed to what, by purpose, form version and source."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from engine.consent.coverage import Coverage


def consent(
    *,
    as_of: Annotated[
        str,
        typer.Option("--as-of", metavar="YYYY-MM-DD", help="First day whose consents do not count yet."),
    ],
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print who agreed to what as of a day: granted, withdrawn and never asked, by purpose, form version and source."""
    day = parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out))
    from engine.stages.permits_now import consent_coverage

    found = consent_coverage(loaded.config, day)
    if as_json:
        print_json(found.to_dict())
        return
    _print(found)
    if not quiet:
        for line in found.record.warnings():
            write(sys.stderr, clean(f"warning: {line}"))


def _print(found: Coverage) -> None:
    record = found.record
    users = "no rollup store yet" if found.users is None else f"{plural(found.users, 'user')} in the rollup store"
    write(
        sys.stdout, f"Consents as of {found.as_of}: {plural(record.rows, 'row')}, {record.used} of them count; {users}"
    )
    rows = [
        (
            one.purpose,
            f"{one.granted:,}",
            f"{one.withdrawn:,}",
            "–" if one.never_asked is None else f"{one.never_asked:,}",
            f"{one.never_granted:,}",
            f"{one.contradictory:,}",
            f"{one.future:,}",
        )
        for one in found.purposes
    ]
    columns = ("purpose", "granted", "withdrawn", "never asked", "withdrawn first", "contradictory", "future rows")
    print_table(columns, rows)
    if found.proofs:
        write(sys.stdout, "")
        proofs = [
            (
                one.purpose,
                clean(one.form_version or "–"),
                clean(one.source or "–"),
                f"{one.granted:,}",
                f"{one.withdrawn:,}",
            )
            for one in found.proofs
        ]
        print_table(("purpose", "form version", "source", "granted", "withdrawn"), proofs)
