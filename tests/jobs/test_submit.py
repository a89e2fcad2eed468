from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from engine.execution import job_end
from jobs import submit as submit_module
from tests.execution.job_server import Cluster, serving

Tamis = Callable[..., Result]
RUN = ("submit", "--as-of", "2026-01-31")
RECORD = {"run_id": "r1", "as_of": "2026-01-31", "counts": {"users": 8}, "timings": {}, "tables": {}, "bundle": "b1"}
REFUSED = {"error": {"code": "too-many-rejects", "message": "3 % of the rows", "hint": "Look at them.", "exit_code": 3}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(job_end, "_POLL_SECONDS", 0.001)
    with serving(Cluster()) as opened:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", opened.url)
        yield opened


def test_a_job_is_named_and_left_alone(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    result = tamis(*RUN)
    assert result.exit_code == 0, result.stderr
    [name] = cluster.jobs
    assert result.stdout == f"{name}\n"
    assert f"tamis logs {name} --follow" in result.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["tamis.toml"]


def test_a_job_is_waited_for(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    cluster.states = [{"status": "RUNNING"}, {"status": "SUCCEEDED", "driver_exit_code": 0}]
    first = tamis(*RUN, "--wait")
    [name] = cluster.jobs
    assert first.exit_code == 0, first.stderr
    assert first.stdout == f"{name}: done; the tables are in {folder / 'out'}\n"
    again = tamis(*RUN, "--wait")
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "has done this job already" in again.stderr
    assert list(cluster.jobs) == [name]
    assert tamis(*RUN, "--wait", "--again").exit_code == 0
    assert list(cluster.jobs) == [name, f"{name}-2"]


def test_what_travels_are_absolute_paths(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    assert tamis(*RUN, "--set", "seed=3", "--out", "elsewhere").exit_code == 0
    assert next(iter(cluster.jobs.values()))["metadata"]["out"] == str(folder / "elsewhere")


def test_a_day_that_has_not_come_when_it_is_wanted(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    assert tamis("submit", "--as-of", "2126-01-31", "--allow-future").exit_code == 0
    [job] = cluster.jobs.values()
    assert job["request"]["entrypoint"].endswith(" --allow-future")


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_a_job_that_runs(tamis: Tamis, folder: Path, cluster: Cluster, status: str) -> None:
    cluster.states = [{"status": status}]
    tamis(*RUN)
    tamis("status")
    [name] = cluster.jobs
    second = tamis(*RUN)
    assert second.exit_code == 5
    assert "error[job-running]" in second.stderr
    assert name in second.stderr
    assert second.stdout == ""
    cluster.states = [{"status": "SUCCEEDED", "driver_exit_code": 0}]
    joined = tamis(*RUN, "--wait")
    assert joined.exit_code == 0, joined.stderr
    assert f"Joined {name}" in joined.stderr
    assert list(cluster.jobs) == [name]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"status": "FAILED", "driver_exit_code": 3}, 3),
        ({"status": "FAILED", "driver_exit_code": 75}, 75),
        ({"status": "FAILED", "driver_exit_code": 1}, 1),
        ({"status": "FAILED", "driver_exit_code": -9}, 6),
        ({"status": "FAILED", "driver_exit_code": None}, 75),
        ({"status": "STOPPED", "driver_exit_code": None}, 143),
    ],
)
def test_a_job_that_failed_is_started_again(
    tamis: Tamis, folder: Path, cluster: Cluster, end: dict[str, object], code: int
) -> None:
    cluster.states = [end]
    failed = tamis(*RUN, "--wait")
    assert failed.exit_code == code, failed.stderr
    assert failed.stdout == ""
    assert "Traceback" not in failed.stderr
    [name] = cluster.jobs
    assert name in failed.stderr
    cluster.states = [{"status": "SUCCEEDED", "driver_exit_code": 0}]
    assert tamis(*RUN, "--wait").exit_code == 0
    assert list(cluster.jobs) == [name, f"{name}-2"]


def test_the_log_is_shown_and_cleaned(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    tamis(*RUN)
    [name] = cluster.jobs
    cluster.jobs[name]["status"] = "RUNNING"
    cluster.logs[name] = "hello\x1b[31m\n{not json\n"
    shown = tamis(*RUN, "--wait")
    assert "hello[31m\n{not json\n" in shown.stderr
    assert tamis(*RUN, "--wait", "--quiet", "--again").stderr == ""


@pytest.mark.parametrize("printed", [RECORD, REFUSED])
def test_json_is_one_object(tamis: Tamis, folder: Path, cluster: Cluster, printed: dict[str, object]) -> None:
    failed = "error" in printed
    tamis(*RUN, "--json")
    [name] = cluster.jobs
    cluster.jobs[name]["status"] = "RUNNING"
    cluster.states = [{"status": "FAILED", "driver_exit_code": 3} if failed else {"status": "SUCCEEDED"}]
    assert "--json" in cluster.jobs[name]["request"]["entrypoint"]
    cluster.logs[name] = f'starting\n{{"level": "info"}}\n{json.dumps(printed)}\n'
    result = tamis(*RUN, "--wait", "--json")
    answer = json.loads(result.stdout)
    if failed:
        assert result.exit_code == 3
        assert answer == REFUSED
    else:
        assert result.exit_code == 0
        assert (answer["job"], answer["status"], answer["exit_code"]) == (name, "succeeded", 0)
        assert answer["result"] == RECORD


def test_a_bug_is_not_ours(tamis: Tamis, folder: Path, cluster: Cluster) -> None:
    cluster.states = [{"status": "FAILED", "driver_exit_code": 1}]
    result = tamis(*RUN, "--wait", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "job-failed"
    assert "Please report" not in result.stderr


def test_ctrl_c_ends_the_watching_and_not_the_job(
    tamis: Tamis, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_end, "follow_job", interrupted)
    result = tamis(*RUN, "--wait")
    assert result.exit_code == 130
    assert "The job goes on" in result.stderr
    assert not any(path.endswith("/stop") for _, path, _ in cluster.asked)


def test_another_caller_was_faster(
    tamis: Tamis, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = submit_module._start

    def with_another(api: object, submission: object, *, again: bool) -> object:
        from engine.execution import submission as module

        first = module.find_job

        def late(api_: object, name: str) -> object:
            found = first(api_, name)  # type: ignore[arg-type]
            if found is None and name not in cluster.jobs:
                cluster.add(name, "RUNNING")
            return found

        monkeypatch.setattr(module, "find_job", late)
        return start(api, submission, again=again)  # type: ignore[arg-type]

    monkeypatch.setattr(submit_module, "_start", with_another)
    result = tamis(*RUN)
    assert result.exit_code == 5
    assert "error[job-running]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("submit",), 2, "usage"),
        (("submit", "tune", "--as-of", "2026-01-31"), 2, "usage"),
        (("submit", "--as-of", "31.01.2026"), 2, "as-of-invalid"),
        (("submit", "--as-of", "2126-01-31"), 2, "as-of-future"),
        ((*RUN, "-c", "nosuch.toml"), 2, "config-not-found"),
        ((*RUN, "--set", "seed=x"), 2, "config-invalid"),
        (("submit", "fit", "--as-of", "2026-01-31", "--accept", "users"), 2, "submit-accept"),
        ((*RUN, "--address", "ftp://x"), 2, "job-api-address"),
        ((*RUN, "--address", "http://127.0.0.1:9"), 75, "cluster-unreachable"),
        (("stop",), 2, "usage"),
        (("stop", "tamis-run"), 2, "job-unknown"),
        (("logs",), 2, "job-unknown"),
        (("status", "tamis-run"), 2, "job-unknown"),
    ],
)
def test_refused_within_seconds_and_nothing_is_left(
    tamis: Tamis, folder: Path, cluster: Cluster, arguments: tuple[str, ...], code: int, name: str
) -> None:
    started = time.monotonic()
    result = tamis(*arguments)
    assert time.monotonic() - started < 5
    assert result.exit_code == code
    assert f"error[{name}]" in result.stderr
    assert "hint: " in result.stderr
    assert result.stdout == ""
    assert cluster.jobs == {}
    assert cluster.packages == {}


def test_the_token_comes_from_where_ray_takes_it(
    tamis: Tamis, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.wanted = "s3cr3t"
    assert "error[job-api-token]" in tamis("status").stderr
    file = folder / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("s3cr3t\n", encoding="utf-8")
    assert tamis("status").exit_code == 0
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "nosuch"))
    assert "RAY_AUTH_TOKEN_PATH" in tamis("status").stderr
    other = folder / "token"
    other.write_text("other", encoding="utf-8")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(other))
    assert tamis("status").exit_code == 2
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s3cr3t")
    assert tamis("status").exit_code == 0


