"""`tamis gc`: remove old dates, bundles that nothing uses, and what killed runs left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.stages.collecting import Collected


def gc(
    *,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days", metavar="N", min=0, help="Keep dates that are up to N days older than the newest one."
        ),
    ] = None,
    keep_dates: Annotated[
        int | None, typer.Option("--keep-dates", metavar="N", min=1, help="Keep the last N published dates.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Remove what no reader needs; published dates only when they are beyond every limit that is given."""
    loaded = load(config, Settings(assignments or (), out))
    from engine.stages.collecting import collect, plan_collection

    root = Path(loaded.config.out).absolute()
    do = plan_collection if dry_run or not root.exists() else collect
    found = do(root, keep_days=keep_days, keep_dates=keep_dates)
    for note in found.notes:
        say(f"warning: {note}", quiet=quiet)
    if as_json:
        print_json(_described(root, found, removed=not dry_run))
    elif not quiet:
        _print(root, found, removed=not dry_run)


def _described(root: Path, found: Collected, *, removed: bool) -> dict[str, object]:
    return {
        "out": str(root),
        "removed": removed,
        "items": [
            {"kind": item.kind, "name": item.name, "files": item.files, "bytes": item.bytes} for item in found.items
        ],
        "files": sum(item.files for item in found.items),
        "bytes": sum(item.bytes for item in found.items),
        "kept": [day.isoformat() for day in found.kept],
        "notes": list(found.notes),
    }


def _print(root: Path, found: Collected, *, removed: bool) -> None:
    from jobs.summary import size_text

    if found.items:
        rows = [(item.kind, item.name, item.files, size_text(item.bytes)) for item in found.items]
        print_table(("kind", "name", "files", "size"), rows)
    size = f"{plural(sum(item.files for item in found.items), 'file')}, {size_text(sum(i.bytes for i in found.items))}"
    done = "Removed" if removed else "Would remove"
    stays = f"{plural(len(found.kept), 'date')} stay" + ("s" if len(found.kept) == 1 else "")
    write(sys.stdout, clean(f"{done} {size} under {shown_path(str(root))}; {stays}"))
