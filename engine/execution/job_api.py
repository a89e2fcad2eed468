"""Ray's job API over HTTP: submit a job to a cluster, look at it, read its log, stop it.

It is spoken with the standard library: Ray's own client needs the packages of a head node and takes a second to import,
and all that a submitting machine is to need is Tamis. The API is that of the dashboard, version 4 (Ray 2.9 and later):
https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from engine.errors import ConfigError, TransientError

OLDEST_RAY = (2, 60)
DEFAULT_PORT = 8265
_GCS_PORT = 6379
_SECONDS = 15.0
_PROBE_SECONDS = 2.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_NO_AGENT = (
    "The head is still starting: run the same command again. If it stays so, another Ray on that machine holds the "
    "port of the head's agent (52365): start the head with --dashboard-agent-listen-port PORT."
)
_HOST = re.compile(r"[\w.:-]+")
_ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}


@dataclass(frozen=True)
class JobApi:
    """A job API that has answered: its URL without a path, and the token if it wants one."""

    url: str
    token: str | None
    ray_version: str


@dataclass(frozen=True)
class Job:
    """What a cluster knows of a job.

    Attributes:
        id: Its submission id.
        status: `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`.
        exit_code: Of its command; None while that runs, and when it was never started or has been stopped.
        failure: Ray's kind of failure, empty when there is none.
        message: One sentence of Ray about the status.
        started_ms, ended_ms: Unix time in milliseconds.
        metadata: What was submitted with it.
    """

    id: str
    status: str
    exit_code: int | None
    failure: str
    message: str
    started_ms: int | None
    ended_ms: int | None
    metadata: Mapping[str, str]

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in _ENDED


def open_job_api(address: str, token: str | None) -> JobApi:
    """Ask a cluster who it is; the token is only sent to one that wants it.

    Args:
        address: `http://HOST:PORT` or `https://HOST:PORT` of the dashboard; `HOST` and `HOST:PORT` will do.
        token: Of the cluster, if the caller has one.

    Raises:
        ConfigError: The address is none, something else answers there, the token is missing or wrong, or the cluster
            runs a Ray that is too old.
        TransientError: Nobody answers.
    """
    url = _url(address)
    status, body = _ask(url, "/api/authentication_mode", None)
    wanted = status == HTTPStatus.OK and _object(body).get("authentication_mode") == "token"
    if wanted and not token:
        raise ConfigError(
            f"the cluster at {url} wants a token, and none is set",
            code="job-api-token",
            hint="Set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file, or write it to ~/.ray/auth_token.",
        )
    sent = token if wanted else None
    status, body = _ask(url, "/api/version", sent)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise ConfigError(
            f"the cluster at {url} does not accept the token",
            code="job-api-token",
            hint="Take the token that the cluster was started with.",
        )
    version = _object(body).get("ray_version") if status == HTTPStatus.OK else None
    if not isinstance(version, str):
        raise _no_job_api(url, f"GET /api/version answers {status}")
    if _numbers(version) < OLDEST_RAY:
        oldest = ".".join(map(str, OLDEST_RAY))
        raise ConfigError(
            f"the cluster at {url} runs Ray {version}, Tamis needs {oldest} or later",
            code="cluster-version",
            hint="Install on every node of the cluster what requirements.lock pins.",
        )
    return JobApi(url, sent, version)


def find_job(api: JobApi, submission_id: str) -> Job | None:
    """The job of this id; None when there is none."""
    status, body = _send(api, "GET", f"/api/jobs/{quote(submission_id, safe='')}")
    if status == HTTPStatus.NOT_FOUND:
        return None
    return _job(_object(_accepted(api, status, body)))


def list_jobs(api: JobApi) -> list[Job]:
    """The submitted jobs that the cluster remembers, the latest first."""
    status, body = _send(api, "GET", "/api/jobs/")
    entries = json.loads(_accepted(api, status, body))
    jobs = [_job(entry) for entry in entries if entry.get("submission_id")]
    return sorted(jobs, key=lambda job: (-(job.started_ms or 0), job.id))


def read_log(api: JobApi, submission_id: str) -> str:
    """All that the job has written so far to stdout and stderr."""
    status, body = _send(api, "GET", f"/api/jobs/{quote(submission_id, safe='')}/logs")
    return str(_object(_accepted(api, status, body)).get("logs") or "")


def stop_job(api: JobApi, submission_id: str) -> bool:
    """Ask a job to end; whether it was running."""
    status, body = _send(api, "POST", f"/api/jobs/{quote(submission_id, safe='')}/stop")
    return bool(_object(_accepted(api, status, body)).get("stopped"))


def upload_package(api: JobApi, name: str, content: bytes) -> str:
    """Put a zip archive where every node of the cluster finds it; the URI for a runtime environment."""
    path = f"/api/packages/gcs/{quote(name)}"
    status, body = _send(api, "GET", path)
    if status == HTTPStatus.NOT_FOUND:
        status, body = _send(api, "PUT", path, content, "application/octet-stream")
    _accepted(api, status, body)
    return f"gcs://{name}"


def start_job(
    api: JobApi, submission_id: str, entrypoint: str, *, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
) -> bool:
    """Start a job on the head node; False when there is one of that id already.

    Ray keeps one job per id, so of two callers at once one is told True.
    """
    request = {
        "submission_id": submission_id,
        "entrypoint": entrypoint,
        "runtime_env": dict(runtime_env),
        "metadata": dict(metadata),
    }
    status, body = _send(api, "POST", "/api/jobs/", json.dumps(request).encode(), "application/json")
    if status != HTTPStatus.OK and b"already exists" in body:
        return False
    _accepted(api, status, body)
    return True


def _url(address: str) -> str:
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    named = _HOST.fullmatch(parts.hostname or "") is not None
    if parts.scheme not in {"http", "https"} or not named or parts.username or parts.query:
        raise ConfigError(
            f"the address of a job API is http://HOST:PORT, got {address!r}",
            code="job-api-address",
            hint=f"Take the dashboard's address that `ray start --head` printed, such as http://HOST:{DEFAULT_PORT}.",
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    if port is None and parts.scheme == "http":
        port = DEFAULT_PORT
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _ask(url: str, path: str, token: str | None) -> tuple[int, bytes]:
    """The first requests, whose failures tell what is at the address."""
    try:
        return _send(JobApi(url, token, ""), "GET", path)
    except TransientError as error:
        if isinstance(error.__cause__, HTTPException | ConnectionResetError):
            raise _no_job_api(url, "what answers there does not speak HTTP") from error
        if isinstance(error.__cause__, ConnectionRefusedError) and _cluster_beside(url):
            raise _no_job_api(url, f"a Ray cluster listens on port {_GCS_PORT} of that host") from error
        raise


def _cluster_beside(url: str) -> bool:
    """Whether the head of a cluster is on the host of a job API that is not there."""
    host = urlsplit(url).hostname or ""
    try:
        with closing(socket.create_connection((host, _GCS_PORT), _PROBE_SECONDS)):
            return True
    except OSError:
        return False


def _no_job_api(url: str, what: str) -> ConfigError:
    return ConfigError(
        f"there is no job API of Ray at {url}: {what}",
        code="job-api-missing",
        hint=(
            f"It listens on port {DEFAULT_PORT} of the head, and needs `pip install 'ray[default]'` there before "
            "`ray start --head`. Name its address with --address."
        ),
    )


class _NoRedirects(HTTPRedirectHandler):
    """A token must not follow to where an answer points."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    if urlsplit(url).hostname in _LOOPBACK:
        return build_opener(_NoRedirects, ProxyHandler({}))
    return build_opener(_NoRedirects)


