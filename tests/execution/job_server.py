from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Cluster:
    """What a head with a dashboard would know, and what it was asked."""

    version: str = "2.60.0"
    wanted: str | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    # Answers that stand in for the next ones, by path: (status, body).
    broken: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    # What a new job is, and what it becomes each time somebody looks at it.
    states: list[dict[str, Any]] = field(default_factory=lambda: [{"status": "SUCCEEDED", "driver_exit_code": 0}])
    url: str = ""

    def add(self, submission_id: str, status: str, code: int | None = None, **others: Any) -> None:
        self.jobs[submission_id] = {
            "type": "SUBMISSION",
            "submission_id": submission_id,
            "status": status,
            "driver_exit_code": code,
            "error_type": None,
            "message": "",
            "start_time": 1_767_225_600_000 + len(self.jobs),
            "end_time": None,
            "metadata": {"tamis": "0.1.0", "job": "run", "as_of": "2026-01-31", "out": "/data/out"},
            **others,
        }

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, bytes]:
        self.asked.append((method, path, token))
        if self.broken.get(path):
            return self.broken[path].pop(0)
        if path == "/api/authentication_mode":
            return 200, json.dumps({"authentication_mode": "token" if self.wanted else "disabled"}).encode()
        if self.wanted and token is None:
            return 401, b"Unauthorized: Missing authentication token"
        if self.wanted and token != f"Bearer {self.wanted}":
            return 403, b"Forbidden: Invalid authentication token"
        if path == "/api/version":
            return 200, json.dumps({"version": "4", "ray_version": self.version}).encode()
        if path.startswith("/api/packages/gcs/"):
            return self._package(method, path.rpartition("/")[2], body)
        if path == "/api/jobs/":
            return self._all(method, body)
        return self._one(method, *path.removeprefix("/api/jobs/").partition("/")[::2])

    def _package(self, method: str, name: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            self.packages[name] = body
        return (200, b"") if name in self.packages else (404, b"does not exist")

    def _all(self, method: str, body: bytes) -> tuple[int, bytes]:
        if method == "GET":
            return 200, json.dumps([*self.jobs.values(), {"type": "DRIVER", "submission_id": None}]).encode()
        request = json.loads(body)
        name = request["submission_id"]
        if name in self.jobs:
            return 500, f"Traceback\nValueError: Job with submission_id {name} already exists.".encode()
        self.add(name, "PENDING", metadata=request["metadata"], request=request)
        return 200, json.dumps({"submission_id": name, "job_id": name}).encode()

    def _one(self, method: str, name: str, rest: str) -> tuple[int, bytes]:
        if name not in self.jobs:
            return 404, f"Job {name} does not exist".encode()
        if rest == "logs":
            return 200, json.dumps({"logs": self.logs.get(name, "")}).encode()
        if rest == "stop":
            running = self.jobs[name]["status"] in {"PENDING", "RUNNING"}
            if running:
                self.jobs[name]["status"] = "STOPPED"
            return 200, json.dumps({"stopped": running}).encode()
        shown = json.dumps(self.jobs[name]).encode()
        if self.jobs[name]["status"] in {"PENDING", "RUNNING"} and self.states and "request" in self.jobs[name]:
            self.jobs[name].update(self.states[0] if len(self.states) == 1 else self.states.pop(0))
        return 200, shown


@contextmanager
def serving(cluster: Cluster) -> Iterator[Cluster]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = cluster.answer(self.command, self.path, self.headers.get("Authorization"), body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", answer.decode())
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = do_GET  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        cluster.url = f"http://127.0.0.1:{server.server_port}"
        yield cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
