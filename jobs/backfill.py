"""`tamis backfill`: run what is missing, date after date."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.errors import ConfigError
from jobs.begin import Begin
from jobs.clock import refuse_future
from jobs.console import clean, diagnosis, plural, print_json, report_failure, write
from jobs.options import (
    DEFAULT_CONFIG,
    Accept,
    Address,
    AllowFuture,
    AsJson,
    Assignments,
    ConfigFile,
    ExecutorName,
    LogFile,
    LogFormat,
    MetricsFile,
    NotifyCommand,
    NotifyOn,
    Out,
    Quiet,
    WaitForLock,
)
from jobs.session import Session, Settings, Watching, load_watched, parse_bound, parse_day, session

if TYPE_CHECKING:
    from engine.schedule.backfill import How, Outcome

Every = Literal["day", "week", "month"]


def backfill(
    *,
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first date.")] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The first date that is left out.")
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--last", metavar="N", min=1, help="Begin N days before --to, or with the log."),
    ] = None,
    every: Annotated[Every, typer.Option("--every", help="Each day, or one day of each week or month.")] = "day",
    dates: Annotated[
        str | None, typer.Option("--dates", metavar="DATE,DATE", help="These dates, instead of --from and --to.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also the dates that are done.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a date that fails.")] = False,
    accept: Accept = None,
    wait_for_lock: WaitForLock = None,
    allow_future: AllowFuture = False,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    log_format: LogFormat = None,
    log_file: LogFile = None,
    metrics_file: MetricsFile = None,
    notify_command: NotifyCommand = None,
    notify_on: NotifyOn = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the dates that are missing or for which late data came, the earliest first, and leave what is done."""
    days = _days(first, end, last, every, dates)
    begin = Begin(wait_for_lock, allow_future=allow_future, quiet=quiet)
    watching = Watching(log_format, log_file, metrics_file, notify_command, notify_on)
    settings = Settings(assignments or (), out, executor, address, watching, begin.overrides())
    watched = load_watched("backfill", None, config, settings)
    wanted = watched.loaded.config
    refuse_future(days, wanted.timezone, allowed=begin.allow_future)
    outcomes: list[Outcome] = []
    started = time.monotonic()
    try:
        with session(wanted, quiet=quiet, watched=watched) as opened:
            how = _how(opened, begin, again, keep_going, tuple(accept or ()), leave_out=last is not None)
            try:
                _run(opened, days, outcomes, how, shown=not (as_json or quiet))
            finally:
                if outcomes and not (as_json or quiet):
                    _print_summary(outcomes, len(days), time.monotonic() - started)
            _end(opened, outcomes)
    except Exception as error:
        if not as_json or not outcomes:
            raise
        code = report_failure(error, as_json=False)
        print_json(_described(outcomes, days, code))
        raise typer.Exit(code) from error
    if as_json:
        print_json(_described(outcomes, days, 0))


def _days(first: str | None, end: str | None, last: int | None, every: Every, dates: str | None) -> tuple[date, ...]:
    """The dates that are asked for, ascending.

    Raises:
        ConfigError: Options that do not fit together, or no dates.
    """
    start, stop = parse_bound(first, "--from"), parse_bound(end, "--to")
    listed = [] if dates is None else [parse_day(text.strip(), "--dates") for text in dates.split(",")]
    is_range = stop is not None and (start is None) != (last is None)
    if bool(listed) == is_range or (listed and (start or stop or last)):
        raise ConfigError(
            "expected --from and --to, --last and --to, or --dates",
            code="backfill-range",
            hint="tamis backfill --from 2026-01-01 --to 2027-01-01 --every month",
        )
    if listed or stop is None:
        return tuple(sorted(set(listed)))
    from engine.schedule.dates import dates_between, last_days

    return dates_between(start, stop, every) if start is not None else last_days(last or 1, stop, every)


def _how(
    opened: Session, begin: Begin, again: bool, keep_going: bool, accept: tuple[str, ...], *, leave_out: bool
) -> How:
    from engine.schedule.backfill import How
    from engine.schedule.pause import pause_of

    return How(
        opened.executor,
        opened.progress,
        begin.tell,
        accept,
        again,
        keep_going,
        opened.recorded,
        pause_of(opened.executor),
        # The line of a schedule is the same on the first days of a log.
        leave_out=leave_out,
    )


def _run(opened: Session, days: Sequence[date], outcomes: list[Outcome], how: How, *, shown: bool) -> None:
    from engine.schedule.backfill import backfill as fill

    for outcome in fill(opened.config, days, how):
        outcomes.append(outcome)
        if shown and outcome.state != "left_out":
            write(sys.stdout, _line(outcome))


def _end(opened: Session, outcomes: Sequence[Outcome]) -> None:
    """Take down what the back-fill came to; the failure that counts most is the one it ends with."""
    from engine.schedule.backfill import worst

    def code_of(error: Exception) -> int:
        return diagnosis(error)[0]

    published = [outcome.record for outcome in outcomes if outcome.record is not None]
    if published:
        opened.done(published[-1])
    code = worst(outcomes, code_of)
    if code:
        raise next(one.error for one in outcomes if one.error is not None and code_of(one.error) == code)
    if not published:
        opened.skipped(0)


def _line(outcome: Outcome) -> str:
    if outcome.error is not None:
        _, name, message, _ = diagnosis(outcome.error)
        what = f"{name}: {message.splitlines()[0] if message else ''}"
    else:
        users = outcome.counts.get("users")
        why = f" ({', '.join(outcome.reasons)})" if outcome.reasons else ""
        what = f"{plural(users, 'user') if isinstance(users, int) else ''}  {outcome.run_id}{why}"
        warnings = outcome.counts.get("warnings", ()) if outcome.record is not None else ()
        what += f", {plural(len(warnings), 'warning')}" if warnings else ""
    return clean(f"{outcome.as_of}  {outcome.state:9}  {_time(outcome.seconds):>8}  {what}")


def _print_summary(outcomes: Sequence[Outcome], asked: int, seconds: float) -> None:
    states = Counter(outcome.state for outcome in outcomes)
    parts = [f"{states[state]} {state}" for state in ("published", "done", "failed") if states[state]]
    left = asked - len(outcomes)
    parts += [f"{left} not begun"] if left else []
    early = states["left_out"]
    parts += [f"{early} left out, for the log begins later"] if early else []
    write(sys.stdout, f"{plural(asked, 'date')}: {', '.join(parts)}; {_time(seconds)}")


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _described(outcomes: Sequence[Outcome], days: Sequence[date], code: int) -> dict[str, object]:
    states = Counter(outcome.state for outcome in outcomes)
    return {
        "asked": len(days),
        "published": states["published"],
        "done": states["done"],
        "failed": states["failed"],
        "left_out": states["left_out"],
        "exit_code": code,
        "dates": [_entry(outcome) for outcome in outcomes],
    }


def _entry(outcome: Outcome) -> dict[str, object]:
    failure = None
    if outcome.error is not None:
        code, name, message, hint = diagnosis(outcome.error)
        failure = {"code": name, "message": clean(message), "hint": clean(hint), "exit_code": code}
    warnings = list(outcome.counts.get("warnings", ())) if outcome.record is not None else []
    return {
        "as_of": outcome.as_of.isoformat(),
        "state": outcome.state,
        "reasons": list(outcome.reasons),
        "run_id": outcome.run_id,
        "users": outcome.counts.get("users"),
        "seconds": round(outcome.seconds, 3),
        "warnings": warnings,
        "error": failure,
    }
