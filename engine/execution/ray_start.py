"""The Ray that tasks run on: a local one in a private folder, or a cluster that is joined and left.

Threads are pinned for the whole job, before the workers import anything: a worker's Polars would otherwise take every
core of its machine whatever the task asked for.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import ray
from ray._private import ray_constants, services, worker

from engine.config import Execution
from engine.errors import ConfigError, TransientError
from engine.execution.ray_attempt import head_answers
from engine.execution.ray_token import own_token

_CONNECT_SECONDS: Final = 5.0
_GREETING_SECONDS: Final = 5.0
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""The preface of a connection and an empty frame of settings (RFC 9113, 3.4 and 6.5), which is answered by one."""
_AUTHENTICATION_LOGGER: Final = "ray._private.authentication.authentication_token_setup"
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_STORE_BYTES: Final = 128 * 2**20
"""Tasks hand each other files; only records pass through the store."""
_FOLDER: Final = "tamis-ray-"
_LOCK: Final = "lock"
_LONGEST_BASE: Final = 20
"""Ray's sockets lie 80 characters below its folder, and the path of a socket may have 107."""
_JOB_OVERRIDE: Final = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
_OF_A_MEMBER: Final = {
    # Ray would end this process on the spot when the head has been gone for a minute, whatever it is doing: writing
    # tables, or waiting for another run. That the head is gone is told where it is needed next.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    # To leave a cluster whose head is gone: Ray would try for 17 seconds to tell it of tasks and measurements.
    "RAY_task_events_shutdown_flush_timeout_ms": "1000",
    "RAY_enable_metrics_collection": "0",
}
"""What Ray reads from the environment of this process alone, when it joins a cluster."""


@contextmanager
def connected(execution: Execution, environment: Mapping[str, str]) -> Iterator[bool]:
    """Connect to Ray, and leave it or shut it down at the end; whether it was started here.

    An address, given or in RAY_ADDRESS, is joined; without one a local Ray is started that listens on the loopback
    interface only and keeps its files in a folder that nobody else may open. A Ray that this process is connected to
    already is used and left alone.

    Args:
        execution: The configuration.
        environment: Variables of the workers.

    Raises:
        ConfigError: The address is none, or the cluster has another version of Ray or Python, or refuses the token.
        TransientError: No cluster answers at the address.
    """
    if ray.is_initialized():
        yield False
        return
    given = execution.address
    address = os.environ.get("RAY_ADDRESS") or "local" if given is None else given
    is_local = address == "local"
    with ExitStack() as stack:
        # What Ray has no argument for: to take the loopback interface at its word, and to give up after one attempt.
        settings: dict[str, Any] = {"ENABLE_RAY_CLUSTER": False} if is_local else {"NUM_REDIS_GET_RETRIES": 1}
        local: dict[str, Any] = {}
        if is_local:
            stack.enter_context(own_token())
            local = {
                "include_dashboard": execution.dashboard,
                "dashboard_host": "127.0.0.1",
                "num_cpus": execution.local_cpus,
                "object_store_memory": _STORE_BYTES,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(stack.enter_context(private_folder())),
            }
        else:
            if address == "auto":
                address = _running_cluster()
            if _probe(address):
                settings["ENABLE_RAY_CLUSTER"] = False
        stack.enter_context(_silent())
        stack.callback(_leave)
        _connect(address, environment, local, settings)
        yield is_local


def _leave() -> None:
    """Leave the cluster; of one whose head was cut off without asking: Ray would wait for its answer."""
    if ray.is_initialized() and not head_answers():
        for name in ("gcs_error_subscriber", "gcs_log_subscriber"):
            if name in worker.global_worker.__dict__:
                setattr(worker.global_worker, name, _Unheard())
        for name in ("listener_thread", "logger_thread"):
            worker.global_worker.__dict__.pop(name, None)
    ray.shutdown()


class _Unheard:
    """In the place of what a thread of Ray listens to: the thread ends without a word."""

    def close(self) -> None:
        """There is nobody to tell."""

    def poll(self) -> NoReturn:
        """Nothing will come."""
        raise SystemExit