def test_where_the_address_comes_from(
    tamis: Tamis, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    assert tamis("status").exit_code == 75
    assert tamis("status", "--address", cluster.url).exit_code == 0
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS")
    monkeypatch.setenv("RAY_ADDRESS", cluster.url)
    assert tamis("status").exit_code == 0
    # That of a running cluster is no address of a job API.
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr("jobs.cluster_jobs._DEFAULT_ADDRESS", cluster.url)
    assert tamis("status").exit_code == 0


def test_the_jobs_of_a_cluster(tamis: Tamis, cluster: Cluster) -> None:
    cluster.add("tamis-run-2026-01-30-aaaa", "SUCCEEDED", 0, end_time=1_767_225_661_000)
    cluster.add("somebody-elses", "RUNNING", metadata={})
    cluster.add("tamis-run-2026-01-31-bbbb", "FAILED", 4)
    shown = tamis("status").stdout.splitlines()
    assert [line.split()[:4] for line in shown[1:]] == [
        ["tamis-run-2026-01-31-bbbb", "2026-01-31", "failed", "4"],
        ["tamis-run-2026-01-30-aaaa", "2026-01-31", "succeeded", "0"],
    ]
    assert len(json.loads(tamis("status", "--json").stdout)["jobs"]) == 2
    one = json.loads(tamis("status", "tamis-run-2026-01-30", "--json").stdout)
    assert one == {
        "job": "tamis-run-2026-01-30-aaaa",
        "status": "succeeded",
        "exit_code": 0,
        "command": "run",
        "as_of": "2026-01-31",
        "out": "/data/out",
        "started": "2026-01-01T00:00:00Z",
        "ended": "2026-01-01T00:01:01Z",
    }
    assert "error[job-ambiguous]" in tamis("status", "tamis-run").stderr


def test_the_log_of_the_latest_job(tamis: Tamis, cluster: Cluster) -> None:
    cluster.add("tamis-a", "SUCCEEDED", 0)
    cluster.add("tamis-b", "FAILED", 3)
    cluster.logs = {"tamis-a": "of a\n", "tamis-b": "of b\n"}
    assert tamis("logs").stdout == "of b\n"
    assert tamis("logs", "tamis-a").stdout == "of a\n"
    followed = tamis("logs", "--follow")
    assert (followed.exit_code, followed.stdout) == (0, "of b\n")


def test_a_job_is_stopped(tamis: Tamis, cluster: Cluster) -> None:
    cluster.add("tamis-a", "RUNNING")
    assert tamis("stop", "tamis-a").stdout == "tamis-a: stopped\n"
    assert tamis("stop", "tamis-a").stdout == "tamis-a: stopped already\n"
    assert json.loads(tamis("stop", "tamis-a", "--json").stdout)["stopped"] is False


def test_of_several_the_job_that_runs_is_stopped(tamis: Tamis, cluster: Cluster) -> None:
    cluster.add("tamis-run-2026-01-31-aaaa", "SUCCEEDED", 0)
    cluster.add("tamis-run-2026-01-31-aaaa-2", "RUNNING")
    assert tamis("stop", "tamis-run-2026-01-31").stdout == "tamis-run-2026-01-31-aaaa-2: stopped\n"
    assert "error[job-ambiguous]" in tamis("stop", "tamis-run-2026-01-31").stderr


def test_a_job_refuses_another_version(tamis: Tamis) -> None:
    result = tamis("--require", "9.9", "run", "--as-of", "2026-01-31")
    assert result.exit_code == 2
    assert "error[cluster-version]" in result.stderr
