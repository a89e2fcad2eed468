"""`tamis logs`: what a submitted job has written."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jobs.cluster_jobs import JobApiAddress, JobId, open_api, pick
from jobs.console import clean, write


def logs(
    job: JobId = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    address: JobApiAddress = None,
) -> None:
    """Print what a submitted job has written; to follow it changes nothing about it."""
    api = open_api(address)
    name = pick(api, job).id
    from engine.execution.job_api import read_log
    from engine.execution.job_end import follow_job

    def show(text: str) -> None:
        for line in text.splitlines():
            write(sys.stdout, clean(line))

    if follow:
        follow_job(api, name, on_lines=show)
    else:
        show(read_log(api, name))
