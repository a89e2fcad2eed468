from __future__ import annotations

import importlib.util
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "configs" / "kubernetes"
PATH = "/apis/ray.io/v1/namespaces/tamis/rayjobs"
TEMPLATE = (FOLDER / "rayjob.yaml").read_text(encoding="utf-8")
DONE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
FAILED = {
    "jobDeploymentStatus": "Failed",
    "jobStatus": "FAILED",
    "message": "Job entrypoint command failed with exit code 3",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("start_rayjob", FOLDER / "start_rayjob.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Api:
    """The part of the API of Kubernetes that has RayJobs."""

    def __init__(self, **statuses: dict[str, Any]) -> None:
        self.jobs: dict[str, dict[str, Any]] = {name.replace("_", "-"): {"status": s} for name, s in statuses.items()}
        self.made: list[dict[str, Any]] = []
        self.script: list[Any] = []

    def ask(self, method: str, path: str, body: str | None) -> tuple[int, dict[str, Any]]:
        if self.script:
            answer = self.script.pop(0)
            if isinstance(answer, OSError):
                raise answer
            if answer is not None:
                return answer
        if method == "POST":
            made = yaml.safe_load(body or "")
            name = made["metadata"]["name"]
            if name in self.jobs:
                return 409, {"message": "exists"}
            self.made.append(made)
            self.jobs[name] = made
            return 201, made
        name = path.rpartition("/")[2]
        return (200, self.jobs[name]) if name in self.jobs else (404, {"message": "not found"})


@pytest.mark.parametrize(
    ("minute", "zone", "day"),
    [
        (29_497_830, "UTC", "2026-01-31"),
        (29_496_960, "UTC", "2026-01-31"),
        (29_496_959, "UTC", "2026-01-30"),
        (29_496_900, "Europe/Paris", "2026-01-31"),
        (29_496_899, "Europe/Paris", "2026-01-30"),
        (29_496_960, "America/New_York", "2026-01-30"),
    ],
)
def test_the_day_is_that_of_the_schedule(script: ModuleType, minute: int, zone: str, day: str) -> None:
    assert script.scheduled_day(f"tamis-{minute}", zone) == day


def test_a_job_of_no_schedule(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="scheduled minute"):
        script.scheduled_day("tamis-by-hand", "UTC")


def test_a_rayjob_is_made_for_the_day(script: ModuleType) -> None:
    api = Api()
    assert script.start(api.ask, PATH, TEMPLATE, "2026-01-31") == "tamis-2026-01-31"
    [made] = api.made
    assert made["metadata"]["name"] == "tamis-2026-01-31"
    assert made["spec"]["jobId"] == "tamis-run-2026-01-31"
    assert "--as-of 2026-01-31 " in made["spec"]["entrypoint"]
    assert "AS-OF" not in yaml.safe_dump(made)


@pytest.mark.parametrize("status", [{}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, DONE])
def test_one_that_runs_or_is_done_is_taken_up(script: ModuleType, status: dict[str, Any]) -> None:
    api = Api(tamis_2026_01_31=status)
    assert script.start(api.ask, PATH, TEMPLATE, "2026-01-31") == "tamis-2026-01-31"
    assert api.made == []


def test_one_that_failed_is_followed_by_another(script: ModuleType) -> None:
    api = Api(tamis_2026_01_31=FAILED, tamis_2026_01_31_2={"jobStatus": "STOPPED"})
    assert script.start(api.ask, PATH, TEMPLATE, "2026-01-31") == "tamis-2026-01-31-3"
    assert api.made[0]["spec"]["jobId"] == "tamis-run-2026-01-31-3"
    assert "--as-of 2026-01-31 " in api.made[0]["spec"]["entrypoint"]


def test_another_pod_was_faster(script: ModuleType) -> None:
    api = Api(tamis_2026_01_31={})
    api.script = [(404, {})]
    assert script.start(api.ask, PATH, TEMPLATE, "2026-01-31") == "tamis-2026-01-31"
    assert api.made == []


@pytest.mark.parametrize(("status", "code"), [(403, 2), (422, 2), (429, 75), (503, 75)])
@pytest.mark.parametrize("before", [[], [(404, {})]])
def test_refusals(script: ModuleType, status: int, code: int, before: list[Any]) -> None:
    api = Api()
    api.script = [*before, (status, {"message": "no"})]
    with pytest.raises(SystemExit) as ended:
        script.start(api.ask, PATH, TEMPLATE, "2026-01-31")
    assert ended.value.code == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (DONE, 0),
        (FAILED, 3),
        ({"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, 6),
        ({"jobDeploymentStatus": "Failed", "reason": "SubmissionFailed"}, 75),
        ({"jobStatus": "FAILED", "message": "failed with exit code -9"}, 6),
        ({"jobStatus": "FAILED", "message": "failed with exit code 75, last available logs"}, 75),
        ({"jobStatus": "STOPPED"}, 75),
    ],
)
def test_the_exit_code_is_that_of_the_run(script: ModuleType, status: dict[str, Any], code: int) -> None:
    api = Api(job={"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"})

    def pause(_: float) -> None:
        api.jobs["job"] = {"status": status}

    assert script.wait(api.ask, PATH, "job", pause) == code


def test_an_api_that_is_away_for_a_while(script: ModuleType) -> None:
    api = Api(job=DONE)
    api.script = [OSError("refused"), (503, {}), OSError("timed out")]
    pauses: list[float] = []
    assert script.wait(api.ask, PATH, "job", pauses.append) == 0
    assert len(pauses) == 3
    api.script = [(503, {})] * 100
    assert script.wait(api.ask, PATH, "job", lambda _: None) == 75


def test_a_rayjob_that_somebody_deletes(script: ModuleType) -> None:
    assert script.wait(Api().ask, PATH, "job", lambda _: None) == 75


def test_in_a_pod(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked.append((self.command, self.path, self.headers["Authorization"], self.headers["Content-Type"]))
            status, answer = api.ask(self.command, self.path, body)
            if self.command == "POST":
                answer["status"] = DONE
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - a name of the base class

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        (tmp_path / "token").write_text("of-the-account\n", encoding="utf-8")
        plain = script.asker(f"http://127.0.0.1:{server.server_port}", tmp_path / "token", None)
        monkeypatch.setattr(script, "asker", lambda *_: plain)
        monkeypatch.setattr(sys, "argv", ["start_rayjob.py", str(FOLDER / "rayjob.yaml")])
        for name, value in {
            "JOB_NAME": "tamis-29497830",
            "NAMESPACE": "tamis",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
        }.items():
            monkeypatch.setenv(name, value)
        assert script.main() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [(method, path) for method, path, _, _ in asked] == [
        ("GET", f"{PATH}/tamis-2026-01-31"),
        ("POST", PATH),
        ("GET", f"{PATH}/tamis-2026-01-31"),
    ]
    assert {(token, content) for _, _, token, content in asked} == {("Bearer of-the-account", "application/yaml")}
