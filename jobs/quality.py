"""`tamis quality`: what was measured of the data, and how it has changed over published dates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.console import clean, plural, print_json, print_table, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, PublishedDay
from jobs.report import published_day
from jobs.session import Settings, load, parse_bound

if TYPE_CHECKING:
    from engine.quality.trend import Line, Trends


def quality(
    *,
    as_of: PublishedDay = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="NAME", help="One source or enrichment, contacts, or run; all when not given."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", metavar="NAME", help="One metric.")] = None,
    by_day: Annotated[bool, typer.Option("--by-day", help="Where the rows of each day went, instead.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Print what was measured of the data of a published date, against the dates before."""
    asked = parse_bound(as_of, "--as-of")
    loaded = load(config, Settings(assignments or (), out))
    root = Path(loaded.config.out)
    day = published_day(root, asked)
    from engine.quality.trend import trends

    found = trends(root, day, source, metric)
    if as_json:
        days = {"days": found.days.to_dicts()} if by_day else {}
        print_json({"as_of": day.isoformat(), "measured": [_plain(line) for line in found.lines], **days})
    elif by_day:
        _print_days(found)
    else:
        _print_lines(found)


def _plain(line: Line) -> dict[str, Any]:
    return {**vars(line), "trend": {day.isoformat(): value for day, value in line.trend}}


def _print_lines(found: Trends) -> None:
    from engine.reporting.trends import sparkline

    earlier = len(found.lines[0].trend) - 1
    write(sys.stdout, f"Quality of the data of {found.as_of}, and of {plural(earlier, 'date')} before")
    rows = [
        (
            clean(line.name),
            line.metric,
            clean(line.column or ""),
            _number(line, line.value),
            _number(line, line.previous),
            "" if line.change is None else f"{line.change:+.1%}",
            "" if line.status == "none" else line.status,
            sparkline([value for _, value in line.trend]),
        )
        for line in found.lines
        if not line.metric.startswith("rows_") or any(value for _, value in line.trend)
    ]
    print_table(("of", "metric", "column", "value", "before", "change", "limit", "trend"), rows)


def _print_days(found: Trends) -> None:
    write(sys.stdout, f"Rows by source and day, as of {found.as_of}")
    names = [name for name in found.days.columns if name in ("source", "day") or found.days[name].sum()]
    lines = found.days.select(names).rows()
    print_table(names, [[cell if isinstance(cell, int) else clean(str(cell)) for cell in line] for line in lines])


def _number(line: Line, value: float | None) -> str:
    if value is None:
        return "–"
    is_share = line.metric == "completeness" or line.metric.endswith("_share")
    return f"{value:.2%}" if is_share else f"{value:,.0f}"
