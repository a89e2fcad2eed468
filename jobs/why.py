"""`tamis why`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.console import clean, print_json, print_table, say, write
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
from jobs.session import Settings, load, parse_day, session

if TYPE_CHECKING:
    from engine.config import Config
    from engine.explanation import Explanation
    from engine.why.why import Answer
    from engine.why.words import Language


def why(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of a user, as it is published.")],
    segment: Annotated[
        str | None,
        typer.Argument(metavar="[SEGMENT]", help="A segment; those of the user when not given.", show_default=False),
    ] = None,
    *,
    as_of: PublishedDay = None,
    every: Annotated[bool, typer.Option("--all", help="Every segment, also those the user is not in.")] = False,
    scores: Annotated[
        bool, typer.Option("--scores", help="Also what moved the scores, of every target; computes them again.")
    ] = False,
    language: Annotated[Literal["en", "fr"], typer.Option("--language", help="Language of the sentences.")] = "en",
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say why a user is in a segment or not: each clause with its value, the events counted, points and changes."""
    day = None if as_of is None else parse_day(as_of)
    loaded = load(config, Settings(assignments or (), out, executor, address)).config
    from engine.why.why import why as ask

    answer = ask(loaded, day, user, segment, every=every)
    reasons = _reasons(loaded, answer, language, asked=scores, quiet=quiet)
    if as_json:
        found = {} if reasons is None else {"scores": reasons.scores.to_dicts(), "reasons": reasons.reasons.to_dicts()}
        print_json({**answer.to_dict(), **found})
        return
    _print(answer, language)
    if reasons is not None:
        _print_reasons(reasons, language)


def _reasons(config: Config, answer: Answer, language: Language, *, asked: bool, quiet: bool) -> Explanation | None:
    """What moved the scores that the rules use; unasked they are left out when they cannot be computed."""
    if not asked and not answer.targets:
        return None
    from engine.errors import TamisError
    from engine.explanation import Question, explain_run
    from jobs.summary import print_warnings

    target = answer.targets[0] if len(answer.targets) == 1 and not asked else None
    question = Question((str(answer.user),), target, language=language)
    try:
        with session(config, quiet=quiet) as run:
            found = explain_run(run.config, answer.as_of, question, executor=run.executor, progress=run.progress)
    except TamisError as error:
        if asked:
            raise
        say(f"warning: no reasons for the scores: {error.message}", quiet=quiet)
        return None
    if not quiet:
        print_warnings(found.record)
    return found


def _print(answer: Answer, language: Language) -> None:
    from engine.why.sentences import card_title, heading, membership_rows, reason_in, segment_lines, shown
    from engine.why.words import WORDS

    words = WORDS[language]
    write(sys.stdout, clean(words.user.format(user=answer.user, as_of=answer.as_of, run=answer.run_id)))
    write(sys.stdout, "")
    if answer.memberships:
        print_table(words.headers, membership_rows(answer.memberships, words))
    else:
        write(sys.stdout, words.nowhere)
    for segment in answer.segments:
        write(sys.stdout, clean(f"\n{heading(segment, language)}"))
        for line in segment_lines(segment, language):
            write(sys.stdout, clean(f"  {line}"))
    for card in answer.points:
        write(sys.stdout, clean(f"\n{card_title(card, words)}"))
        if card.rows:
            rows = [(f"  {rule}", *(shown(number, words) for number in numbers)) for rule, *numbers in card.rows]
            print_table((f"  {words.point_headers[0]}", *words.point_headers[1:]), rows)
        else:
            write(sys.stdout, f"  {words.no_points}")
    if answer.changes:
        write(sys.stdout, f"\n{words.changes}")
        acts = {"enter": words.enter, "exit": words.exit}
        told = [
            (f"  {row.as_of}", row.segment, acts[row.change], reason_in(row.reason, words) or "–")
            for row in answer.changes
        ]
        print_table((f"  {words.change_headers[0]}", *words.change_headers[1:]), told)


def _print_reasons(found: Explanation, language: Language) -> None:
    from engine.why.words import WORDS

    words = WORDS[language]
    for _, target, probability in found.scores.iter_rows():
        score = words.outside if probability is None else f"{probability:.1%}"
        write(sys.stdout, clean(f"\n{words.scores.format(target=target, score=score)}"))
        own = found.reasons.filter(found.reasons["target"] == target)
        rows = [f"  {added:+.3f}  {said}" for added, said in own.select("contribution", "sentence").iter_rows()]
        if not rows and probability is not None:
            rows = [f"  {words.no_reason}"]
        for row in rows:
            write(sys.stdout, clean(row))
