"""`tamis init`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from jobs.console import plural, print_json, print_table, say, write
from jobs.options import AsJson, Quiet

_GUESSES = "Instead of a guess"

Files = Annotated[list[str], typer.Argument(metavar="FILES…", help="Parquet files, folders or globs in quotes.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", "--config", "-c", metavar="FILE", help="The configuration file to write.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file when it exists.")]
User = Annotated[str | None, typer.Option("--user", metavar="COLUMN", help="User id.", rich_help_panel=_GUESSES)]
Type = Annotated[str | None, typer.Option("--type", metavar="COLUMN", help="Event type.", rich_help_panel=_GUESSES)]
Time = Annotated[str | None, typer.Option("--time", metavar="COLUMN", help="Event time.", rich_help_panel=_GUESSES)]
Amount = Annotated[str | None, typer.Option("--amount", metavar="COLUMN", help="Money.", rich_help_panel=_GUESSES)]


def init(
    *,
    files: Files,
    output: Output = Path("tamis.toml"),
    force: Force = False,
    user: User = None,
    event_type: Type = None,
    time: Time = None,
    amount: Amount = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look at event files, guess what their columns mean, and write a commented tamis.toml that runs."""
    from datetime import timedelta

    from engine.config_file import load_config
    from engine.events.inspect import draft_source
    from engine.events.roles import ROLES, guess_roles
    from engine.events.sample import take_sample
    from engine.events.starter import row_notes, source_name, starter_config
    from engine.events.survey import survey_source

    given = {"user_id": user, "event_type": event_type, "event_time": time, "amount": amount}
    paths = files[0] if len(files) == 1 else tuple(files)
    sample = take_sample(paths)
    if output.exists() and not force:
        raise _exists(output)
    known = {name: column for name, column in given.items() if column is not None}
    draft = draft_source(source_name(files), paths, sample, known)
    survey = survey_source(draft.source, [condition.sql for condition in draft.conditions])
    guess = guess_roles(survey.types)
    written = replace(draft, source=draft.source.model_copy(update={"path": _relative(files, output)}))
    text = starter_config(written, survey, guess)
    _write(output, text, force=force)
    load_config(output)

    columns = draft.source.columns.model_dump(exclude_none=True)
    roles = guess.roles.model_dump(include=set(ROLES), exclude_none=True)
    unused = row_notes(draft, survey)
    if as_json:
        notes = [*unused, *draft.notes, *guess.notes]
        answer = {"path": str(output), "columns": columns, "where": draft.source.where}
        print_json({**answer, "event_types": survey.types, "roles": roles, "notes": notes})
        return
    if quiet:
        return
    write(sys.stdout, f"{plural(sample.total_rows, 'row')} in {plural(sample.files, 'file')}\n")
    print_table(("column", "taken from"), [(name, _shown(entry)) for name, entry in columns.items()])
    write(sys.stdout, "")
    role_of = {name: role for role, name in roles.items()}
    shown = list(survey.types.items())[:50]
    print_table(("event type", "rows", "role"), [(name, rows, role_of.get(name, "")) for name, rows in shown])
    for note in (*draft.notes, *guess.notes):
        say(f"note: {note}")
    for note in unused:
        say(f"warning: {note}")
    as_of = survey.last_day + timedelta(days=1)
    option = "" if output == Path("tamis.toml") else f" -c {output}"
    say(f"\nwrote {output}; read it, then: tamis run{option} --as-of {as_of}")


def _shown(entry: object) -> str:
    return ", ".join(f"{key}: {value}" for key, value in entry.items()) if isinstance(entry, dict) else str(entry)


def _relative(files: Sequence[str], output: Path) -> str | tuple[str, ...]:
    """The paths as they are written into `output`: relative to its folder, unless they were given as absolute ones."""
    folder = output.absolute().parent
    paths = tuple(
        file if Path(file).is_absolute() else os.path.relpath(Path(file).absolute(), folder) for file in files
    )
    return paths[0] if len(paths) == 1 else paths


def _write(output: Path, text: str, *, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise _exists(output) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"no folder {str(output.parent)!r} to write {output.name!r} into",
            code="init-no-folder",
            hint="Make the folder first, or name another file with -o.",
        ) from error


def _exists(output: Path) -> ConfigError:
    return ConfigError(
        f"{str(output)!r} exists and is left as it is",
        code="init-exists",
        hint="Name another file with -o, or replace it with --force.",
    )
