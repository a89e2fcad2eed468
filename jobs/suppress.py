"""`tamis suppress`: people who object to any use of their data, kept as keyed hashes of ids, addresses and numbers."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    import polars as pl

    from engine.config import Config
    from engine.privacy.suppress import Changed

suppress_app = typer.Typer()

_STDIN = "-"

Lists = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…",
        help="Text with one id, address or telephone number per line, or CSV or Parquet with a column user_id, email "
        "or phone; - is stdin.",
        show_default=False,
    ),
]
SomeLists = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE…]", help="As for `add`; - is stdin.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


@suppress_app.command()
def add(
    files: Lists,
    *,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="YYYY-MM-DD", help="The day they objected; today (UTC) when not given."),
    ] = None,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put people on the list; from the next run on they are in no output, and no export has them."""
    day = datetime.now(UTC).date() if on is None else parse_day(on, "--on")
    settings = load(config, Settings(assignments or (), out)).config
    from engine.privacy.suppress import add_people

    changed = add_people(settings, _values(settings, files), day, dry_run=dry_run)
    _tell(changed, ("added", "would be added", "were on it already"), as_json=as_json, quiet=quiet)


@suppress_app.command()
def remove(
    files: SomeLists = None,
    *,
    earlier_keys: Annotated[
        bool,
        typer.Option("--earlier-keys", help="Everything that was added with earlier keys, after it was added again."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would go.")] = False,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take people from the list, for they agree again; nothing happens without --yes."""
    if earlier_keys == bool(files):
        raise typer.BadParameter("expected either files, or --earlier-keys")
    settings = load(config, Settings(assignments or (), out)).config
    from engine.privacy.suppress import remove_of_earlier_keys, remove_people

    confirmed = yes and not dry_run
    if earlier_keys:
        changed = remove_of_earlier_keys(settings, confirmed=confirmed)
    else:
        changed = remove_people(settings, _values(settings, files or []), confirmed=confirmed)
    _tell(changed, ("removed", "would be removed", "were not on it"), as_json=as_json, quiet=quiet)


@suppress_app.command("list")
def list_people(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Print how many people object, and when they were added; nobody can be told from the list."""
    settings = load(config, Settings(assignments or (), out)).config
    from engine.privacy.suppress import list_people as listed_people

    listed = listed_people(settings)
    if as_json:
        files = [{"file": file, "values": values} for file, values in listed.clear]
        print_json(
            {
                "file": str(listed.file),
                "listed": listed.listed,
                "added": listed.added,
                "keys": list(listed.keys),
                "configured": files,
            }
        )
        return
    if listed.added:
        print_table(("added", "people"), list(listed.added.items()))
    where = shown_path(str(listed.file))
    write(sys.stdout, clean(f"{_people(listed.listed)} on the list in {where}"))
    for file, values in listed.clear:
        write(sys.stdout, clean(f"{plural(values, 'value')} in {shown_path(file)}, by the configuration"))


@suppress_app.command()
def check(
    files: Lists,
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Say how many of some ids, addresses and telephone numbers are on the list."""
    settings = load(config, Settings(assignments or (), out)).config
    from engine.privacy.suppress import check_people

    found, asked = check_people(settings, _values(settings, files))
    if as_json:
        print_json({"asked": asked, "listed": found})
    else:
        write(sys.stdout, f"{found} of {plural(asked, 'value')} on the list")


def _values(config: Config, files: list[Path]) -> pl.Series:
    from engine.privacy.suppress import given_values

    lines = sys.stdin.read().splitlines() if Path(_STDIN) in files else []
    return given_values(config, [file for file in files if file != Path(_STDIN)], lines)


def _tell(changed: Changed, words: tuple[str, str, str], *, as_json: bool, quiet: bool) -> None:
    done, would, others = words
    if as_json:
        print_json(
            {
                "file": str(changed.file),
                "given": changed.given,
                "changed": changed.changed,
                "listed": changed.listed,
                "written": changed.written,
            }
        )
        return
    said = f"{_people(changed.changed)} {done if changed.written else would}"
    rest = changed.given - changed.changed
    more = f", {rest} {others}" if rest > 0 else ""
    where = shown_path(str(changed.file))
    if not quiet:
        write(sys.stdout, clean(f"{said}{more}; {_people(changed.listed)} on the list in {where}"))


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"
