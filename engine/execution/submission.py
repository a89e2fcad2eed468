"""A run as a job of a cluster: its id, its command, and the configuration that travels with it."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from engine.config import Config
from engine.config_text import config_text
from engine.execution.job_api import Job, JobApi, find_job, start_job, upload_package

CONFIG_FILE = "tamis.toml"
PREFIX = "tamis-"
_DIGITS = 10
_EARLIEST_IN_A_ZIP = (1980, 1, 1, 0, 0, 0)
_ENVIRONMENT = {
    # Ray waits three seconds between SIGTERM and SIGKILL; a run that ends its tasks first takes longer.
    "RAY_JOB_STOP_WAIT_TIME_S": "30",
    # Under `uv run` every worker would start with `uv run` as well.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


@dataclass(frozen=True)
class Submission:
    """A job that can be submitted to any cluster.

    Attributes:
        id: `tamis-JOB-DATE-HASH`, the same for the same job, date, configuration and version of Tamis.
        entrypoint: Its command, for a shell in the folder of the package.
        package: A zip archive with the configuration.
        metadata: What the cluster keeps with the job, and shows to whoever may see its dashboard.
    """

    id: str
    entrypoint: str
    package: bytes
    metadata: Mapping[str, str]


def make_submission(
    job: str,
    config: Config,
    as_of: date,
    *,
    version: str,
    accept: Sequence[str] = (),
    unidentified: Sequence[str] = (),
) -> Submission:
    """The submission of `tamis JOB --as-of AS_OF`.

    The configuration travels as it stands, with its local paths made absolute: every node must see them under the same
    name. The address of a cluster is left out of it, for the job joins the one it runs in. No environment variable of
    the caller travels, so that no secret can.

    Args:
        job: Name of the command: `run`, `fit`, `score` or `check`.
        config: The effective configuration.
        as_of: Date of the run.
        version: Of Tamis; the job refuses to run on another one.
        accept: Guards that may be passed, as for `tamis run --accept`.
        unidentified: More options of the command, such as `--json`, that leave the job the same one.
    """
    execution = config.execution.model_copy(update={"executor": "ray", "address": None})
    text = config_text(config.model_copy(update={"execution": execution}))
    arguments = [job, "--as-of", as_of.isoformat(), "-c", CONFIG_FILE]
    arguments += [part for guard in sorted(accept) for part in ("--accept", guard)]
    identity = json.dumps([arguments, version, text])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGITS]
    command = ["tamis", "--require", version, *arguments, *unidentified]
    return Submission(
        id=f"{PREFIX}{job}-{as_of.isoformat()}-{digest}",
        entrypoint=f"exec {shlex.join(command)}",
        package=_zip(text),
        metadata={"tamis": version, "job": job, "as_of": as_of.isoformat(), "out": config.out},
    )


def latest_attempt(api: JobApi, submission: Submission) -> tuple[Job | None, str]:
    """The last job that was started for a submission, None when there is none, and the id of the next one.

    Ray never runs an id twice, so a job that is started again is `ID-2`, then `ID-3`.
    """
    latest: Job | None = None
    attempt = 1
    while True:
        name = submission.id if attempt == 1 else f"{submission.id}-{attempt}"
        job = find_job(api, name)
        if job is None:
            return latest, name
        latest = job
        attempt += 1


def submit(api: JobApi, submission: Submission, submission_id: str) -> bool:
    """Start the job under this id; False when somebody else just has."""
    digest = hashlib.sha256(submission.package).hexdigest()[:16]
    uri = upload_package(api, f"_ray_pkg_{digest}.zip", submission.package)
    return start_job(
        api,
        submission_id,
        submission.entrypoint,
        runtime_env={"working_dir": uri, "env_vars": _ENVIRONMENT},
        metadata=submission.metadata,
    )


def _zip(text: str) -> bytes:
    """An archive of the configuration alone; the same bytes for the same text."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(CONFIG_FILE, _EARLIEST_IN_A_ZIP)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, text)
    return stream.getvalue()
