"""`tamis duplicates`: contacts that are of one person, and what is decided about them."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.errors import ConfigError
from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day
from jobs.table_file import ToFile, check_table_file, write_table

if TYPE_CHECKING:
    from engine.config import Config
    from engine.contacts.duplicates.decisions import Kind
    from engine.contacts.duplicates.run import Decided, Findings
    from engine.contacts.duplicates.table import Asked

duplicates_app = typer.Typer(help="Find contacts of one person, merge them, and undo it.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids of contacts.", show_default=False)]
FromFile = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A file of pairs with user_id and other_id, such as the edited pairs.csv.",
        show_default=False,
    ),
]
On = Annotated[
    str | None, typer.Option("--on", metavar="YYYY-MM-DD", help="The day it is noted under; today when not given.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, and say what would be done.")]

_SHOWN = 50
_CROWDS = 10


@duplicates_app.command()
def find(
    *,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day whose contacts count; their last rows by default."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Merge what the configuration merges without asking.")] = False,
    on: On = None,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Look for contacts of one person, and write the pairs for review to _contacts/ below the output folder."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    noted = _day(on, loaded)
    from engine.contacts.duplicates.run import find_duplicates
    from jobs.progress import progress_bars

    with progress_bars(quiet=quiet or as_json) as progress:
        found = find_duplicates(loaded, day, on=noted, apply=apply, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(_plain(found))
    elif not quiet:
        _print_findings(found, apply=apply, dry_run=dry_run)


@duplicates_app.command("list")
def list_decisions(
    *,
    decision: Annotated[
        Literal["merged", "confirmed", "undone", "refused"] | None,
        typer.Option("--decision", help="Only such pairs."),
    ] = None,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the pairs that were decided about: what was decided, by whom and when, and which id stays."""
    check_table_file(to)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.contacts.duplicates.run import decided_pairs

    pairs = decided_pairs(loaded)
    if decision is not None:
        pairs = pairs.filter(pairs["decision"] == decision)
    write_table(pairs, to)
    if as_json:
        print_json({"pairs": pairs.to_dicts()})
        return
    if quiet:
        return
    counts = {name: int((pairs["decision"] == name).sum()) for name in ("merged", "confirmed", "undone", "refused")}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    write(sys.stdout, f"{plural(pairs.height, 'pair')}{': ' * bool(told)}{told}")
    rows = [
        (clean(one), clean(other), word, str(when), by, "–" if stays is None else clean(stays))
        for one, other, word, when, by, stays in pairs.head(_SHOWN).iter_rows()
    ]
    if rows:
        print_table(("id", "other", "decision", "on", "by", "stays"), rows)
    if pairs.height > _SHOWN:
        write(sys.stdout, f"… and {pairs.height - _SHOWN:,} more: --to FILE writes them all")


