"""`tamis report`, and the report that a run ends with."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import ConfigError, TamisError
from jobs.console import plural, print_json, say, shown_path, write
from jobs.options import DEFAULT_CONFIG, AsJson, Assignments, ConfigFile, Out, PublishedDay, Quiet
from jobs.session import Settings, load, parse_bound

if TYPE_CHECKING:
    from engine.config import Config
    from engine.config_report import Report as ReportSettings

Language = Annotated[
    Literal["en", "fr"] | None,
    typer.Option("--language", help="The language that is shown first; that of the configuration when not given."),
]
CompareDay = Annotated[
    str | None,
    typer.Option(
        "--compare", metavar="YYYY-MM-DD", help="Compare with this date; the published date before when not given."
    ),
]


def report(
    *,
    as_of: PublishedDay = None,
    compare: CompareDay = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Write the page here; else into _reports/ of the tables' folder."),
    ] = None,
    index: Annotated[bool, typer.Option("--index", help="Write the page of all dates and nothing else.")] = False,
    cards: Annotated[bool, typer.Option("--cards", help="Also write a page per model and per segment.")] = False,
    tables: Annotated[
        Path | None, typer.Option("--tables", metavar="DIR", help="Also write the figures' tables: Parquet and CSV.")
    ] = None,
    language: Language = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a page of a published date for people: one HTML file with figures, in English and French."""
    asked, against = parse_bound(as_of, "--as-of"), parse_bound(compare, "--compare")
    others = {"--compare": compare, "--to": to, "--cards": cards, "--tables": tables}
    if index and any(others.values()):
        named = ", ".join(name for name, value in others.items() if value)
        raise ConfigError(
            f"--index writes the page of all dates alone, and was given with {named}",
            code="report-options",
            hint="Leave one of them out; the index is written anew with every report anyway.",
        )
    loaded = load(config, Settings(assignments or (), out))
    root, settings = Path(loaded.config.out), settings_of(loaded.config, language)
    day = published_day(root, asked)
    check_report_target(to)
    from engine.reporting.facts import read_facts
    from engine.reporting.places import check_target, report_file
    from engine.reporting.write import write_cards, write_index, write_page

    if index:
        _tell({"index": str(write_index(root, settings))}, as_json=as_json, quiet=quiet)
        return
    for target, option in ((to, "--to"), (tables, "--tables")):
        if target is not None:
            check_target(root, target, option)
    facts = read_facts(root, day, against, min_cell=settings.min_cell)
    told: dict[str, Any] = {"as_of": day.isoformat(), "compare": facts.compare}
    told["report"] = str(write_page(facts, settings, to or report_file(root, day)))
    if cards:
        told["cards"] = [str(path) for path in write_cards(facts, settings)]
    if tables is not None:
        told["tables"] = _tables(facts, settings, tables)
    if to is None:
        told["index"] = str(write_index(root, settings))
    _tell(told, as_json=as_json, quiet=quiet)


def report_after(config: Config, day: date, *, quiet: bool) -> str | None:
    """The path of the report of a date that a run has just published; None when none could be made.

    The tables are published: whatever goes wrong here is a warning.
    """
    try:
        from engine.reporting.write import write_report

        return str(write_report(Path(config.out), day, config.report).report)
    except TamisError as error:
        say(f"warning: the tables are published, but not their report: {error.message}", quiet=quiet)
        if error.hint:
            say(f"hint: {error.hint}", quiet=quiet)
    except Exception as error:  # noqa: BLE001 - a page that cannot be made does not fail a published run
        name = type(error).__name__
        say(f"warning: the tables are published, but not their report: {name}: {error}", quiet=quiet)
    return None


def settings_of(config: Config, language: str | None) -> ReportSettings:
    """What is shown, and how: the configuration, and the language that was asked for."""
    return config.report if language is None else config.report.model_copy(update={"language": language})


def published_day(root: Path, asked: date | None) -> date:
    """The day that was asked for, the last published one without.

    Raises:
        ConfigError: Nothing is published.
    """
    if asked is not None:
        return asked
    from engine.why.published import published_dates

    dates = published_dates(root)
    if not dates:
        raise ConfigError(f"nothing is published under {root}", code="not-published", hint="Run `tamis run` first.")
    return dates[-1]


def check_report_target(path: Path | None) -> None:
    """Stop before any work when the page could not be written there.

    Raises:
        ConfigError: It is a folder, or in no folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(
            f"--to expects a file, and {str(path)!r} is a folder",
            code="report-target",
            hint="Name the page, such as report.html.",
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"the folder of {str(path)!r} does not exist", code="to-no-folder", hint="Make it, or name another file."
        )


def _tables(facts: Any, settings: ReportSettings, folder: Path) -> dict[str, dict[str, object]]:
    from engine.reporting.report import report_of
    from engine.reporting.tables import write_tables

    return {
        key: {"parquet": str(table.parquet), "csv": str(table.csv), "rows": table.rows}
        for key, table in write_tables(report_of(facts, settings), folder).items()
    }


def _tell(told: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json(told)
        return
    if quiet:
        return
    for name in ("report", "index"):
        if name in told:
            write(sys.stdout, f"{name:<7} {shown_path(told[name])}")
    if told.get("cards"):
        folder = shown_path(str(Path(told["cards"][0]).parent))
        write(sys.stdout, f"{'cards':<7} {folder}: {plural(len(told['cards']), 'page')}")
    if told.get("tables"):
        folder = shown_path(str(Path(next(iter(told["tables"].values()))["csv"]).parent))
        write(sys.stdout, f"{'tables':<7} {folder}: {plural(len(told['tables']), 'table')}, each as Parquet and CSV")
