"""Make the RayJob of a scheduled day, wait for its end, and end with the exit code of its run.

It runs in the pod of cronjob.yaml, on the standard library alone. The day is that of the schedule and not of the clock:
the name of a CronJob's Job ends with the scheduled minute, so a pod that starts late or once more has the same day.
A RayJob is named after its day. One that runs is waited for; one that failed is followed by `…-2`, as Ray and
Kubernetes keep names for good; one that is done is done.

    python start_rayjob.py rayjob.yaml
"""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLACEHOLDER = "AS-OF"
USAGE, RESOURCES, TRANSIENT = 2, 6, 75
POLL_SECONDS = 10.0
PATIENCE_SECONDS = 600.0

Ask = Callable[[str, str, str | None], "tuple[int, dict[str, Any]]"]


def scheduled_day(job_name: str, time_zone: str) -> str:
    """The day on which a Job of a CronJob was to start: its name ends with the minutes since 1970."""
    minutes = re.fullmatch(r".+-(\d{8,9})", job_name)
    if minutes is None:
        raise SystemExit(f"{job_name!r} is not the name of a CronJob's Job: it ends with no scheduled minute")
    moment = datetime.fromtimestamp(int(minutes[1]) * 60, UTC)
    return moment.astimezone(ZoneInfo(time_zone)).date().isoformat()


def asker(server: str, token: Path, certificates: str | None) -> Ask:
    """Requests to the API of Kubernetes; the token is read each time, for it is renewed."""
    context = ssl.create_default_context(cafile=certificates) if certificates else None

    def ask(method: str, path: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {
            "Authorization": f"Bearer {token.read_text(encoding='utf-8').strip()}",
            "Content-Type": "application/yaml",
            "Accept": "application/json",
        }
        data = None if body is None else body.encode()
        request = Request(server + path, data=data, headers=headers, method=method)  # noqa: S310 - the cluster's own
        try:
            with urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, {"message": error.read().decode(errors="replace")[:500]}

    return ask


def start(ask: Ask, path: str, template: str, day: str) -> str:
    """The name of the RayJob of a day: one that runs or is done, or a new one."""
    attempt = 1
    while True:
        suffix = "" if attempt == 1 else f"-{attempt}"
        name = f"tamis-{day}{suffix}"
        status, found = ask("GET", f"{path}/{name}", None)
        if status == 200 and not failed(found):
            return name
        if status == 404:
            text = template.replace(f"tamis-{PLACEHOLDER}", name)
            text = text.replace(f"tamis-run-{PLACEHOLDER}", f"tamis-run-{day}{suffix}").replace(PLACEHOLDER, day)
            status, made = ask("POST", path, text)
            if status in {200, 201}:
                tell(f"made {name}")
                return name
            if status == 409:
                continue
            tell(f"the RayJob {name} is refused ({status}): {made.get('message')}")
            raise SystemExit(TRANSIENT if status >= 500 or status == 429 else USAGE)
        if status != 200:
            tell(f"the RayJob {name} cannot be read ({status}): {found.get('message')}")
            raise SystemExit(TRANSIENT if status >= 500 or status == 429 else USAGE)
        attempt += 1


def failed(rayjob: dict[str, Any]) -> bool:
    """Whether its run has ended, and not well."""
    status = rayjob.get("status") or {}
    return status.get("jobDeploymentStatus") == "Failed" or status.get("jobStatus") in {"FAILED", "STOPPED"}


def wait(ask: Ask, path: str, name: str, pause: Callable[[float], None]) -> int:
    """The exit code of a RayJob's run, once it has ended."""
    silent = 0.0
    told = ""
    while True:
        try:
            status, rayjob = ask("GET", f"{path}/{name}", None)
        except OSError as error:
            status, rayjob = 503, {"message": str(error)}
        state = rayjob.get("status") or {} if status == 200 else {}
        if status == 404:
            tell(f"the RayJob {name} was deleted")
            return TRANSIENT
        if status == 200:
            silent = 0.0
            now = f"{state.get('jobDeploymentStatus') or 'New'} {state.get('jobStatus') or ''}".strip()
            if now != told:
                tell(f"{name}: {now}")
                told = now
            if failed(rayjob):
                return exit_code(state)
            if state.get("jobStatus") == "SUCCEEDED":
                return 0
        else:
            silent += POLL_SECONDS
            if silent > PATIENCE_SECONDS:
                tell(f"the API of Kubernetes does not answer ({status}): {rayjob.get('message')}")
                return TRANSIENT
        pause(POLL_SECONDS)


def exit_code(state: dict[str, Any]) -> int:
    """Of a RayJob that failed: that of its command, which stands in the message of Ray."""
    message = str(state.get("message") or "")
    tell(message)
    code = re.search(r"failed with exit code (-?\d+)", message)
    if code is None:
        return RESOURCES if state.get("reason") == "DeadlineExceeded" else TRANSIENT
    return int(code[1]) if 0 < int(code[1]) < 128 else RESOURCES


def tell(text: str) -> None:
    """Write to the log of the pod."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Run with the variables of the pod."""
    day = scheduled_day(os.environ["JOB_NAME"], os.environ.get("TIME_ZONE", "UTC"))
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    ask = asker(server, ACCOUNT / "token", str(ACCOUNT / "ca.crt"))
    path = f"/apis/ray.io/v1/namespaces/{os.environ['NAMESPACE']}/rayjobs"
    return wait(ask, path, start(ask, path, Path(sys.argv[1]).read_text(encoding="utf-8"), day), time.sleep)


if __name__ == "__main__":
    sys.exit(main())
