"""`tamis verify`: whether everything under the output root is what was written there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError, ExitCode, IntegrityError
from jobs.console import clean, plural, print_json, shown_path, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day, session

if TYPE_CHECKING:
    from engine.stages.verifying import VerifiedOutput

_SHOWN = 50


def verify(
    *,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="YYYY-MM-DD", help="Only the tables of this date.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every date, the bundles and the rollups, as without --as-of.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read the keys back: each is there once and none is null.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare tables, bundles and rollups with the checksums that were written with them."""
    if everything and as_of is not None:
        raise ConfigError("--all and --as-of exclude each other", code="usage", hint="Give one of them, or neither.")
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.stages.verifying import verify_output

    with session(loaded.config, quiet=quiet) as run:
        root = Path(run.config.out).absolute()
        found = verify_output(root, day, deep=deep, executor=run.executor, progress=run.progress)
    if as_json:
        print_json(_described(root, found))
        return ExitCode.INTEGRITY if found.problems else ExitCode.DONE
    if found.problems:
        raise _error(root, found)
    if not quiet:
        _print(root, found)
    return ExitCode.DONE


def _described(root: Path, found: VerifiedOutput) -> dict[str, object]:
    return {
        "out": str(root),
        "dates": [day.isoformat() for day in found.dates],
        "files": found.files,
        "bytes": found.bytes,
        "bundles": found.bundles,
        "units": found.units,
        "problems": [{"where": one.where, "problem": one.problem, "remedy": one.remedy} for one in found.problems],
        "leftovers": list(found.leftovers),
    }


def _error(root: Path, found: VerifiedOutput) -> IntegrityError:
    lines = [f"  {one.where}: {one.problem}; {one.remedy}" for one in found.problems[:_SHOWN]]
    more = [f"  and {len(found.problems) - _SHOWN} more"] if len(found.problems) > _SHOWN else []
    count = plural(len(found.problems), "problem")
    return IntegrityError(
        "\n".join([f"{count} under {shown_path(str(root))}", *lines, *more]),
        code="output-damaged",
        hint="Check the disk, and do what is told behind each; --json prints them all.",
    )


def _print(root: Path, found: VerifiedOutput) -> None:
    from jobs.summary import size_text

    what = ", ".join(
        (
            plural(len(found.dates), "date"),
            plural(found.bundles, "bundle"),
            f"{plural(found.units, 'unit')} of rollups",
        )
    )
    size = f"{plural(found.files, 'file')}, {size_text(found.bytes)}"
    write(sys.stdout, clean(f"{shown_path(str(root))} is whole: {what}; {size}"))
    for name in found.leftovers:
        write(sys.stdout, clean(f"Left by a run that was killed or is writing now: {name}"))
