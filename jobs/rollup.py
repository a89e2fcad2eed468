"""`tamis rollup`: what the rollup store has of the log, whether it is whole, and units rolled up again or taken out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_bound, session

if TYPE_CHECKING:
    from engine.rollups.compare import UnitState
    from engine.rollups.maintain import Name, Selection
    from engine.stages.upkeep import Listed, Rebuilt

rollup_app = typer.Typer()

_SHOWN = 10
_UNDATED = "(undated)"
_COUNTS = ("rows", "kept", "duplicates", "merged", "rejected", "excluded", "erased")

SourceName = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only the units of one source.")]
From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first day; by the dates of units.")]
To = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The first day that is left out.")]


@rollup_app.command("list")
def list_units(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    source: SourceName = None,
    first: From = None,
    end: To = None,
    months: Annotated[bool, typer.Option("--months", help="One line per month.")] = False,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print what the store has of each unit of the log: current, changed, new (not in the store) or gone."""
    selection = _selection(source, first, end)
    loaded = load(config, Settings(assignments or (), out))
    from engine.stages.upkeep import list_units as listed_units

    listed = listed_units(loaded.config, selection)
    if listed.problem is not None:
        say(f"warning: {listed.problem}; the next run makes the store anew", quiet=quiet)
    if as_json:
        units = [_described(unit) for unit in listed.units]
        store = {"path": str(listed.store), "files": listed.files, "bytes": listed.bytes}
        print_json({"store": store, "units": units, "totals": _totals(listed.units)})
        return
    _print_units(listed.units, months=months)
    _print_totals(listed, everything=selection.is_everything)


