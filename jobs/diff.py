"""`tamis diff`: entries, exits and moves between two published dates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day
from jobs.table_file import ToFile, check_table_file, write_table

if TYPE_CHECKING:
    from engine.ledger.diff import Diff

_SHOWN_USERS = 50


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="The earlier date, YYYY-MM-DD.", show_default=False)],
    after: Annotated[str, typer.Argument(metavar="B", help="The later date, YYYY-MM-DD.", show_default=False)],
    *,
    segment: Annotated[str | None, typer.Option("--segment", metavar="NAME", help="Only this segment.")] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Only segments of this group, and moves within it.")
    ] = None,
    users: Annotated[bool, typer.Option("--users", help="List the users; --to then writes them.")] = False,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print who entered and left each segment between two published dates, and the moves within a group."""
    days = parse_day(before, "A"), parse_day(after, "B")
    check_table_file(to)
    loaded = load(config, Settings(assignments or (), out))
    from engine.ledger.diff import diff_dates

    found = diff_dates(Path(loaded.config.out), *days, segment=segment, group=group, with_users=users)
    write_table(found.segments if found.users is None else found.users, to)
    if as_json:
        listed = {} if found.users is None else {"users": found.users.to_dicts()}
        print_json(
            {
                "before": days[0].isoformat(),
                "after": days[1].isoformat(),
                "segments": found.segments.to_dicts(),
                "group": found.group,
                "moves": found.moves.to_dicts(),
                **listed,
            }
        )
        return
    if not quiet:
        _print(found, is_written=to is not None)


def _print(found: Diff, *, is_written: bool) -> None:
    titles = ("segment", "group", "before", "entries", "exits", "stays", "after", "rule")
    lines = []
    for name, group, *figures, was, now in found.segments.rows():
        lines.append((name, group or "(tag)", *figures, _rule(was, now)))
    write(sys.stdout, f"Segments from {found.before} to {found.after}")
    print_table(titles, lines)
    _print_moves(found)
    if found.users is not None:
        _print_users(found, is_written=is_written)


def _rule(was: str | None, now: str | None) -> str:
    if was == now:
        return ""
    if was is None:
        return "new"
    return "removed" if now is None else "changed"


def _print_moves(found: Diff) -> None:
    moves = {(old, new): users for old, new, users in found.moves.rows()}
    if not moves:
        return
    olds, news = (sorted({pair[side] for pair in moves}, key=_nobody_last) for side in (0, 1))
    write(sys.stdout, clean(f"\nUsers by segment of the group {found.group} before (rows) and after (columns)"))
    rows = [[_name(old), *(moves.get((old, new), 0) for new in news)] for old in olds]
    print_table(["from / to", *map(_name, news)], rows)


def _nobody_last(name: str | None) -> tuple[bool, str]:
    return name is None, name or ""


def _name(name: str | None) -> str:
    return "(none)" if name is None else clean(name)


def _print_users(found: Diff, *, is_written: bool) -> None:
    if found.users is None or found.users.is_empty():
        return
    write(sys.stdout, "")
    shown = found.users.head(_SHOWN_USERS)
    print_table(
        ("user", "segment", "change", "from / to"),
        [(str(user), name, change, other or "–") for user, name, _, change, other in shown.rows()],
    )
    rest = found.users.height - shown.height
    if rest and not is_written:
        say(f"… and {plural(rest, 'more change')}: --to FILE writes them all, --json prints them.")