def _send(
    api: JobApi, method: str, path: str, body: bytes | None = None, content_type: str | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer.

    Raises:
        TransientError: There is none; its cause is what happened.
    """
    headers = {"User-Agent": "tamis"}
    if api.token:
        headers["Authorization"] = f"Bearer {api.token}"
    if content_type:
        headers["Content-Type"] = content_type
    request = Request(api.url + path, data=body, headers=headers, method=method)  # noqa: S310 - http or https, checked
    try:
        with _opener(api.url).open(request, timeout=_SECONDS) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with closing(error):
            return error.code, error.read()
    except (URLError, OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        raise TransientError(
            f"no Ray cluster answers at {api.url}: {str(cause) or type(cause).__name__}",
            code="cluster-unreachable",
            hint="Check --address or RAY_API_SERVER_ADDRESS, and that the cluster runs; then the same command again.",
        ) from cause


def _accepted(api: JobApi, status: int, body: bytes) -> bytes:
    """The body of an answer that is no failure."""
    if status == HTTPStatus.OK:
        return body
    # Ray answers a failure with a traceback, of which the last line says what happened.
    lines = body.decode(errors="replace").strip().splitlines() or [""]
    raise TransientError(
        f"the job API at {api.url} answers {status}: {lines[-1][:300]}",
        code="job-api-failed",
        hint=_NO_AGENT
        if "No available agent" in lines[-1]
        else "Run the same command again; the logs of the cluster's dashboard say more.",
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _job(entry: Mapping[str, Any]) -> Job:
    message = str(entry.get("message") or "").strip()
    return Job(
        id=str(entry["submission_id"]),
        status=str(entry["status"]),
        exit_code=entry.get("driver_exit_code"),
        failure=str(entry.get("error_type") or ""),
        # Of a failed command the message goes on with its log.
        message=message.splitlines()[0] if message else "",
        started_ms=entry.get("start_time"),
        ended_ms=entry.get("end_time"),
        metadata=dict(entry.get("metadata") or {}),
    )


def _numbers(version: str) -> tuple[int, ...]:
    digits = (part for part in version.split(".")[:2])
    return tuple(int(part) if part.isdecimal() else 0 for part in digits)
