"""How `tamis segments` shows lists of segments, one segment, and the preview of a rule."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.console import clean, plural, print_table, write

if TYPE_CHECKING:
    import polars as pl

    from engine.why.listing import Shown
    from engine.why.preview import Preview


def print_list(table: pl.DataFrame, *, counted: bool, compared: bool) -> None:
    """The table of segments; without columns for users where nothing is published."""
    headers = ["segment", "label", "group", "kind", "priority"]
    headers += ["users", "share"] * counted + ["change"] * compared + ["rule"]
    rows = []
    for row in table.iter_rows(named=True):
        cells = [row["segment"], row["label"], row["group"] or "(tag)", row["kind"], cell(row["priority"])]
        if counted:
            cells += [row["users"], _percent(row["share"])]
        if compared:
            cells.append(_signed(row["change"]))
        rows.append([*cells, _short(row["rule"])])
    print_table(headers, rows)


def print_shown(found: Shown) -> None:
    """Everything of one segment, a line per fact."""
    line = found.line
    shown = {
        "segment": line["segment"],
        "label": line["label"],
        "group": line["group"] or "(tag)",
        "kind": line["kind"],
        "rule": line["rule"],
        "priority": line["priority"],
        "users": None if line["users"] is None else f"{line['users']:,} ({_percent(line['share'])}) on {found.as_of}",
        "rule holds for": None if found.reach is None else _left(found.reach.users, found.reach.taken),
        "change": None if line["change"] is None else _signed(line["change"]),
        "entries, exits": None if found.entries is None else f"{found.entries:,} in, {found.exits or 0:,} out",
        "depends on": ", ".join(found.depends_on) or None,
        "used by": ", ".join(found.used_by) or None,
        **{name.replace("_", " "): _plain(value) for name, value in found.about.items()},
    }
    for label, value in shown.items():
        if value is not None:
            write(sys.stdout, clean(f"{label.ljust(14)}  {value}"))
    if found.composition:
        write(sys.stdout, "\nWhat tells its users from all users most")
        print_table(
            ("column", "value", "users", "share", "all users"),
            [
                (row["column"], cell(row["bin"]), row["users"], _percent(row["share"]), _percent(row["base_share"]))
                for row in found.composition
            ],
        )
    if found.kpis:
        write(sys.stdout, "")
        print_table(
            ("key figure", ""), [(name.replace("_", " "), _figure(name, value)) for name, value in found.kpis.items()]
        )


def print_preview(found: Preview, name: str | None) -> None:
    """Users of a rule, clauses, overlap with other segments, and what the users are like."""
    called = "The rule" if name is None else repr(name)
    share = "" if found.share is None else f" ({found.share:.1%})"
    write(sys.stdout, clean(f"{called} has {found.users:,} of {found.total:,} users{share} on {found.as_of}"))
    if found.withheld:
        was = "user is" if found.withheld == 1 else "users are"
        told = f"{found.withheld:,} published {was} not counted: without consent, or objecting, by now"
        write(sys.stdout, f"  {told}")
    if found.without_consent:
        who = plural(found.without_consent, "more user")
        write(sys.stdout, clean(f"  {who} would be in it, but for the consent to {', '.join(found.purposes)}"))
    for note in found.notes:
        write(sys.stdout, clean(f"  note: {note}"))
    if found.users:
        write(sys.stdout, f"  as a tag: {plural(found.users, 'user')}")
        write(sys.stdout, clean(f"  at the end of the group primary: {_left(found.at_the_end, found.taken)}"))
    write(sys.stdout, "")
    effects = [(effect.text, effect.users, effect.excludes, effect.admits) for effect in found.clauses]
    print_table(("clause", "holds for", "alone keeps out", "alone lets in"), effects)
    write(sys.stdout, "")
    overlaps = [
        (overlap.segment, overlap.group or "(tag)", overlap.users, overlap.both, _percent(overlap.jaccard))
        for overlap in found.overlaps
        if overlap.both
    ]
    if overlaps:
        print_table(("segment", "group", "users", "in both", "both ÷ either"), overlaps)
    apart = len(found.overlaps) - len(overlaps)
    if apart:
        write(sys.stdout, f"no user in common with {plural(apart, 'other segment' if overlaps else 'segment')}")
    if found.composition:
        write(sys.stdout, "")
        rows = []
        for row in found.composition:
            levelled = row.missing or row.level is not None
            value = "(no value)" if row.missing else row.level if row.level is not None else "mean"
            numbers = [_percent(number) if levelled else cell(number) for number in (row.inside, row.base)]
            rows.append((row.column, value, *numbers))
        print_table(("column", "value", "these users", "all users"), rows)


def _figure(name: str, value: object) -> object:
    share = name == "conversion" or name.endswith(("_share", "_rate", "_rate_human"))
    return _percent(value) if share and isinstance(value, float) else value


def _left(users: int, taken: Sequence[tuple[str, int]]) -> str:
    """`3 users; segments tried before it take 11 of them: a 8, b 3`."""
    if not taken:
        return plural(users, "user")
    named = ", ".join(f"{name} {number:,}" for name, number in taken)
    return f"{plural(users, 'user')}; segments tried before it take {sum(dict(taken).values()):,} of them: {named}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text}" for key, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(text: str | None) -> str:
    limit = 100
    return "–" if text is None else text if len(text) <= limit else f"{text[:limit]}…"


def _signed(change: int | None) -> str:
    return "–" if change is None else f"{change:+,}" if change else "0"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def cell(value: object) -> object:
    """A value of a table; a dash for none."""
    return "–" if value is None else value