@duplicates_app.command()
def merge(
    ids: Ids = None,
    *,
    pairs: FromFile = None,
    on: On = None,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make contacts one person from the next run on; a file with a column decision also undoes and refuses."""
    loaded = load(config, Settings(assignments or (), out)).config
    _decide(loaded, _asked("merge", ids, pairs), on, dry_run=dry_run, as_json=as_json, quiet=quiet)


@duplicates_app.command()
def refuse(
    ids: Ids = None,
    *,
    pairs: FromFile = None,
    on: On = None,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Note that two contacts are two people, so that they are never merged without asking."""
    loaded = load(config, Settings(assignments or (), out)).config
    _decide(loaded, _asked("refuse", ids, pairs), on, dry_run=dry_run, as_json=as_json, quiet=quiet)


@duplicates_app.command()
def undo(
    ids: Ids = None,
    *,
    pairs: FromFile = None,
    on: On = None,
    dry_run: DryRun = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Part two contacts that were merged with each other, from the next run on; other merges stay."""
    loaded = load(config, Settings(assignments or (), out)).config
    _decide(loaded, _asked("undo", ids, pairs), on, dry_run=dry_run, as_json=as_json, quiet=quiet)


def _asked(kind: Kind, ids: list[str] | None, file: Path | None) -> list[Asked]:
    from engine.contacts.duplicates.run import pairs_among
    from engine.contacts.duplicates.table import Asked, read_pairs_file

    if bool(ids) == (file is not None):
        raise ConfigError(
            "expected ids or --from FILE, got " + ("both" if ids else "neither"),
            code="duplicates-pairs",
            hint=f"For example: tamis duplicates {kind} 17 42",
        )
    if file is not None:
        asked = read_pairs_file(file, kind)
        # A file with decisions may be given as a whole to each command: merge does all of it.
        return asked if kind == "merge" else [one for one in asked if one.kind == kind]
    named = ids or []
    if kind != "merge" and len(named) != 2:
        raise ConfigError(
            f"expected two ids, got {len(named)}",
            code="duplicates-pairs",
            hint=f"For example: tamis duplicates {kind} 17 42; several pairs with --from FILE.",
        )
    return [Asked(pair, kind) for pair in pairs_among(named)]


def _decide(config: Config, asked: list[Asked], on: str | None, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    day = _day(on, config)
    from engine.contacts.duplicates.run import decide

    done = decide(config, asked, on=day, dry_run=dry_run)
    if as_json:
        print_json({**done.counts, "outdated": done.outdated, "dry_run": dry_run, "merged_ids": done.links.height})
    elif not quiet:
        _print_decided(done, dry_run=dry_run)


def _day(on: str | None, config: Config) -> date:
    from jobs.clock import today

    return today(config.timezone) if on is None else parse_day(on, "--on")


def _print_decided(done: Decided, *, dry_run: bool) -> None:
    told = ", ".join(f"{count:,} {name}" for name, count in done.counts.items() if count) or "nothing"
    write(sys.stdout, f"{'would be' if dry_run else 'pairs'}: {told}")
    if done.outdated:
        rows, say_ = plural(done.outdated, "row"), "says" if done.outdated == 1 else "say"
        write(
            sys.stdout,
            f"left as decided: {rows} of the file {say_} how a pair was before it was decided otherwise; write merge, "
            "undo or refuse there to decide again",
        )
    if not dry_run and any(done.counts[name] for name in ("merged", "undone")):
        write(sys.stdout, f"{plural(done.links.height, 'id')} merged into others in all; the next run follows")


def _plain(found: Findings) -> dict[str, object]:
    return {
        "contacts": found.contacts,
        "compared": found.compared,
        "pairs": found.pairs,
        "decisions": found.decisions,
        "duplicates": found.duplicates,
        "surplus": found.surplus,
        "duplicate_rate": round(found.rate, 6),
        "unasked": found.unasked,
        "merged_now": found.merged,
        "crowds": [{"kind": one.kind, "key": one.key, "contacts": one.contacts} for one in found.crowds],
        "files": [str(file) for file in found.files],
    }


def _print_findings(found: Findings, *, apply: bool, dry_run: bool) -> None:
    kinds = ", ".join(f"{count:,} {name}" for name, count in found.pairs.items())
    write(sys.stdout, f"{plural(found.contacts, 'contact')}, {plural(found.compared, 'candidate pair')} compared")
    write(sys.stdout, f"pairs: {kinds}; " + ", ".join(f"{count:,} {name}" for name, count in found.decisions.items()))
    write(
        sys.stdout,
        f"duplicates: {plural(found.duplicates, 'contact')} ({found.rate:.2%}) in groups, {found.surplus:,} too many",
    )
    if apply:
        write(sys.stdout, f"{'would be merged' if dry_run else 'merged'}: {plural(found.merged, 'pair')}")
    elif found.unasked:
        write(sys.stdout, f"{plural(found.unasked, 'pair')} would be merged without asking by --apply")
    for file in found.files:
        write(sys.stdout, shown_path(str(file)))
    for crowd in found.crowds[:_CROWDS]:
        what = "share one value of" if crowd.kind == "exact" else "are in one block of"
        then = "listed, not merged without asking" if crowd.kind == "exact" else "not compared by it"
        say(f"warning: {crowd.contacts:,} contacts {what} {clean(crowd.key)}: {then}")
    if len(found.crowds) > _CROWDS:
        say(f"warning: and {len(found.crowds) - _CROWDS:,} more such groups; --json has them all")
