"""Follow a job to its end, and say what that end means."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.errors import (
    ConfigError,
    ConflictError,
    DataError,
    ExitCode,
    HeldError,
    IntegrityError,
    ResourceError,
    TamisError,
    TransientError,
)
from engine.execution.job_api import Job, JobApi, find_job, read_log

_POLL_SECONDS = 1.0
_LONGEST_POLL_SECONDS = 20.0
_BYTES_PER_SECOND = 200_000
_PATIENCE_SECONDS = 60.0
_COMMAND_NOT_FOUND = 127
_SIGNAL_OFFSET = 128
_SIGKILL = 9
_ASKED_TO_END = {2, 15}
_KINDS: dict[int, type[TamisError]] = {
    kind.exit_code: kind
    for kind in (
        TamisError,
        ConfigError,
        DataError,
        HeldError,
        ConflictError,
        ResourceError,
        IntegrityError,
        TransientError,
    )
}


def follow_job(
    api: JobApi, submission_id: str, *, on_lines: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> Job:
    """Hand on what a job writes until it has ended.

    The API gives the whole log each time, so it is asked less often the longer the log is. An API that does not answer
    is asked again for a minute: the job does not need it.

    Args:
        api: Of the cluster.
        submission_id: Of the job.
        on_lines: Is given whole lines, and at the end what is left.
        pause: Waits for so many seconds.

    Raises:
        ConfigError: There is no such job.
        TransientError: The API does not answer for a minute.
    """
    shown = 0
    silent_since: float | None = None
    while True:
        wait = _POLL_SECONDS
        try:
            # In this order, so that the last log that is read is complete.
            job = known_job(api, submission_id)
            text = read_log(api, submission_id)
        except TransientError as error:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _PATIENCE_SECONDS:
                raise _lost_sight(api, submission_id, error) from error
        else:
            silent_since = None
            end = len(text) if job.ended else text.rfind("\n") + 1
            if end > shown:
                on_lines(text[shown:end])
                shown = end
            if job.ended:
                return job
            wait = min(max(_POLL_SECONDS, len(text) / _BYTES_PER_SECOND), _LONGEST_POLL_SECONDS)
        pause(wait)


def known_job(api: JobApi, submission_id: str) -> Job:
    """The job of this id.

    Raises:
        ConfigError: There is none; a cluster forgets its jobs when its head starts anew.
    """
    job = find_job(api, submission_id)
    if job is None:
        raise ConfigError(
            f"the cluster at {api.url} knows no job {submission_id!r}",
            code="job-unknown",
            hint="tamis status lists the jobs; a cluster forgets them when its head is started anew.",
        )
    return job


def exit_code_of(job: Job) -> int | None:
    """The exit code that a job stands for; None while it runs."""
    if not job.ended:
        return None
    failure = failure_of(job)
    if failure is not None:
        return int(failure.exit_code)
    return int(ExitCode.TERMINATED if job.status == "STOPPED" else ExitCode.DONE)


def failure_of(job: Job) -> TamisError | None:
    """What a job that has ended failed of, with the exit code of its command; None when it is done or was stopped."""
    if job.status != "FAILED":
        return None
    code = job.exit_code
    if code is None:
        return TransientError(
            f"the job {job.id} was lost before its command ended: {job.message or job.failure}",
            code="job-lost",
            hint="Submit it again. If it never starts, look at the logs of the cluster's head.",
        )
    if code == _COMMAND_NOT_FOUND:
        return ConfigError(
            f"the head of the cluster has no command `tamis` for the job {job.id}",
            code="cluster-without-tamis",
            hint="Install Tamis on every node, and start Ray with the folder of its commands on the PATH.",
        )
    signal = -code if code < 0 else code - _SIGNAL_OFFSET
    if signal == _SIGKILL:
        return ResourceError(
            f"the job {job.id} was killed (SIGKILL), as a head is that runs out of memory",
            code="job-killed",
            hint="Give the head more memory.",
        )
    kind = _KINDS.get(code, TransientError if signal in _ASKED_TO_END else TamisError)
    return kind(
        f"the job {job.id} failed with exit code {code}",
        code="job-failed",
        hint=f"Its log says why: tamis logs {job.id}",
    )


def _lost_sight(api: JobApi, submission_id: str, error: TransientError) -> TransientError:
    return TransientError(
        f"{error.message}; the job {submission_id} at {api.url} may still run",
        code="job-out-of-sight",
        hint="The same command with --wait looks for it again.",
    )
