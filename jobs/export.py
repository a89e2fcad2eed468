"""`tamis export`: users of segments as files for e-mail tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from engine.exports.record import ExportRecord


def export(
    tool: Annotated[
        Literal["brevo", "mailchimp", "listmonk", "ga4", "csv"],
        typer.Argument(metavar="TOOL", help="brevo, mailchimp, listmonk, ga4 or csv.", show_default=False),
    ],
    *,
    segment: Annotated[
        list[str],
        typer.Option("--segment", metavar="NAME", help="A segment; repeatable.", show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the files.", show_default=False)],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="YYYY-MM-DD", help="A published date; the latest when not given.")
    ] = None,
    changes: Annotated[
        bool,
        typer.Option("--changes", help="Also who entered and who left, in files of their own."),
    ] = False,
    suppress: Annotated[
        list[Path] | None,
        typer.Option("--suppress", metavar="FILE", help="Addresses or user ids that are left out; repeatable."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in that folder.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the users of segments as files that an e-mail tool imports, and say where every user of them went."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out))
    from engine.exports.export import export_segments
    from engine.exports.record import Request
    from jobs.progress import progress_bars

    request = Request(tool, tuple(segment), to, day, changes, tuple(suppress or ()), overwrite)
    with progress_bars(quiet=quiet) as progress:
        record = export_segments(loaded.config, request, progress=progress)
    if as_json:
        print_json(record.to_dict())
    elif not quiet:
        _print(record)
    for unit in record.units:
        for header, cells in unit.clipped.items():
            say(f"warning: {unit.segment}: {plural(cells, 'text')} cut at 255 bytes in {header!r}", quiet=quiet)
        for header, cells in unit.emptied.items():
            what = f"{plural(cells, 'value')} of {header!r} left empty"
            say(f"{unit.segment}: {what}: somebody has the same who objects, was erased or has withdrawn", quiet=quiet)


def _print(record: ExportRecord) -> None:
    write(sys.stdout, clean(f"Segments of {record.as_of} for {record.tool}, in {shown_path(record.to)}"))
    reasons = [name for name in record.units[0].left_out if any(unit.left_out[name] for unit in record.units)]
    titles = ("segment", "", "users", "written", *(name.replace("_", " ") for name in reasons), "files")
    rows = [
        (unit.segment, unit.kind, unit.users, unit.written, *(unit.left_out[name] for name in reasons), len(unit.files))
        for unit in record.units
    ]
    print_table(titles, rows)
