"""What `submit`, `status`, `logs` and `stop` share: which cluster is meant, its token, and jobs as people see them."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError, ExitCode, TamisError
from jobs.console import clean, plural, print_json, say, write

if TYPE_CHECKING:
    from engine.execution.job_api import Job, JobApi

_DEFAULT_ADDRESS = "http://127.0.0.1:8265"

JobApiAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help=f"Dashboard of the Ray cluster; else RAY_API_SERVER_ADDRESS, else {_DEFAULT_ADDRESS}.",
    ),
]
JobId = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="Id of a job or the beginning of one; the latest when not given."),
]


def open_api(address: str | None) -> JobApi:
    """The job API of the cluster that is meant."""
    from engine.execution.job_api import open_job_api

    named = os.environ.get("RAY_ADDRESS", "")
    inherited = os.environ.get("RAY_API_SERVER_ADDRESS") or (named if named.startswith(("http://", "https://")) else "")
    return open_job_api(address or inherited or _DEFAULT_ADDRESS, _token())


def _token() -> str | None:
    """The token, from where Ray takes it: a variable, a file that a variable names, or `~/.ray/auth_token`."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        if named is None:
            return None
        raise ConfigError(
            f"the file that RAY_AUTH_TOKEN_PATH names cannot be read: {named!r}",
            code="job-api-token",
            hint="Name a readable file with the token in it, or set RAY_AUTH_TOKEN.",
        ) from error


def tamis_jobs(api: JobApi) -> list[Job]:
    """The jobs that Tamis has submitted to the cluster, the latest first."""
    from engine.execution.job_api import list_jobs

    return [job for job in list_jobs(api) if "tamis" in job.metadata]


def pick(api: JobApi, asked: str | None, *, is_to_end: bool = False) -> Job:
    """The job of this id, or the only one whose id begins so; the latest when nothing is asked for.

    Args:
        api: Where to ask.
        asked: An id, or how it begins.
        is_to_end: Of several whose ids begin so, take the only one that has not ended.

    Raises:
        ConfigError: There is none, or more than one.
    """
    from engine.execution.job_api import find_job
    from engine.execution.job_end import known_job

    if asked and (exact := find_job(api, asked)) is not None:
        return exact
    jobs = [job for job in tamis_jobs(api) if asked is None or job.id.startswith(asked)]
    if not jobs and asked:
        return known_job(api, asked)
    if not jobs:
        raise ConfigError(
            f"the cluster at {api.url} remembers no job of Tamis",
            code="job-unknown",
            hint="tamis submit starts one; a cluster forgets its jobs when its head is started anew.",
        )
    running = [job for job in jobs if not job.ended]
    if asked and is_to_end and len(running) == 1:
        return running[0]
    if asked and len(jobs) > 1:
        raise ConfigError(
            f"{plural(len(jobs), 'job')} begin with {asked!r}: {', '.join(job.id for job in jobs[:5])}",
            code="job-ambiguous",
            hint="Write more of the id.",
        )
    return jobs[0]


def job_fields(job: Job) -> dict[str, object]:
    """A job as an object of JSON."""
    from engine.execution.job_end import exit_code_of

    return {
        "job": job.id,
        "status": job.status.lower(),
        "exit_code": exit_code_of(job),
        "command": job.metadata.get("job"),
        "as_of": job.metadata.get("as_of"),
        "out": job.metadata.get("out"),
        "started": _utc(job.started_ms),
        "ended": _utc(job.ended_ms),
    }


def end_with(job: Job, *, as_json: bool, quiet: bool, result: object = None) -> None:
    """Say how a job has ended, and end the command as the job did.

    Args:
        job: A job that has ended.
        as_json: As one JSON object.
        quiet: Not for people.
        result: The object that its command printed, if it was asked for one: its record or its error.

    Raises:
        TamisError: It failed.
        typer.Exit: It failed of a bug, or was stopped.
    """
    from engine.execution.job_end import failure_of

    failure = failure_of(job)
    if failure is not None:
        failure = _own_words(failure, result)
    if failure is not None and failure.exit_code != ExitCode.BUG:
        raise failure
    fields = job_fields(job) | ({} if result is None else {"result": result})
    if failure is not None:
        # It is not this process that has the bug: the lines of the failure are in the log of the job.
        _tell(failure, fields, as_json=as_json)
        raise typer.Exit(ExitCode.BUG)
    if job.status == "STOPPED":
        if as_json:
            print_json(fields)
        say(f"The job {job.id} was stopped.", quiet=quiet)
        raise typer.Exit(ExitCode.TERMINATED)
    if as_json:
        print_json(fields)
    elif not quiet:
        write(sys.stdout, clean(f"{job.id}: done; the tables are in {job.metadata.get('out', 'the output folder')}"))


def _own_words(failure: TamisError, result: object) -> TamisError:
    """The failure as the job's command reported it."""
    error = result.get("error") if isinstance(result, dict) else None
    if not isinstance(error, dict):
        return failure
    return type(failure)(str(error.get("message")), code=str(error.get("code")), hint=str(error.get("hint")))


def _tell(failure: TamisError, fields: dict[str, object], *, as_json: bool) -> None:
    say(f"error[{failure.code}]: {failure.message}\nhint: {failure.hint}")
    if as_json:
        error = {"code": failure.code, "message": failure.message, "hint": failure.hint, "exit_code": 1}
        print_json({"error": error, **fields})


def _utc(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