def _connect(
    address: str, environment: Mapping[str, str], local: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    try:
        with (
            _ray_constants(settings),
            _quiet_authentication(local=bool(local)),
            _own_terminator(),
            _own_environment({_JOB_OVERRIDE: "1"} | ({} if local else _OF_A_MEMBER)),
        ):
            ray.init(
                address=address,
                runtime_env={"env_vars": dict(environment)},
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                **local,
            )
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(
            f"the Ray cluster at {address!r} does not accept the token of this machine",
            code="cluster-denied",
            hint="Set RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN to the token of the cluster, and RAY_AUTH_MODE=token.",
        ) from error
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()
        if "ersion mismatch" in str(error):
            raise _other_version(address, reason) from error
        raise _unreachable(address, reason[0] if reason else type(error).__name__) from error


def _other_version(address: str, reason: list[str]) -> ConfigError:
    # Ray names its version and that of Python, of the cluster first and then of this process.
    told = [line.strip() for line in reason if line.strip().startswith(("Ray:", "Python:"))]
    theirs, ours = (", ".join(told[part]).replace(":", "") for part in (slice(0, 2), slice(2, 4)))
    return ConfigError(
        f"the cluster at {address!r} runs other versions: {theirs or 'unknown'}; here: {ours or 'unknown'}",
        code="cluster-version",
        hint="Run tamis in an environment with the versions of the cluster, or in its own image.",
    )


def _running_cluster() -> str:
    """Address of the cluster that this machine is a node of."""
    try:
        with _ray_constants({"ENABLE_RAY_CLUSTER": False}):
            return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except (ConnectionError, ValueError) as error:
        raise _unreachable("auto", str(error)) from error


def _probe(address: str) -> bool:
    """Whether a cluster listens on the loopback interface; Ray itself would wait for minutes for one that is not there.

    Raises:
        ConfigError: The address is neither `auto` nor HOST:PORT.
        TransientError: Nothing listens there, or something that is no head.
    """
    host, _, digits = address.rpartition(":")
    if not host or "//" in host or not digits.isdecimal():
        raise ConfigError(
            f"a Ray address is HOST:PORT or 'auto', got {address!r}",
            code="cluster-address",
            hint="Take the address that `ray start --head` printed, or leave it out to start a local Ray.",
        )
    host = host.strip("[]")
    # Ray reads a loopback address as the one that this machine has on its network, where a local Ray does not listen.
    hosts = [host, str(ray.util.get_node_ip_address())] if host in _LOOPBACK else [host]  # type: ignore[no-untyped-call]
    reason = ""
    for candidate in hosts:
        try:
            with closing(socket.create_connection((candidate, int(digits)), _CONNECT_SECONDS)) as found:
                if no_head := _no_head(found):
                    raise _unreachable(address, no_head)
                return candidate in _LOOPBACK
        except (OSError, OverflowError) as error:
            reason = str(error)
    raise _unreachable(address, reason)


def _no_head(connection: socket.socket) -> str:
    """Why what listens there is no head of a cluster, told by how it is greeted in HTTP/2; empty when it may be one.

    Ray itself would wait for its answer for 45 seconds.
    """
    connection.settimeout(_GREETING_SECONDS)
    try:
        connection.sendall(_GREETING)
        answer = connection.recv(5)
    except TimeoutError:
        return f"what listens there has not answered for {_GREETING_SECONDS:.0f} seconds"
    except OSError:
        # One with TLS closes the connection at such words.
        return ""
    return "a web server listens there, as the dashboard of a cluster does on port 8265" if answer == b"HTTP/" else ""


def _unreachable(address: str, reason: str) -> TransientError:
    return TransientError(
        f"no Ray cluster answers at {address!r}: {reason}",
        code="cluster-unreachable",
        hint="Check --address and RAY_ADDRESS, or leave both out to start a local Ray.",
    )


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for Ray's sockets, logs and spilled objects, in one that only this user can open; removed at the end.

    Ray opens its own folders to everybody, whatever the umask. What a run that was killed has left is removed first.
    """
    base = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(str(base)) > _LONGEST_BASE:
        base = Path("/tmp")  # noqa: S108 - the folder made in it is private
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob(f"{_FOLDER}*"):
        _remove_unused(left)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=base))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder / "r"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unused(folder: Path) -> None:
    with suppress(OSError), (folder / _LOCK).open("r+") as lock:
        if folder.stat().st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_terminator() -> Iterator[None]:
    """Leave SIGTERM as it was: Ray would have it end this process on the spot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _own_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for Ray alone, where the environment has none of the name.

    Within a job of the cluster, the threads of this run win over what the job was submitted with.
    """
    mine = values.keys() - os.environ.keys()
    os.environ.update({name: values[name] for name in mine})
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextmanager
def _silent() -> Iterator[None]:
    """Without what Ray prints of lost workers: it goes to stdout, which belongs to the results of the command.

    The executor tells of each, and of what became of its task.
    """
    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_data, **_more: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextmanager
def _quiet_authentication(*, local: bool) -> Iterator[None]:
    """Without Ray's advice on how to turn the token of a local Ray off: it stays on, and is nobody's concern."""
    logger = logging.getLogger(_AUTHENTICATION_LOGGER)
    before = logger.level
    if local:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _ray_constants(values: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(ray_constants, name) for name in values}
    try:
        for name, value in values.items():
            setattr(ray_constants, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(ray_constants, name, value)
