"""`tamis segments`: which segments there are, what is wrong with them, and what a new rule would give."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import ConfigError, ExitCode
from jobs.console import clean, plural, print_json, print_table, say, shown_path, write
from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    Assignments,
    ConfigFile,
    ExecutorName,
    Out,
    PublishedDay,
    Quiet,
)
from jobs.segment_tables import cell, print_list, print_preview, print_shown
from jobs.session import Settings, load, parse_day, session
from jobs.table_file import ToFile, check_table_file, write_table

if TYPE_CHECKING:
    from engine.config import Config
    from engine.why.lint import Finding
    from engine.why.preview import Preview

segments_app = typer.Typer(help="Look at the segments, check them, and try rules.")

SegmentName = Annotated[str, typer.Argument(metavar="NAME", help="A segment.", show_default=False)]
LabelLanguage = Annotated[Literal["en", "fr"], typer.Option("--language", help="Language of the labels.")]

_SHOWN_INTERVALS = 50


@segments_app.command("list")
def list_segments(
    *,
    as_of: PublishedDay = None,
    language: LabelLanguage = "en",
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print the segments: group, kind, users, share, change since the date before, and rule."""
    check_table_file(to)
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.why.listing import segment_list

    found = segment_list(loaded, day, language)
    write_table(found.table, to)
    if as_json:
        about = {"as_of": found.as_of, "since": found.since, "users": found.users}
        print_json({**about, "segments": found.table.to_dicts()})
        return
    if quiet:
        return
    if found.as_of is None:
        write(sys.stdout, "Segments of the configuration; nothing is published yet")
    else:
        since = "" if found.since is None else f", changes since {found.since}"
        write(sys.stdout, f"Segments on {found.as_of}: {found.users or 0:,} users{since}")
    print_list(found.table, counted=found.as_of is not None, compared=found.since is not None)


