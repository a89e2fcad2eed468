"""What the object store of the tables lets this process do: write, list, read and delete one small object."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from engine.doctor.finding import Finding, Subject, failed, ok
from engine.errors import ExitCode, TamisError
from engine.remote.address import is_remote
from engine.remote.retries import retrying
from engine.remote.stores import open_store

_CONTENT: Final = b"tamis doctor\n"


def remote_target(subject: Subject) -> str | None:
    """The address in an object store that tables are published to; None when they stay on a disk."""
    url = None if subject.config is None else subject.config.publish.url
    return url.rstrip("/") if url is not None and is_remote(url) else None


def check_remote(subject: Subject) -> Iterator[Finding]:
    """Put, list, read and delete an object under the address of the tables; nothing when they stay on a disk."""
    url = remote_target(subject)
    if url is None:
        return
    name = f"_doctor-{secrets.token_hex(6)}"
    address = f"{url}/{name}"
    timings: dict[str, object] = {"url": url}
    there = False
    try:
        store, path = open_store(address)
        _timed(timings, "write", address, lambda: _put(store, path))
        there = True
        listed = _timed(timings, "list", url, lambda: _names(store, path))
        content = _timed(timings, "read", address, lambda: _get(store, path))
        _timed(timings, "delete", address, lambda: store.delete_file(path))
        there = False
    except TamisError as error:
        left = f"; the probe stays there as {address}" if there else ""
        yield failed("remote", error.message + left, error.hint, error.exit_code, **timings)
        return
    except FileNotFoundError:
        said = f"{address} was written, and is not there"
        yield failed("remote", said, "Look at the store: it must show what was written", ExitCode.INTEGRITY, **timings)
        return
    if content != _CONTENT or name not in listed:
        said = f"{address} was written, and the store shows something else"
        yield failed("remote", said, "Look at the store: it must show what was written", ExitCode.INTEGRITY, **timings)
        return
    told = ", ".join(f"{step.removesuffix('_ms')} {spent} ms" for step, spent in timings.items() if step != "url")
    yield ok("remote", f"{url}: {told}", **timings)


def _timed(timings: dict[str, object], what: str, url: str, request: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    answer = retrying(what, url, request)
    timings[f"{what}_ms"] = round(1000 * (time.perf_counter() - begun), 1)
    return answer


def _put(store: Any, path: str) -> None:
    with store.open_output_stream(path) as target:
        target.write(_CONTENT)


def _get(store: Any, path: str) -> bytes:
    with store.open_input_stream(path) as source:
        return bytes(source.read())


def _names(store: Any, path: str) -> list[str]:
    from pyarrow.fs import FileSelector

    return [info.base_name for info in store.get_file_info(FileSelector(path.rpartition("/")[0]))]
