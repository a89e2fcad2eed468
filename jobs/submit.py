"""`tamis submit`: a run as a job of a Ray cluster."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine.errors import ConfigError, ConflictError
from jobs.clock import refuse_future
from jobs.cluster_jobs import JobApiAddress, end_with, job_fields, open_api
from jobs.console import clean, print_json, say, write
from jobs.options import DEFAULT_CONFIG, Accept, AllowFuture, AsJson, AsOf, Assignments, ConfigFile, Out, Quiet
from jobs.session import Settings, load, parse_day

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.execution.job_api import Job, JobApi
    from engine.execution.submission import Submission

_PUBLISHING = {"run", "score"}


def submit(
    job: Annotated[
        Literal["run", "fit", "score", "check"],
        typer.Argument(metavar="[JOB]", help="The command that runs there: run, fit, score or check."),
    ] = "run",
    *,
    as_of: AsOf,
    accept: Accept = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    assignments: Assignments = None,
    allow_future: AllowFuture = False,
    address: JobApiAddress = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the log until the job has ended, and exit with its code.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also when the cluster says that the job is done.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a command as a job of a Ray cluster; the same job, date and configuration is the same job.

    The configuration travels with the job. Its paths are made absolute, and every node must see them.
    """
    day = parse_day(as_of)
    if accept and job not in _PUBLISHING:
        raise ConfigError(
            f"--accept is for run and score, not for {job}",
            code="submit-accept",
            hint="Leave it out: nothing is published.",
        )
    loaded = load(config, Settings(assignments or (), out))
    refuse_future([day], loaded.config.timezone, allowed=allow_future)
    from importlib.metadata import version

    from engine.execution.submission import make_submission

    more = [*(["--json"] if as_json else []), *(["--allow-future"] if allow_future and job in _PUBLISHING else [])]
    submission = make_submission(
        job, loaded.config, day, version=version("tamis"), accept=accept or (), unidentified=more
    )
    api = open_api(address)
    started, before = _start(api, submission, again=again)
    if started is None and before is not None and before.ended:
        say("The cluster has done this job already; --again runs it once more.", quiet=quiet)
        end_with(before, as_json=as_json, quiet=quiet)
        return
    if started is None and before is not None and not wait:
        raise ConflictError(
            f"the job {before.id} is {before.status.lower()} already",
            code="job-running",
            hint=f"Wait for it with --wait, look at it with tamis status, or end it with: tamis stop {before.id}",
        )
    name = started or (before.id if before is not None else submission.id)
    if not wait:
        _name(api, name, as_json=as_json, quiet=quiet)
        return
    say(f"{'Submitted' if started else 'Joined'} {name} at {api.url}.", quiet=quiet)
    ended, result = watch(api, name, quiet=quiet, as_json=as_json)
    end_with(ended, as_json=as_json, quiet=quiet, result=result)


def watch(api: JobApi, name: str, *, quiet: bool, as_json: bool) -> tuple[Job, object]:
    """Show the log of a job on stderr until it has ended; the job, and the record that it printed as JSON.

    Ctrl-C ends the watching and not the job.
    """
    from engine.execution.job_end import follow_job

    last: list[object] = [None]
    try:
        return follow_job(api, name, on_lines=_shower(last, quiet=quiet, as_json=as_json)), last[0]
    except KeyboardInterrupt:
        say(f"The job goes on. Look at it: tamis logs {name} --follow. End it: tamis stop {name}.", quiet=quiet)
        raise


def _shower(last: list[object], *, quiet: bool, as_json: bool) -> Callable[[str], None]:
    def show(text: str) -> None:
        for line in text.splitlines():
            record = _record(line) if as_json else None
            if record is not None:
                last[0] = record
            elif not quiet:
                write(sys.stderr, clean(line))

    return show


def _record(line: str) -> object:
    """The object that a command with `--json` ends with; lines of a log may be objects too."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if {"run_id", "counts"} <= value.keys() or value.keys() == {"error"} else None


def _start(api: JobApi, submission: Submission, *, again: bool) -> tuple[str | None, Job | None]:
    """The id of the job that was started, None when none had to be; and the job that was there before."""
    from engine.execution.submission import latest_attempt
    from engine.execution.submission import submit as start

    while True:
        before, name = latest_attempt(api, submission)
        done = before is not None and before.status == "SUCCEEDED" and not again
        if before is not None and (done or not before.ended):
            return None, before
        # Another caller may have been faster: then that job is looked at.
        if start(api, submission, name):
            return name, before


def _name(api: JobApi, name: str, *, as_json: bool, quiet: bool) -> None:
    from engine.execution.job_end import known_job

    if as_json:
        print_json(job_fields(known_job(api, name)))
        return
    write(sys.stdout, name)
    say(f"Submitted to {api.url}. Its log: tamis logs {name} --follow", quiet=quiet)
