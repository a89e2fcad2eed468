"""`tamis explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.console import clean, plural, print_json, print_table, shown_path, write
from jobs.options import (
    DEFAULT_CONFIG,
    Address,
    AsJson,
    AsOf,
    Assignments,
    Bundle,
    ConfigFile,
    ExecutorName,
    Out,
    Quiet,
)
from jobs.session import Settings, load, parse_day, session

if TYPE_CHECKING:
    from engine.explanation import Explanation


def explain(
    *,
    as_of: AsOf,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="ID", help="A user to explain, by published id; repeatable.")
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="File of users: one id per line, or Parquet with `user_id`."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Only the score of this target.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="Reasons per user and target.")] = 5,
    language: Annotated[Literal["en", "fr"], typer.Option("--language", help="Language of the sentences.")] = "en",
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Folder for the table of reasons (Parquet); empty or not there."),
    ] = None,
    bundle: Bundle = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say in words what raised or lowered the scores of some users as of a day."""
    day = parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.asked_users import asked_users
    from engine.explanation import Question, explain_run
    from jobs.summary import print_warnings

    question = Question(asked_users(user or (), users), target, top, language)
    with session(loaded.config, quiet=quiet) as run:
        found = explain_run(
            run.config, day, question, executor=run.executor, bundle=bundle, to=to, progress=run.progress
        )
    if not quiet:
        print_warnings(found.record)
    if as_json:
        listed = {} if to is not None else {"scores": found.scores.to_dicts(), "reasons": found.reasons.to_dicts()}
        print_json({**found.record.to_dict(), **listed})
    elif to is not None:
        if not quiet:
            users_told = plural(found.record.counts["users"], "user")
            write(sys.stdout, f"{plural(found.reasons.height, 'reason')} for {users_told} in {shown_path(str(to))}")
    else:
        _print_reasons(found)


def _print_reasons(found: Explanation) -> None:
    reasons = found.reasons.partition_by("user_id", "target", as_dict=True, maintain_order=True)
    for user, target, probability in found.scores.iter_rows():
        score = "outside the population" if probability is None else f"{probability:.1%}"
        write(sys.stdout, clean(f"\nUser {user}, {target}: {score}"))
        own = reasons.get((user, target))
        if own is not None:
            rows = [(f"  {added:+.3f}", said) for added, said in own.select("contribution", "sentence").iter_rows()]
            print_table(("  log-odds", "reason"), rows)
        elif probability is not None:
            write(sys.stdout, "  no feature moves the score")
