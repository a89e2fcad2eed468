from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from engine.config import Config, Execution
from engine.config_file import load_config
from engine.config_text import config_text
from engine.errors import ConfigError, ExitCode, TransientError
from engine.execution import job_api, job_end
from engine.execution.job_api import JobApi, find_job, list_jobs, open_job_api, read_log, start_job, stop_job
from engine.execution.job_end import exit_code_of, failure_of, follow_job
from engine.execution.submission import Submission, latest_attempt, make_submission, submit
from tests.execution.job_server import Cluster, serving

DAY = date(2026, 1, 31)
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with serving(Cluster()) as opened:
        yield opened


def config(**changes: object) -> Config:
    source = {
        "name": "shop",
        "path": ("/data/events.parquet",),
        "columns": {"user_id": "u", "event_type": {"value": "purchase"}, "event_time": "t"},
    }
    return Config.model_validate({"sources": (source,), "out": "/data/out", **changes})


def submission(**changes: object) -> Submission:
    return make_submission("run", config(**changes), DAY, version="0.1.0")


# ---- The cluster at an address


def test_the_token_goes_only_to_a_cluster_that_wants_it(cluster: Cluster) -> None:
    assert open_job_api(cluster.url, "secret") == JobApi(cluster.url, None, "2.60.0")
    assert {token for _, _, token in cluster.asked} == {None}
    cluster.wanted = "secret"
    api = open_job_api(cluster.url, "secret")
    assert find_job(api, "x") is None
    assert cluster.asked[-3:] == [
        ("GET", "/api/authentication_mode", None),
        ("GET", "/api/version", "Bearer secret"),
        ("GET", "/api/jobs/x", "Bearer secret"),
    ]


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_a_cluster_that_wants_a_token(cluster: Cluster, token: str | None) -> None:
    cluster.wanted = "secret"
    with pytest.raises(ConfigError) as caught:
        open_job_api(cluster.url, token)
    assert caught.value.code == "job-api-token"
    assert "secret" not in caught.value.message + caught.value.hint
    assert "wrong" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("version", ["2.59.1", "1.13.0", "2.9", "nightly"])
def test_another_ray(cluster: Cluster, version: str) -> None:
    cluster.version = version
    with pytest.raises(ConfigError) as caught:
        open_job_api(cluster.url, None)
    assert caught.value.code == "cluster-version"
    assert version in caught.value.message


@pytest.mark.parametrize("version", ["2.60.0", "2.61.0rc1", "2.100.2", "3.0.0.dev0"])
def test_a_ray_that_is_new_enough(cluster: Cluster, version: str) -> None:
    cluster.version = version
    assert open_job_api(cluster.url, None).ray_version == version


@pytest.mark.parametrize(
    "answer", [(404, b"Not found"), (200, b"<html>"), (200, b"[]"), (302, b"http://elsewhere/"), (500, b"")]
)
def test_something_else_answers(cluster: Cluster, answer: tuple[int, bytes]) -> None:
    cluster.broken = {"/api/version": [answer]}
    with pytest.raises(ConfigError) as caught:
        open_job_api(cluster.url, None)
    assert caught.value.code == "job-api-missing"
    assert "ray[default]" in caught.value.hint


def test_a_redirect_does_not_take_the_token_along(cluster: Cluster) -> None:
    cluster.wanted = "secret"
    with serving(Cluster()) as other:
        cluster.broken = {"/api/version": [(302, f"{other.url}/api/version".encode())]}
        with pytest.raises(ConfigError):
            open_job_api(cluster.url, "secret")
        assert other.asked == []