@rollup_app.command()
def verify(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Read every file of the store and compare it with what was written."""
    loaded = load(config, Settings(assignments or (), out))
    from engine.rollups.maintain import verify_store
    from engine.stages.upkeep import store_of
    from jobs.progress import progress_bars

    store = store_of(loaded.config)
    with progress_bars(quiet=quiet) as progress:
        found = verify_store(store, progress=progress)
    if as_json:
        whole = {"units": found.units, "files": found.files, "bytes": found.bytes, "unindexed": list(found.unindexed)}
        print_json({"store": str(store), **whole})
        return
    from jobs.summary import size_text

    size = f"{plural(found.units, 'unit')} in {plural(found.files, 'file')}, {size_text(found.bytes)}"
    _tell(f"The store {shown_path(str(store))} is whole: {size}")
    if found.unindexed:
        _tell(
            f"{plural(len(found.unindexed), 'file')} that no unit needs, of a run that was killed or is writing now; "
            f"the next run removes what is left: {_some(found.unindexed)}"
        )


@rollup_app.command()
def rebuild(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    source: SourceName = None,
    first: From = None,
    end: To = None,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Roll up units again, whatever the store has of them; all of them when none are named."""
    selection = _selection(source, first, end)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.stages.upkeep import rebuild as rebuild_units

    with session(loaded.config, quiet=quiet) as run:
        rebuilt = rebuild_units(run.config, selection, executor=run.executor, progress=run.progress)
    if rebuilt.problem is not None:
        say(f"warning: {rebuilt.problem}; the whole store was made anew", quiet=quiet)
    if as_json:
        print_json(
            {
                "store": {"path": str(rebuilt.store), "files": rebuilt.files, "bytes": rebuilt.bytes},
                "rebuilt": _named(rebuilt.units),
                "others": rebuilt.others,
                "gone": _named(rebuilt.gone),
                "rows": rebuilt.rows,
            }
        )
    elif not quiet:
        _print_rebuilt(rebuilt)


@rollup_app.command()
def drop(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    source: SourceName = None,
    first: From = None,
    end: To = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would go.")] = False,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take units out of the store; the next run that needs them rolls them up again."""
    selection = _selection(source, first, end)
    loaded = load(config, Settings(assignments or (), out))
    from engine.stages.upkeep import drop_units
    from jobs.summary import size_text

    dropped = drop_units(loaded.config, selection, confirmed=yes)
    if as_json:
        print_json(
            {"removed": yes, "units": _named(dropped.units), "files": dropped.files, "bytes": dropped.bytes},
        )
        return
    if quiet and yes:
        return
    what = f"{plural(len(dropped.units), 'unit')}, {plural(dropped.files, 'file')}, {size_text(dropped.bytes)}"
    listed = f": {_some([_name(name) for name in dropped.units])}" if dropped.units else ""
    if yes:
        _tell(f"Removed {what}{listed}")
    else:
        _tell(f"Would remove {what}{listed}")
        say("Nothing was removed. Add --yes to do it.", quiet=quiet)


def _tell(text: str) -> None:
    write(sys.stdout, clean(text))


def _selection(source: str | None, first: str | None, end: str | None) -> Selection:
    start, stop = parse_bound(first, "--from"), parse_bound(end, "--to")
    from engine.rollups.maintain import Selection

    return Selection(source, start, stop)


def _print_units(units: Sequence[UnitState], *, months: bool) -> None:
    from jobs.summary import size_text

    groups: dict[Name, list[UnitState]] = {}
    for unit in units:
        is_dated = _is_dated(unit.label)
        groups.setdefault((unit.source, unit.label[:7] if months and is_dated else unit.label), []).append(unit)
    rows = []
    for (source, label), members in groups.items():
        sums = [_sum(members, name) for name in ("rows", "kept", "duplicates", "rejected")]
        states = Counter(unit.state for unit in members)
        state = ", ".join(f"{number} {name}" if months else name for name, number in sorted(states.items()))
        size = size_text(sum(unit.bytes for unit in members)) if any(unit.files for unit in members) else None
        cells = [_days(members), *sums, sum(unit.files for unit in members) or None, size]
        rows.append((source, _unit(label), *("–" if cell is None else cell for cell in cells), state))
    if rows:
        headers = ("source", "unit", "days", "rows", "events", "duplicates", "rejected", "files", "size", "state")
        print_table(headers, rows)


def _print_totals(listed: Listed, *, everything: bool) -> None:
    from jobs.summary import size_text

    totals = Counter(unit.state for unit in listed.units)
    states = ", ".join(f"{totals[state]:,} {state}" for state in ("current", "changed", "new", "gone") if totals[state])
    rows = _sum(listed.units, "rows")
    read = "" if rows is None else f"; {plural(rows, 'row')}, {plural(_sum(listed.units, 'kept') or 0, 'event')}"
    units = f"{plural(len(listed.units), 'unit')}{'' if everything else ' of these'}"
    write(sys.stdout, f"{units}{f': {states}' if states else ''}{read}")
    where = shown_path(str(listed.store))
    if not listed.files:
        _tell(f"The store {where} is empty; the first run fills it.")
    else:
        _tell(f"The store {where} has {plural(listed.files, 'file')}, {size_text(listed.bytes)}")


def _print_rebuilt(rebuilt: Rebuilt) -> None:
    from jobs.summary import size_text

    listed = f": {_some([_name(name) for name in rebuilt.units])}" if rebuilt.units else ""
    _tell(f"Rolled up {plural(len(rebuilt.units), 'unit')} again{listed}")
    if rebuilt.others:
        _tell(f"Rolled up {plural(rebuilt.others, 'other unit')} that were new, changed or damaged")
    if rebuilt.gone:
        gone = _some([_name(name) for name in rebuilt.gone])
        _tell(f"Removed {plural(len(rebuilt.gone), 'unit')} that the log does not have any more: {gone}")
    size = f"{plural(rebuilt.files, 'file')}, {size_text(rebuilt.bytes)}"
    _tell(f"Read {plural(rebuilt.rows, 'row')}; the store {shown_path(str(rebuilt.store))} has {size}")


def _described(unit: UnitState) -> dict[str, object]:
    from engine.rollups.compare import day_text

    first, last = (None, None) if unit.days is None else map(day_text, unit.days)
    return {
        "source": unit.source,
        "unit": unit.label,
        "state": unit.state,
        "first_day": first,
        "last_day": last,
        **{name: getattr(unit, name) for name in _COUNTS},
        "files": unit.files,
        "bytes": unit.bytes,
    }


def _totals(units: Sequence[UnitState]) -> dict[str, object]:
    states = Counter(unit.state for unit in units)
    return {
        "units": len(units),
        **{state: states[state] for state in ("current", "changed", "new", "gone")},
        **{name: _sum(units, name) or 0 for name in _COUNTS},
        "files": sum(unit.files for unit in units),
        "bytes": sum(unit.bytes for unit in units),
    }


def _sum(units: Sequence[UnitState], name: str) -> int | None:
    """The sum of a number over the units that have it; None when none has."""
    known = [value for unit in units if (value := getattr(unit, name)) is not None]
    return sum(known) if known else None


def _days(units: Sequence[UnitState]) -> str | None:
    from engine.rollups.compare import day_text

    known = [unit.days for unit in units if unit.days is not None]
    if not known:
        return None
    first, last = day_text(min(known)[0]), day_text(max(last for _, last in known))
    return first if first == last else f"{first}..{last}"


def _is_dated(label: str) -> bool:
    from engine.rollups.units import date_in

    return bool(label) and date_in(label) == label


def _unit(label: str) -> str:
    if not label:
        return _UNDATED
    return label if "/" not in label else shown_path(label)


def _name(name: Name) -> str:
    return f"{name[0]} {_unit(name[1])}"


def _named(names: Sequence[Name]) -> list[dict[str, str]]:
    return [{"source": source, "unit": label} for source, label in names]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