@segments_app.command()
def show(
    name: SegmentName,
    *,
    as_of: PublishedDay = None,
    language: LabelLanguage = "en",
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print everything about one segment: rule, size, what it depends on, what its users are like, key figures."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from dataclasses import asdict

    from engine.why.listing import segment_shown

    found = segment_shown(loaded, name, day, language)
    if as_json:
        print_json(asdict(found))
    elif not quiet:
        print_shown(found)


@segments_app.command()
def lint(
    *,
    as_of: PublishedDay = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with code 4 when there are warnings.")] = False,
    no_data: Annotated[bool, typer.Option("--no-data", help="Look at the configuration alone.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check the segments of a configuration, also with the published tables of a date if there are any.

    Ends with code 2 when there are errors (a run would stop), with 4 when there are warnings and --strict is given.
    """
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.why.lint import count_of

    found, looked_at = _findings(loaded, day, no_data=no_data)
    numbers = {severity: count_of(found, severity) for severity in ("error", "warning", "note")}
    if as_json:
        listed = [{"severity": f.severity, "check": f.check, "segment": f.segment, "message": f.message} for f in found]
        print_json({"as_of": looked_at, **{f"{name}s": count for name, count in numbers.items()}, "findings": listed})
    elif not quiet:
        for finding in found:
            where = "" if finding.segment is None else f" {finding.segment!r}"
            first, *more = clean(finding.message).splitlines()
            write(sys.stdout, clean(f"{finding.severity}[{finding.check}]{where}: {'' if more else first}").rstrip())
            for line in (first, *more) if more else ():
                write(sys.stdout, f"  {line}")
        told = ", ".join(plural(count, name) for name, count in numbers.items())
        data = "no published tables were looked at" if looked_at is None else f"with the tables of {looked_at}"
        write(sys.stdout, f"{told}; {data}")
    if numbers["error"]:
        raise typer.Exit(ExitCode.USAGE)
    if numbers["warning"] and strict:
        raise typer.Exit(ExitCode.HELD)


@segments_app.command("preview")
def preview_rule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule; docs/rules.md has the language.")],
    *,
    as_of: PublishedDay = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What the segment would be called.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="COLUMN", help="A column to compare with all users; repeatable."),
    ] = None,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            "--purpose",
            metavar="PURPOSE",
            help="What its users must have agreed to; repeatable. As configured when NAME is a segment that is.",
        ),
    ] = None,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what a rule would give on a published date: users, what each clause does, overlap with every segment."""
    check_table_file(to)
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address)).config
    found = _preview(loaded, day, rule, by, _purposes(loaded, name, purpose), quiet=quiet)
    from dataclasses import asdict

    import polars as pl

    write_table(pl.DataFrame([asdict(overlap) for overlap in found.overlaps]), to)
    if as_json:
        print_json({"name": name, **found.to_dict()})
    elif not quiet:
        print_preview(found, name)


@segments_app.command("freeze")
def freeze_segment(
    name: SegmentName,
    *,
    as_of: PublishedDay = None,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The list: a new file, .parquet or .csv.")],
    called: Annotated[
        str | None,
        typer.Option("--name", metavar="NEW", help="Name of the new segment; NAME and the day if not given."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the users of a segment on a published date as a static list, and print the lines that make it a segment."""
    check_table_file(to)
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.why.freeze import freeze

    found = freeze(loaded, name, day, to, called=called, beside=config.absolute().parent)
    if as_json:
        left_out = {"withheld": found.withheld, "without_consent": found.without_consent}
        print_json({"file": str(found.file), "users": found.users, **left_out, "toml": found.stanza})
        return
    gone = found.withheld + found.without_consent
    more = f" ({gone} more of the date left out: they have withdrawn since, or object)" if gone else ""
    say(f"{plural(found.users, 'user')} in {shown_path(str(found.file))}{more}; add to {config}:", quiet=quiet)
    if not quiet:
        write(sys.stdout, found.stanza.rstrip())


@segments_app.command("history")
def segment_history(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A segment; all when not given.", show_default=False)
    ] = None,
    *,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Only this user.")] = None,
    as_of: PublishedDay = None,
    to: ToFile = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Print since when and until when users were in segments, over all published dates up to one."""
    check_table_file(to)
    if name is None and user is None:
        raise ConfigError(
            "expected a segment, or a user with --user ID",
            code="history-of-what",
            hint="The whole history of everybody is the table membership_history.",
        )
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out)).config
    from engine.why.intervals import intervals

    until, table = intervals(loaded, day, name, user)
    write_table(table, to)
    if as_json:
        print_json({"as_of": until, "rows": table.height, **({} if to else {"history": table.to_dicts()})})
        return
    if quiet:
        return
    write(sys.stdout, f"{plural(table.height, 'interval')} up to {until}; a day under 'to' is the first not in it")
    rows = [[cell(value) for value in row] for row in table.drop("rule_version").head(_SHOWN_INTERVALS).iter_rows()]
    print_table(("user", "segment", "group", "from", "to"), rows)
    if table.height > _SHOWN_INTERVALS:
        say(f"the first {_SHOWN_INTERVALS} of {table.height:,}; --to FILE has all")


def _findings(config: Config, day: Any, *, no_data: bool) -> tuple[tuple[Finding, ...], Any]:
    """All findings, and the published date that was looked at."""
    from engine.segments.definitions import definitions
    from engine.why.lint import count_of, in_order, lint
    from engine.why.lint_data import data_findings
    from engine.why.published import open_published, published_dates
    from engine.why.scope import scope_of, spec_of

    out = Path(config.out).absolute()
    wanted = not no_data and (day is not None or bool(published_dates(out)))
    published = open_published(out, day) if wanted else None
    found = lint(config, day if published is None else published.as_of)
    # What cannot be read cannot be looked at; the errors are to be mended first.
    if published is None or count_of(found, "error"):
        return found, None
    scope = scope_of(published, spec_of(published, config))
    return in_order((*found, *data_findings(config, definitions(config), published, scope))), published.as_of


def _purposes(config: Config, name: str | None, given: Sequence[str] | None) -> tuple[str, ...]:
    """What users of a rule must have agreed to: what is given, or else what the segment of that name asks for."""
    from engine.segments.definitions import segment_purposes

    return tuple(given) if given else segment_purposes(config).get(name or "", ())


def _preview(
    config: Config, day: Any, rule: str, by: Sequence[str] | None, purposes: Sequence[str], *, quiet: bool
) -> Preview:
    from engine.suggest import did_you_mean, some_of
    from engine.why.measured import measured
    from engine.why.preview import checked_rule, missing_measures, preview, usual_columns
    from engine.why.published import open_published
    from engine.why.scope import scope_of, spec_of
    from engine.why.standing import standing_of

    published = open_published(Path(config.out).absolute(), day)
    spec = spec_of(published, config)
    scope = scope_of(published, spec)
    unknown = [column for column in by or () if column not in scope.columns]
    if unknown:
        listed = "\n".join(f"  {column!r}{did_you_mean(column, scope.columns)}" for column in unknown)
        raise ConfigError(
            f"--by names columns that {published.as_of} was published without\n{listed}",
            code="preview-by",
            hint=f"Columns: {some_of(scope.columns)}.",
        )
    read = checked_rule(rule, scope)
    extra, missing = None, missing_measures(read, published)
    if missing:
        with session(config, quiet=quiet) as run:
            extra = measured(run.config, published, spec, missing, executor=run.executor, progress=run.progress)
    asked, notes = standing_of(config, published, purposes)
    compared = tuple(by or usual_columns(read, scope.columns))
    return preview(read, published, compared, extra, standing=asked, purposes=purposes, notes=notes)
