from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import Execution
from engine.errors import ConfigError, ExitCode, ResourceError, TamisError, TransientError
from engine.execution.on_ray import _AUTHENTICATION_LOGGER, _quiet_authentication, ray_executor
from tests.execution.tasks import (
    Attempts,
    break_stubbornly,
    die,
    die_by_signal,
    double,
    fail_to_read,
    miss_the_store,
    process_id,
    sleep,
    threads,
)

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
PINNED = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS")


def opened(**settings: Any) -> Any:
    return ray_executor(Execution(executor="ray", **settings))


@pytest.fixture
def once(ray_session: None, tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path / "attempts"))


def attempts_of(task: Attempts) -> int:
    return len(Path(task.file).read_text())


@pytest.mark.parametrize("function", [die, fail_to_read, miss_the_store])
def test_what_may_pass_is_tried_again(once: Attempts, function: Callable[[Attempts], int]) -> None:
    with opened(retries=2) as executor:
        assert executor.map(function, [Attempts(once.file, succeed_at=3)]) == [3]


@pytest.mark.parametrize(
    ("function", "kind", "code"),
    [
        (die_by_signal, ResourceError, "task-died"),
        (miss_the_store, TransientError, "storage-unreachable"),
    ],
)
def test_until_the_attempts_are_used_up(
    once: Attempts, function: Callable[[Attempts], int], kind: type[TamisError], code: str
) -> None:
    with opened(retries=1) as executor, pytest.raises(kind) as caught:
        executor.map(function, [once])
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert attempts_of(once) == 2


def test_a_file_that_stays_away(once: Attempts) -> None:
    with opened(retries=1) as executor, pytest.raises(FileNotFoundError) as caught:
        executor.map(fail_to_read, [once])
    assert (caught.value.errno, caught.value.filename) == (2, "part.parquet")
    assert attempts_of(once) == 2


def test_no_attempt_beside_the_first(once: Attempts) -> None:
    with opened(retries=0) as executor, pytest.raises(ResourceError):
        executor.map(die, [once])
    assert attempts_of(once) == 1


def test_an_exception_that_cannot_travel_still_tells_its_message(once: Attempts) -> None:
    with opened() as executor, pytest.raises(Exception, match="the file is odd"):
        executor.map(break_stubbornly, [once])
    assert attempts_of(once) == 1


@pytest.mark.slow
def test_a_task_over_its_time_ends_the_run(ray_session: None) -> None:
    with opened(task_timeout_seconds=1.5, retries=1) as executor:
        with pytest.raises(ResourceError, match="of 3 did not end within") as caught:
            executor.map(sleep, [0.0, 60.0, 60.0])
        assert caught.value.code == "task-timeout"
    with opened() as executor:
        # Those that were hanging gave their processors back.
        assert executor.map(double, list(range(4))) == [0, 2, 4, 6]


def test_time_counts_from_the_start_of_each_task(ray_session: None) -> None:
    seconds = [0.5] * 10
    with opened(task_timeout_seconds=2) as executor:
        assert executor.map(sleep, seconds) == seconds
        # A worker that is used again is not ended by the clock of its last task.
        assert executor.map(sleep, [1.8, 1.8]) == [1.8, 1.8]


@pytest.mark.parametrize("cpus", [1, 2])
def test_threads_are_pinned(ray_session: None, cpus: int) -> None:
    with opened(cpus_per_task=cpus) as executor:
        assert executor.threads == cpus
        [(variables, pool)] = executor.map(threads, [PINNED])
    assert variables == dict.fromkeys(PINNED, str(cpus))
    assert pool == cpus


def test_more_processors_than_a_node_has(ray_session: None) -> None:
    with pytest.raises(ResourceError) as caught, opened(cpus_per_task=1_000):
        pass
    assert caught.value.code == "cluster-too-small"


def test_a_ray_that_runs_already_is_used_and_left_running(ray_session: None) -> None:
    import ray

    job = ray.get_runtime_context().get_job_id()
    for _ in range(2):
        with opened() as executor:
            assert executor.map(process_id, [1]) != [os.getpid()]
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_job_id() == job


def descendants(parent: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), [parent]
    while todo:
        process = todo.pop()
        found.add(process)
        todo += children.get(process, [])
    return found


