"""`tamis subject`: everything that is held about a person."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.erasure.subject import Subject


def subject(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of a user, as the sources have it.")],
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Write everything to this folder: JSON, and CSV per table.", show_default=False
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Hand out everything that is held about a person: rows of all tables, contacts, consents, exports."""
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.erasure.subject import check_subject_folder, subject_of, write_subject

    root = Path(loaded.out).absolute()
    if to is not None:
        check_subject_folder(to, root)
    found = subject_of(loaded, user)
    written = () if to is None else write_subject(found, to, root)
    if as_json:
        print_json({**found.to_dict(), **({} if to is None else {"to": str(to), "files": list(written)})})
    elif not quiet:
        _print(found)
        if to is not None:
            write(sys.stdout, clean(f"Wrote {plural(len(written), 'file')} to {shown_path(str(to))}"))


def _print(found: Subject) -> None:
    if not found.parts:
        write(sys.stdout, "Nothing is held about this id")
        return
    rows = [(part.holding, part.name, part.rows.height, len(part.files)) for part in found.parts]
    print_table(("held in", "what", "rows", "files"), rows)
    for owner, files in found.sources.items():
        write(sys.stdout, clean(f"Source {owner}: {plural(len(files), 'file')} of your own may have rows of them"))
    for one in found.exports:
        write(sys.stdout, clean(f"Export of {one['as_of']} for {one['tool']}: {shown_path(str(one['to']))}"))
