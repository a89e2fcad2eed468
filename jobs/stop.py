"""`tamis stop`: end a submitted job."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jobs.cluster_jobs import JobApiAddress, job_fields, open_api, pick
from jobs.console import print_json, write
from jobs.options import AsJson


def stop(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a job or the beginning of one.")],
    *,
    address: JobApiAddress = None,
    as_json: AsJson = False,
) -> None:
    """End a submitted job, and wait until it has; the published tables stay as they are."""
    api = open_api(address)
    name = pick(api, job, is_to_end=True).id
    from engine.execution.job_api import stop_job
    from engine.execution.job_end import follow_job

    running = stop_job(api, name)
    ended = follow_job(api, name, on_lines=lambda _: None)
    if as_json:
        print_json(job_fields(ended) | {"stopped": running and ended.status == "STOPPED"})
        return
    write(sys.stdout, f"{name}: {ended.status.lower()}{'' if running else ' already'}")
