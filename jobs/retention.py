"""`tamis retention`: what has been kept for longer than the configuration says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.clock import refuse_future, today
from jobs.console import clean, plural, print_json, print_table, say, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day, session

if TYPE_CHECKING:
    from engine.retention.retain import Plan


def retention(
    *,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day from which ages are counted; today if not given."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase and remove what is found.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, as without --yes.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find what has been kept for too long: people, dates of tables, records and exports; with --yes it goes."""
    loaded = load(config, Settings(assignments or (), out, executor, address))
    zone = loaded.config.timezone
    day = today(zone) if as_of is None else parse_day(as_of)
    refuse_future([day], zone, allowed=False)
    from engine.retention.retain import apply_retention, described, plan_retention

    with session(loaded.config, quiet=quiet) as run:
        plan = plan_retention(run.config, day, executor=run.executor, progress=run.progress)
    for note in plan.old.notes:
        say(f"warning: {note}", quiet=quiet)
    receipts: tuple[str, ...] = ()
    applies = yes and not dry_run
    if applies:
        receipts = apply_retention(loaded.config, plan, tell=lambda line: say(line, quiet=quiet)).receipts
    told = described(plan)
    if as_json:
        print_json({"applied": applies, **told, "receipts": list(receipts)})
    elif not quiet:
        _print(plan, told, receipts, applied=applies)


def _print(plan: Plan, told: dict[str, Any], receipts: tuple[str, ...], *, applied: bool) -> None:
    from jobs.summary import size_text

    rows: list[tuple[object, ...]] = []
    if plan.people is not None:
        acts = ", ".join(plan.people.acts)
        rows.append(("people", f"{len(plan.people.ids):,} of {plan.people.users:,} users", f"last act ({acts})"))
    for name, one in told["tables"].items():
        dates = one["dates"]
        span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        rows.append((f"table {name}", f"{plural(len(dates), 'date')}, {size_text(one['bytes'])}", span))
    if told["begun"]:
        rows.append(("leftovers", plural(told["begun"], "table"), "a retention that was cut short"))
    if told["records"]:
        rows.append(("records", plural(told["records"], "file"), "_runs, _register"))
    if told["exports"]["files"]:
        rows.append(("exports", plural(told["exports"]["files"], "file"), ", ".join(told["exports"]["exports"])))
    if rows:
        print_table(("what", "how much", "of"), rows)
    if plan.is_empty:
        write(sys.stdout, clean(f"Nothing is older than its period as of {plan.as_of}."))
    elif applied:
        write(sys.stdout, clean(f"Done; receipts: {', '.join(receipts)}"))
    else:
        write(sys.stdout, "Nothing was changed; --yes does it.")