def listening(processes: set[int]) -> list[str]:
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.update(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
            except OSError:
                continue
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                addresses.append(fields[1].partition(":")[0])
    return addresses


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of sockets")
def test_a_local_ray_listens_on_the_loopback_interface_only(ray_session: None) -> None:
    with opened() as executor:
        executor.map(double, [1, 2])
    found = listening(descendants(os.getpid()))
    assert len(found) > 3
    assert set(found) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


# ------------------------------------------------------------------------------------------------------------ addresses

PROGRAM = """
import sys
import ray
from engine.config import Execution
from engine.errors import TamisError
from engine.execution.on_ray import _AUTHENTICATION_LOGGER, _quiet_authentication, ray_executor
from tests.execution.tasks import double

address, tasks = sys.argv[1] or None, [int(task) for task in sys.argv[2:]]
try:
    with ray_executor(Execution(executor="ray", address=address)) as executor:
        print(executor.map(double, tasks), ray.get_runtime_context().gcs_address)
    print(ray.is_initialized())
except TamisError as error:
    sys.exit(f"{error.code} {int(error.exit_code)}")
"""


def in_a_process(program: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_address_is_joined_and_left(ray_session: None) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    # The environment names a cluster; an address that is given wins over it.
    by_environment = in_a_process(PROGRAM, "", RAY_ADDRESS=address)
    by_argument = in_a_process(PROGRAM, address.replace("127.0.0.1", "localhost"), "21", RAY_ADDRESS="127.0.0.1:9")
    for process, result in ((by_environment, []), (by_argument, [42])):
        stdout, stderr = process.communicate(timeout=60)
        assert stdout.splitlines() == [f"{result} {address}", "False"], stderr
    with opened() as executor:
        assert executor.map(double, [4]) == [8]


def test_nothing_listens_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    for given, env in ((f"127.0.0.1:{port}", {}), ("", {"RAY_ADDRESS": f"localhost:{port}"})):
        stdout, stderr = in_a_process(PROGRAM, given, **env).communicate(timeout=60)
        assert (stdout, stderr.strip()) == ("", f"cluster-unreachable {ExitCode.TRANSIENT:d}")
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("address", ["", "nonsense", "ray://head:10001", "head:", ":6379", "http://head:8265"])
def test_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=re.escape(repr(address))) as caught, opened(address=address):
        pass
    assert caught.value.code == "cluster-address"


def test_a_ray_that_is_started_here_is_stopped_here() -> None:
    program = (
        "import os, sys, ray\n"
        "from engine.config import Execution\n"
        "from engine.execution.on_ray import ray_executor\n"
        "from tests.execution.test_on_ray import descendants\n"
        "with ray_executor(Execution(executor='ray')):\n"
        "    assert len(descendants(os.getpid())) > 3\n"
        "assert not ray.is_initialized()\n"
        "assert descendants(os.getpid()) == {os.getpid()}, descendants(os.getpid())\n"
    )
    process = in_a_process(program)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, ""), stderr


def test_a_failure_to_connect_is_not_taken_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(**_: object) -> None:
        raise ConnectionError("Failed to connect\nto the cluster")

    with monkeypatch.context() as patched:
        patched.setattr(ray, "is_initialized", lambda: False)
        patched.setattr(ray, "init", fail)
        patched.setattr(ray, "shutdown", lambda: None)
        with pytest.raises(TransientError, match=r"'local': Failed to connect$") as caught, opened():
            pass
    assert caught.value.code == "cluster-unreachable"


@pytest.mark.parametrize("local", [True, False])
def test_only_a_local_ray_is_quiet_about_its_token(caplog: pytest.LogCaptureFixture, local: bool) -> None:
    with _quiet_authentication(local=local):
        logging.getLogger(_AUTHENTICATION_LOGGER).warning("inside")
    logging.getLogger(_AUTHENTICATION_LOGGER).warning("after")
    assert caplog.messages == (["after"] if local else ["inside", "after"])


def test_the_logger_of_the_token_is_the_one_of_ray() -> None:
    from ray._private.authentication import authentication_token_setup

    assert authentication_token_setup.logger.name == _AUTHENTICATION_LOGGER
