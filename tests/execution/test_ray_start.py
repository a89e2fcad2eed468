from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ray._private import worker

from engine.config import Execution
from engine.errors import ConfigError, ExitCode, TransientError
from engine.execution import ray_start
from engine.execution.on_ray import ray_executor
from engine.execution.ray_start import _AUTHENTICATION_LOGGER, _quiet_authentication, _silent, private_folder
from tests.execution.processes import descendants, listening, running
from tests.execution.tasks import double

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]


def opened(**settings: Any) -> Any:
    return ray_executor(Execution(executor="ray", **settings))


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux' table of sockets")
def test_a_local_ray_listens_on_the_loopback_interface_only(ray_session: None) -> None:
    with opened() as executor:
        executor.map(double, [1, 2])
    found = listening(descendants(os.getpid()))
    assert len(found) > 3
    assert set(found) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


PROGRAM = """
import sys
import threading
import ray
from engine.config import Execution
from engine.errors import TamisError
from engine.execution.on_ray import ray_executor
from engine.execution.ray_start import _AUTHENTICATION_LOGGER, _quiet_authentication
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server listens there"), (b"", "has not answered")],
)
def test_what_listens_at_the_address_is_no_head(answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_start, "_GREETING_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            # The other side closes it with words left unread.
            with connection, suppress(OSError):
                connection.recv(100)
                connection.sendall(answer)
                while connection.recv(100):
                    pass

        listener = threading.Thread(target=serve)
        listener.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TransientError, match=reason) as caught, opened(address=address):
            pass
        listener.join(5)
    assert caught.value.code == "cluster-unreachable"


@pytest.mark.parametrize("address", ["", "nonsense", "ray://head:10001", "head:", ":6379", "http://head:8265"])
def test_an_address_that_is_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=re.escape(repr(address))) as caught, opened(address=address):
        pass
    assert caught.value.code == "cluster-address"


@pytest.mark.slow
def test_a_ray_that_is_started_here_is_stopped_here() -> None:
    program = (
        "import os, sys, ray\n"
        "from engine.config import Execution\n"
        "from engine.execution.on_ray import ray_executor\n"
        "from tests.execution.processes import descendants\n"
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


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.61.0
    Python: 3.12.1
This process on node 10.0.0.1 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


def failing(patched: pytest.MonkeyPatch, error: Exception) -> None:
    import ray

    def fail(**_: object) -> None:
        raise error

    patched.setattr(ray, "is_initialized", lambda: False)
    patched.setattr(ray, "init", fail)
    patched.setattr(ray, "shutdown", lambda: None)


def test_a_cluster_of_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        failing(patched, RuntimeError(VERSIONS))
        with pytest.raises(ConfigError) as caught, opened():
            pass
    assert (caught.value.code, caught.value.exit_code) == ("cluster-version", ExitCode.USAGE)
    assert caught.value.message == (
        "the cluster at 'local' runs other versions: Ray 2.61.0, Python 3.12.1; here: Ray 2.60.0, Python 3.11.7"
    )


def test_a_cluster_that_says_it_has_other_versions(ray_session: None) -> None:
    import ray
    from ray.experimental import internal_kv

    address = ray.get_runtime_context().gcs_address
    key, where = b"CLUSTER_METADATA", {"namespace": b"cluster"}
    told = internal_kv._internal_kv_get(key, **where)
    other = json.dumps({**json.loads(told), "ray_version": "1.2.3"}).encode()
    try:
        internal_kv._internal_kv_put(key, other, overwrite=True, **where)
        started = time.monotonic()
        stdout, stderr = in_a_process(PROGRAM, address).communicate(timeout=60)
    finally:
        internal_kv._internal_kv_put(key, told, overwrite=True, **where)
    assert (stdout, stderr.strip().splitlines()[-1:]) == ("", [f"cluster-version {ExitCode.USAGE:d}"])
    assert time.monotonic() - started < 30


def test_a_token_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    with monkeypatch.context() as patched:
        failing(patched, ray.exceptions.AuthenticationError("no"))
        with pytest.raises(ConfigError) as caught, opened():
            pass
    assert caught.value.code == "cluster-denied"


def base_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ray_start, "_LONGEST_BASE", 1_000)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_local_ray_is_private_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(tmp_path, monkeypatch)
    with suppress(KeyError), private_folder() as folder:
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert folder.parent.parent == base
        folder.mkdir()
        (folder / "log").write_text("x")
        raise KeyError
    assert list(base.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_of(tmp_path, monkeypatch)
    left = base / "tamis-ray-left"
    left.mkdir()
    (left / "lock").touch()
    other = base / "tamis-rays"
    other.mkdir()
    with private_folder() as first, private_folder() as second:
        assert {path.name for path in base.iterdir()} == {first.parent.name, second.parent.name, "tamis-rays"}


def test_a_long_folder_for_temporary_files_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with private_folder() as folder:
        assert folder.parent.parent == Path("/tmp")  # noqa: S108 - where the private folder is made
        assert len(str(folder)) < 40


SIGNALLED = """
import os, signal, sys, time
from engine.execution.on_ray import ray_executor
from engine.config import Execution
from jobs.console import run_guarded
from tests.execution.tasks import sleep

def action():
    with ray_executor(Execution(executor="ray", address=sys.argv[1] or None)) as executor:
        print("open", flush=True)
        executor.map(sleep, [100.0] * 6)

sys.exit(run_guarded(action, as_json=False))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("joined", [False, True])
def test_a_signal_ends_a_run_within_seconds(ray_session: None, number: signal.Signals, code: int, joined: bool) -> None:
    import ray

    process = in_a_process(SIGNALLED, ray.get_runtime_context().gcs_address if joined else "")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    time.sleep(4)
    others = descendants(process.pid)
    started = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - started < 5 + (0 if joined else 5)
    assert process.returncode == code, stderr
    assert running(others) == []
    if joined:
        with opened() as executor:
            # The processors are free again.
            assert executor.map(double, [1, 2]) == [2, 4]


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once() -> None:
    # What is cleaned up takes half a minute.
    stuck = SIGNALLED.replace("executor.map(", "try:\n            executor.map(").replace(
        "[100.0] * 6)",
        "[100.0] * 6)\n        finally:\n            print('ending', flush=True)\n            time.sleep(30)",
    )
    process = in_a_process(stuck, "")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    time.sleep(4)
    others = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "ending\n"
    again = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    took = time.monotonic() - again
    process.communicate(timeout=60)
    assert took < 1
    assert process.returncode == -signal.SIGINT
    # Two of Ray's agents look about for a minute before they end themselves.
    while running(others) and time.monotonic() - again < 120:
        time.sleep(0.2)
    assert running(others) == []


def test_what_ray_says_of_lost_workers_is_not_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(worker, "print_to_stdstream", said.append)
    with _silent():
        worker.print_to_stdstream("A worker died")
    assert said == []
    worker.print_to_stdstream("A worker died")
    assert said == ["A worker died"]