@pytest.mark.parametrize(
    "address",
    ["", "http://", "ftp://host:1", "ray://host:10001", "http://u:p@host:1", "host:port", "http://[::1", "a b"],
)
def test_no_address(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_job_api(address, None)
    assert caught.value.code == "job-api-address"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("head", "http://head:8265"),
        ("head:80", "http://head:80"),
        ("http://head:8265/", "http://head:8265"),
        ("https://ray.example.org", "https://ray.example.org"),
        ("https://ray.example.org/prod/", "https://ray.example.org/prod"),
        ("[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert job_api._url(address) == url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_api, "_GCS_PORT", free_port())
    started = time.monotonic()
    with pytest.raises(TransientError) as caught:
        open_job_api(f"http://127.0.0.1:{free_port()}", None)
    assert caught.value.code == "cluster-unreachable"
    assert "refused" in caught.value.message
    assert time.monotonic() - started < 5


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(TransientError) as caught:
        open_job_api("http://nosuchhost.invalid:8265", None)
    assert caught.value.code == "cluster-unreachable"


def test_a_cluster_without_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        monkeypatch.setattr(job_api, "_GCS_PORT", gcs.getsockname()[1])
        with pytest.raises(ConfigError) as caught:
            open_job_api(f"http://127.0.0.1:{free_port()}", None)
    assert caught.value.code == "job-api-missing"
    assert "ray[default]" in caught.value.hint


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x18\x04 not HTTP\r\n"])
def test_what_does_not_speak_http(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(ConfigError) as caught:
            open_job_api(f"http://127.0.0.1:{server.getsockname()[1]}", None)
        thread.join()
    assert caught.value.code == "job-api-missing"


def test_an_api_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_api, "_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(TransientError) as caught:
        open_job_api(f"http://127.0.0.1:{server.getsockname()[1]}", None)
    assert caught.value.code == "cluster-unreachable"


def test_a_proxy_is_not_asked_for_loopback(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert open_job_api(cluster.url, None).ray_version == "2.60.0"


# ---- Jobs


def test_a_job_that_is_submitted(cluster: Cluster) -> None:
    api = open_job_api(cluster.url, None)
    made = submission()
    assert latest_attempt(api, made) == (None, made.id)
    assert submit(api, made, made.id)
    request = cluster.jobs[made.id]["request"]
    assert request["entrypoint"] == made.entrypoint
    assert set(request["runtime_env"]) == {"working_dir", "env_vars"}
    name = request["runtime_env"]["working_dir"].removeprefix("gcs://")
    assert cluster.packages == {name: made.package}
    assert request["metadata"] == {"tamis": "0.1.0", "job": "run", "as_of": "2026-01-31", "out": "/data/out"}
    # No CPU is asked for: Ray then runs it on the head.
    assert not any(key.startswith("entrypoint_") for key in request)


def test_a_package_is_sent_once(cluster: Cluster) -> None:
    api = open_job_api(cluster.url, None)
    made = submission()
    submit(api, made, "a")
    submit(api, made, "b")
    assert [method for method, path, _ in cluster.asked if path.startswith("/api/packages/")] == ["GET", "PUT", "GET"]


def test_of_two_at_once_one_starts_the_job(cluster: Cluster) -> None:
    api = open_job_api(cluster.url, None)
    assert start_job(api, "a", "true", runtime_env={}, metadata={})
    assert not start_job(api, "a", "true", runtime_env={}, metadata={})


def test_attempts_are_counted(cluster: Cluster) -> None:
    api = open_job_api(cluster.url, None)
    made = submission()
    for name in (made.id, f"{made.id}-2"):
        cluster.add(name, "FAILED", 6)
    latest, following = latest_attempt(api, made)
    assert latest is not None
    assert (latest.id, following) == (f"{made.id}-2", f"{made.id}-3")


def test_jobs_are_listed_latest_first(cluster: Cluster) -> None:
    cluster.add("tamis-a", "SUCCEEDED", 0)
    cluster.add("other", "RUNNING", metadata=None)
    api = open_job_api(cluster.url, None)
    assert [(job.id, job.status, job.ended) for job in list_jobs(api)] == [
        ("other", "RUNNING", False),
        ("tamis-a", "SUCCEEDED", True),
    ]


def test_a_job_is_stopped_once(cluster: Cluster) -> None:
    cluster.add("a", "RUNNING")
    api = open_job_api(cluster.url, None)
    assert stop_job(api, "a")
    assert not stop_job(api, "a")


def test_an_api_that_fails(cluster: Cluster) -> None:
    api = open_job_api(cluster.url, None)
    cluster.broken = {"/api/jobs/a/logs": [(500, b"Traceback (most recent call last):\nKeyError: no agent")]}
    with pytest.raises(TransientError) as caught:
        read_log(api, "a")
    assert caught.value.code == "job-api-failed"
    assert caught.value.message.endswith("answers 500: KeyError: no agent")


# ---- What is submitted


def test_the_same_job_has_the_same_id() -> None:
    assert submission() == submission()
    assert submission().id.startswith("tamis-run-2026-01-31-")
    assert make_submission("run", config(), DAY, version="0.1.0", unidentified=["--json"]).id == submission().id
    elsewhere = Execution(executor="ray", address="10.0.0.1:6379")
    assert submission(execution=elsewhere) == submission()


def test_whatever_differs_makes_another_job() -> None:
    one = config()
    made = [
        submission(),
        submission(seed=2),
        submission(out="/data/other"),
        make_submission("score", one, DAY, version="0.1.0"),
        make_submission("run", one, date(2026, 2, 1), version="0.1.0"),
        make_submission("run", one, DAY, version="0.2.0"),
        make_submission("run", one, DAY, version="0.1.0", accept=["users:vip's"]),
    ]
    assert len({entry.id for entry in made}) == len(made)
    assert made[-1].entrypoint == (
        "exec tamis --require 0.1.0 run --as-of 2026-01-31 -c tamis.toml --accept 'users:vip'\"'\"'s'"
    )


def test_the_configuration_in_the_package(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(submission(seed=7).package)) as archive:
        assert archive.namelist() == ["tamis.toml"]
        archive.extractall(tmp_path)
    sent = load_config(tmp_path / "tamis.toml").config
    assert sent == config(seed=7, execution=Execution(executor="ray"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_configuration_loads_as_itself_from_another_folder(file: Path, tmp_path: Path) -> None:
    before = load_config(file).config
    copy = tmp_path / "copy.toml"
    copy.write_text(config_text(before), encoding="utf-8")
    assert load_config(copy).config == before
    assert config_text(load_config(copy).config) == config_text(before)


def test_texts_of_any_letters_travel(tmp_path: Path) -> None:
    name = "Île \\ \"quoted\" 'x' \u007f\t\n 🥖 = #"
    before = config(segments=({"name": name, "where": "recency < 3"},))
    copy = tmp_path / "copy.toml"
    copy.write_text(config_text(before), encoding="utf-8")
    assert load_config(copy).config.segments[0].name == name


def test_no_variable_of_the_caller_travels(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    made = submission()
    submit(open_job_api(cluster.url, "t0ken"), made, made.id)
    sent = json.dumps(cluster.jobs) + str(cluster.packages)
    assert "s3cr3t" not in sent
    assert "t0ken" not in sent


# ---- How it ends


def test_a_log_is_followed_to_its_end(cluster: Cluster) -> None:
    cluster.add("a", "RUNNING")
    api = open_job_api(cluster.url, None)
    grown = ["", "one\ntw", "one\ntwo\n", "one\ntwo\nthree"]
    seen: list[str] = []

    def pause(_: float) -> None:
        cluster.logs["a"] = grown.pop(0)
        if not grown:
            cluster.jobs["a"].update(status="FAILED", driver_exit_code=3)

    job = follow_job(api, "a", on_lines=seen.append, pause=pause)
    assert seen == ["one\n", "two\n", "three"]
    assert (job.status, job.exit_code) == ("FAILED", 3)


def test_an_api_that_comes_back_is_followed_on(cluster: Cluster) -> None:
    cluster.add("a", "SUCCEEDED", 0)
    cluster.logs["a"] = "done\n"
    api = open_job_api(cluster.url, None)
    cluster.broken = {"/api/jobs/a": [(500, b"x")] * 3, "/api/jobs/a/logs": [(500, b"x")]}
    seen: list[str] = []
    pauses: list[float] = []
    assert follow_job(api, "a", on_lines=seen.append, pause=pauses.append).status == "SUCCEEDED"
    assert seen == ["done\n"]
    assert len(pauses) == 4


def test_an_api_that_does_not_come_back(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.add("a", "RUNNING")
    api = open_job_api(cluster.url, None)
    cluster.broken = {"/api/jobs/a": [(500, b"x")] * 5}
    monkeypatch.setattr(job_end, "_PATIENCE_SECONDS", 0)
    with pytest.raises(TransientError) as caught:
        follow_job(api, "a", on_lines=str, pause=lambda _: None)
    assert caught.value.code == "job-out-of-sight"


def test_a_long_log_is_asked_for_less_often(cluster: Cluster) -> None:
    cluster.add("a", "RUNNING")
    cluster.logs["a"] = "x" * 1_000_000 + "\n"
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        cluster.jobs["a"]["status"] = "STOPPED"

    follow_job(open_job_api(cluster.url, None), "a", on_lines=lambda _: None, pause=pause)
    assert pauses == [pytest.approx(5, rel=0.01)]


def test_a_job_that_is_not_there(cluster: Cluster) -> None:
    with pytest.raises(ConfigError) as caught:
        follow_job(open_job_api(cluster.url, None), "gone", on_lines=str)
    assert caught.value.code == "job-unknown"


@pytest.mark.parametrize(
    ("status", "code", "expected", "name"),
    [
        ("RUNNING", None, None, None),
        ("PENDING", None, None, None),
        ("SUCCEEDED", 0, 0, None),
        ("STOPPED", None, 143, None),
        ("FAILED", 1, 1, "job-failed"),
        ("FAILED", 2, 2, "job-failed"),
        ("FAILED", 3, 3, "job-failed"),
        ("FAILED", 4, 4, "job-failed"),
        ("FAILED", 5, 5, "job-failed"),
        ("FAILED", 6, 6, "job-failed"),
        ("FAILED", 7, 7, "job-failed"),
        ("FAILED", 75, 75, "job-failed"),
        ("FAILED", 9, 1, "job-failed"),
        ("FAILED", 127, 2, "cluster-without-tamis"),
        ("FAILED", -9, 6, "job-killed"),
        ("FAILED", 137, 6, "job-killed"),
        ("FAILED", 143, 75, "job-failed"),
        ("FAILED", -15, 75, "job-failed"),
        ("FAILED", 130, 75, "job-failed"),
        ("FAILED", None, 75, "job-lost"),
    ],
)
def test_the_exit_code_of_a_job(
    cluster: Cluster, status: str, code: int | None, expected: int | None, name: str | None
) -> None:
    cluster.add("a", status, code, message="It happened.\nand a log", error_type="JOB_SUPERVISOR_ACTOR_DIED")
    job = find_job(open_job_api(cluster.url, None), "a")
    assert job is not None
    assert exit_code_of(job) == expected
    failure = failure_of(job)
    assert (failure.code if failure else None) == name
    assert failure is None or failure.exit_code == ExitCode(expected or 0)
    assert failure is None or "and a log" not in failure.message


def test_nothing_of_ray_is_imported() -> None:
    heavy = {"ray", "polars", "pydantic", "aiohttp", "requests"}
    code = f"import sys, engine.execution.job_api, engine.execution.job_end; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
