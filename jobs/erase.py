"""`tamis erase`: take people out of everything that was written about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError
from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.erasure.erase import Erasure, Planned


def erase(
    users: Annotated[
        list[str] | None,
        typer.Argument(metavar="[USER]...", help="Ids of users, as the sources have them.", show_default=False),
    ] = None,
    *,
    ids_from: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A file of ids: text with one per line, or CSV or Parquet with a column user_id.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why, for the receipt; it must name nobody.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it the plan is printed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Erase people from everything that was written about them, for good; a later run does not bring them back."""
    from engine.asked_users import asked_users

    is_planned = dry_run or not yes
    if reason is None and not is_planned:
        raise ConfigError(
            "--reason is missing: the receipt says why people were erased",
            code="erase-reason",
            hint="Such as --reason 'request of 2026-03-01'; it must name nobody.",
        )
    asked = asked_users(users or [], ids_from)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.erasure.erase import erase_people, plan_erasure

    if is_planned:
        planned = plan_erasure(loaded, asked)
        if as_json:
            print_json({**_described(planned), "erased": False})
        elif not quiet:
            _print_plan(planned, asked=not dry_run)
        return
    done = erase_people(loaded, asked, str(reason), tell=lambda text: say(text, quiet=quiet))
    if as_json:
        print_json(
            {**_described(done.planned), "erased": True, "receipts": list(done.receipts), "removed": _removed(done)}
        )
    elif not quiet:
        _print_done(done)


def _described(planned: Planned) -> dict[str, object]:
    return {
        "asked": planned.asked,
        "known": planned.known,
        "unknown": list(planned.unknown),
        "erased_before": list(planned.before),
        "holdings": {name: dict(held) for name, held in planned.holdings.items()},
        "learnt_from": [dict(one) for one in planned.bundles],
        "exports": [dict(one) for one in planned.exports],
        "sources": {owner: list(files) for owner, files in planned.sources.items()},
    }


def _removed(done: Erasure) -> dict[str, object]:
    return {
        name: {"rows": one.rows, "rewritten": one.rewritten, "removed": one.removed}
        for name, one in done.removed.items()
    }


def _print_plan(planned: Planned, *, asked: bool) -> None:
    _print_unknown(planned)
    if not planned.known:
        return
    rows = [(name, held["rows"], held["files"]) for name, held in planned.holdings.items()]
    if rows:
        print_table(("held in", "rows", "files"), rows)
    _print_rest(planned)
    _line(f"Would erase {_people(planned.known)}" + ("; do it with --yes and --reason" if asked else ""))


def _print_done(done: Erasure) -> None:
    _print_unknown(done.planned)
    rows = [
        (name, one.rows, one.rewritten, one.removed)
        for name, one in done.removed.items()
        if one.rows or one.rewritten or one.removed
    ]
    if rows:
        print_table(("erased from", "rows", "files rewritten", "files removed"), rows)
    _print_rest(done.planned)
    if done.planned.known:
        _line(f"Erased {_people(done.planned.known)}; no file under the output names them any more")
    for receipt in done.receipts:
        _line(f"Receipt: {shown_path(receipt)}")


def _print_unknown(planned: Planned) -> None:
    unknown = [number for number in planned.unknown if number not in planned.before]
    before = [number for number in planned.unknown if number in planned.before]
    if unknown:
        _line(f"Nothing is held about {plural(len(unknown), 'id')} ({_places(unknown)}); nothing to erase there")
    if before:
        _line(f"{plural(len(before), 'id')} ({_places(before)}) erased before; nothing came back")


def _print_rest(planned: Planned) -> None:
    if planned.bundles:
        _line(
            f"Bundles that may have learnt from them stay: {', '.join(str(one['bundle']) for one in planned.bundles)}"
        )
    for one in planned.exports:
        _line(f"Export of {one['as_of']} for {one['tool']} may have had them: {shown_path(str(one['to']))}")
    if planned.sources:
        files = sum(len(found) for found in planned.sources.values())
        names = ", ".join(planned.sources)
        _line(f"The sources still hold them ({names}: {plural(files, 'file')}); later runs leave them out")


def _places(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"number {shown}{', …' if len(numbers) > 10 else ''} of those given"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _line(text: str) -> None:
    write(sys.stdout, clean(text))
