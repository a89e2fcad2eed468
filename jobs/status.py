"""`tamis status`: the jobs of a Ray cluster."""

from __future__ import annotations

from jobs.cluster_jobs import JobApiAddress, JobId, job_fields, open_api, pick, tamis_jobs
from jobs.console import print_json, print_table
from jobs.options import AsJson


def status(job: JobId = None, *, address: JobApiAddress = None, as_json: AsJson = False) -> None:
    """List the submitted jobs that a Ray cluster remembers, the latest first, or say how one of them is."""
    api = open_api(address)
    jobs = [pick(api, job)] if job else tamis_jobs(api)
    rows = [job_fields(entry) for entry in jobs]
    if as_json:
        print_json(rows[0] if job else {"jobs": rows})
        return
    shown = ("job", "as_of", "status", "exit_code", "started", "ended")
    headers = ("job", "as of", "status", "exit code", "started", "ended")
    print_table(headers, [["–" if row[name] is None else row[name] for name in shown] for row in rows])
