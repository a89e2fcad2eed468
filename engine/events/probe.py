"""Open Parquet footers in a child process, so that a malformed file can end the child and not the run.

Some malformed footers abort the process that reads them (Polars 2.1 on an absurd allocation size, Arrow C++ on an
encrypted column chunk). The child reads one footer after the other and reports each as a line of JSON; when it dies or
hangs, the file it was at is the culprit and the next child goes on behind it.

Footers are also checked against the size of the file (`engine.events.untrusted_pages`): columns outside of it, more
rows than it can hold and pages that unfold to a thousand times its size are refused here, before a reader asks for that
much memory.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

SECONDS_PER_FILE = 10.0
_CHILD_BYTES = 1 << 30


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself, or why it cannot be read."""

    file: Path
    rows: int = 0
    stamp: tuple[int, int] | None = None
    """Size in bytes and time of change (ns since 1970 UTC) of the file whose footer this is."""
    columns: tuple[tuple[str, str], ...] = ()
    """Name and Arrow type of each top-level column."""
    problem: str = ""
    empty: tuple[tuple[str, int], ...] = ()
    """Rows without a value in the columns that were asked for, of those whose footer tells."""


def read_footers(files: Sequence[Path], columns: Mapping[Path, Sequence[str]] | None = None) -> list[Footer]:
    """Footers of `files`, in their order; a file that cannot be read has a `problem`.

    Args:
        files: The files.
        columns: Columns of which it is told how many rows have no value, by file.

    Raises:
        ResourceError: A failing disk, or a limit of the system.
        TransientError: Storage that does not answer; no file is at fault.
    """
    footers: list[Footer] = []
    while len(footers) < len(files):
        rest = files[len(footers) :]
        lines = _child_lines(rest, columns or {})
        footers.extend(_parse(file, line) for file, line in zip(rest, lines, strict=False))
        if len(footers) < len(files):
            footers.append(Footer(files[len(footers)], problem="reading its footer crashed or hung the reader"))
    return footers


def _child_lines(files: Sequence[Path], columns: Mapping[Path, Sequence[str]]) -> Iterator[str]:
    requests = [_request(str(file.absolute()), columns.get(file, ())) for file in files]
    return ask_child(__file__, requests, [SECONDS_PER_FILE] * len(files))


def _request(file: str, columns: Sequence[str]) -> str:
    return json.dumps([file, *columns] if columns else file)


def ask_child(script: str, requests: Sequence[str], seconds: Sequence[float]) -> Iterator[str]:
    """The answers of a child process to one request after the other, until it dies or takes too long.

    Args:
        script: A Python file that says `ready`, and then answers each line of its standard input with one.
        requests: The lines.
        seconds: How long each may take.

    Raises:
        RuntimeError: The child does not start.
    """
    # Here, because the child imports nothing of the engine.
    from engine.privacy.key import child_environment

    # The file itself, without the working directory on the path: a folder of the user's named `engine` must not matter.
    command = [sys.executable, "-P", script]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
    )
    with child, selectors.DefaultSelector() as selector:
        to_child, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)
        selector.register(answers, selectors.EVENT_READ)
        if answers.readline() != b"ready\n":
            message = "the process that opens Parquet files did not start"
            raise RuntimeError(message)
        try:
            for request, limit in zip(requests, seconds, strict=True):
                to_child.write(request.encode() + b"\n")
                to_child.flush()
                if not selector.select(limit):
                    return
                line = answers.readline()
                if not line.endswith(b"\n"):
                    return
                yield line.decode()
        except BrokenPipeError:
            return
        finally:
            child.kill()


def _parse(file: Path, line: str) -> Footer:
    answer = json.loads(line)
    if "problem" in answer:
        # Here, because the child imports nothing of the engine.
        from engine.events.read import storage_failure

        failed = OSError(answer.get("errno"), answer["problem"])
        failure = storage_failure(failed, "footers", str(file))
        if failure is not None:
            raise failure
        return Footer(file, problem=answer["problem"])
    columns = tuple((name, dtype) for name, dtype in answer["columns"])
    empty = tuple((name, rows) for name, rows in answer.get("empty", ()))
    return Footer(file, rows=answer["rows"], stamp=tuple(answer["stamp"]), columns=columns, empty=empty)


def _main() -> None:
    import os
    import resource

    # Arrow's own allocator sets aside more than the limit on memory at once.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    import pyarrow.parquet  # noqa: F401 - an installation without it must fail before the first file is blamed

    # Of this package, wherever another one of its name lies; and from its folder nothing else.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import engine.events.untrusted_pages  # `_probe` finds these loaded
    import engine.quality.footers  # noqa: F401

    del sys.path[0]

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(resource)
    for line in sys.stdin:
        request = json.loads(line)
        file, *columns = request if isinstance(request, list) else [request]
        sys.stdout.write(json.dumps(_probe(Path(file), columns)) + "\n")
        sys.stdout.flush()


def _limit_memory(resource: Any) -> None:
    """No more than `_CHILD_BYTES` beyond what the process has mapped, where the system says how much that is."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + _CHILD_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _probe(file: Path, wanted: Sequence[str] = ()) -> dict[str, object]:
    import pyarrow.parquet as pq

    from engine.events.untrusted_pages import MAX_LISTED, implausible
    from engine.quality.footers import empty_values

    try:
        str(file).encode()
        status = file.stat()
        size = status.st_size
        if size == 0:
            return {"problem": "it is empty (0 bytes)"}
        with file.open("rb") as handle:
            head = handle.read(4)
            handle.seek(max(size - 4, 0))
            tail = handle.read(4)
        if head != b"PAR1" or tail != b"PAR1":
            return {"problem": "it is not a Parquet file, or it is truncated (the PAR1 marks are missing)"}
        metadata = pq.ParquetFile(file, thrift_container_size_limit=MAX_LISTED).metadata
        with file.open("rb") as handle:
            problem = implausible(metadata, handle, size)
        if problem:
            return {"problem": problem}
        schema = metadata.schema.to_arrow_schema()
        columns = [[str(field.name), str(field.type)] for field in schema]
        empty = list(empty_values(metadata, wanted).items())
    except UnicodeEncodeError:
        return {"problem": "its name is not UTF-8"}
    except OSError as error:
        return {"problem": error.strerror or "its footer is malformed", "errno": error.errno}
    except Exception as error:  # noqa: BLE001 - whatever a malformed file raises is the answer
        return {"problem": f"its footer is malformed ({type(error).__name__})"}
    stamp = [size, status.st_mtime_ns]
    return {"rows": metadata.num_rows, "stamp": stamp, "columns": columns, "empty": empty}


if __name__ == "__main__":
    _main()
