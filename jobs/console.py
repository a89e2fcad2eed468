"""What a command writes and how it ends: data on stdout, all else on stderr, one exit code per kind of failure."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn, TextIO

import typer
from typer.exceptions import TyperException

from engine.errors import ConfigError, ExitCode, ResourceError, TamisError

# C0 and C1 controls but tab and newline, and the marks that reorder text: names come from data, and data may hold them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NUMBER = re.compile(r"–|-?\d[\d,]*(\.\d+)?( ?(%|k?B|[MG]B))?")
# How Typer says it of an option with choices.
_NOT_A_CHOICE = re.compile(r"(?:Value error, )?('[^']*') is not one of ((?:'[^']*'(?:, )?)+)\.?")
_WARNING = "warning: "
_RED = "\x1b[31m"
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"


@dataclass
class Structured:
    """Stderr is read by a program: everything that is told there is one JSON object per line.

    Attributes:
        context: What every line says.
        told: The failure that a line was written of already.
    """

    context: Mapping[str, object] = field(default_factory=dict)
    told: BaseException | None = None

    def say(self, level: str, event: str, message: str, **fields: object) -> None:
        from datetime import UTC, datetime

        from engine.history.logs import json_line

        write(sys.stderr, json_line(datetime.now(UTC), level, event, message, self.context, fields))


_STRUCTURED: ContextVar[Structured | None] = ContextVar("structured", default=None)


def structured() -> Structured | None:
    """How stderr is written when a program reads it; None when people do."""
    return _STRUCTURED.get()


def begin_structured() -> Structured:
    """From now on, and until the command ends, stderr has one JSON object per line."""
    made = _STRUCTURED.get() or Structured()
    _STRUCTURED.set(made)
    return made


class Terminated(BaseException):
    """SIGTERM arrived; like `KeyboardInterrupt`, not to be caught on the way by `except Exception`."""


def run_guarded(action: Callable[[], object], *, as_json: bool) -> int:
    """Run a command to its end and return its exit code; every failure becomes a message on stderr.

    Args:
        action: The command. An integer that it returns is its exit code.
        as_json: Whether a failure is also to be one JSON object on stdout.
    """
    before = _STRUCTURED.set(None)
    try:
        with _terminate_as_exception():
            code = action()
        if code == ExitCode.INTERRUPTED:  # Typer turns Ctrl-C into this code and says nothing.
            return report_failure(KeyboardInterrupt(), as_json=as_json)
        return code if isinstance(code, int) else ExitCode.DONE
    except SystemExit as error:
        return _exit_code_of(error)
    except BaseException as error:  # noqa: BLE001 - the last line of defence; a panic of Polars is a BaseException
        return report_failure(error, as_json=as_json)
    finally:
        _STRUCTURED.reset(before)


def report_failure(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong and return the exit code for it."""
    code, name, message, hint = _diagnosis(error)
    program = structured()
    if program is None:
        _show_failure(error, code, name, message, hint)
    elif program.told is None or not (program.told is error or isinstance(error, KeyboardInterrupt)):
        program.say("error", "error", clean(message), code=name, hint=clean(hint), exit_code=int(code))
    if as_json:
        failure = {"code": name, "message": clean(message), "hint": clean(hint), "exit_code": int(code)}
        print_json({"error": failure})
    return int(code)


def _show_failure(error: BaseException, code: ExitCode, name: str, message: str, hint: str) -> None:
    if code == ExitCode.BUG:
        write(sys.stderr, _where(error))
    write(sys.stderr, _coloured(sys.stderr, _RED, f"error[{name}]:") + f" {clean(message)}")
    if hint:
        write(sys.stderr, _coloured(sys.stderr, _DIM, "hint:") + f" {clean(hint)}")


def _where(error: BaseException) -> str:
    """The frames of an error and of those before it, with what each says, but for values: these may be a person's."""
    import traceback

    from engine.history.cleaning import clean_message

    lines: list[str] = []
    seen: set[int] = set()
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    for number, each in enumerate(reversed(chain)):
        lines += ["", "then:", ""] if number else []
        lines += ["Traceback (most recent call last):", "".join(traceback.format_tb(each.__traceback__)).rstrip()]
        lines.append(f"{type(each).__name__}: {clean_message(str(each))}")
    return "\n".join(lines)


def diagnosis(error: BaseException) -> tuple[int, str, str, str]:
    """Exit code, error code, message and hint of whatever ends a command, an exit included."""
    if isinstance(error, SystemExit):
        return _exit_code_of(error), "exit", f"ended with {_exit_code_of(error)}", ""
    if isinstance(error, typer.Exit):
        return error.exit_code, "exit", f"ended with {error.exit_code}", ""
    code, name, message, hint = _diagnosis(error)
    return int(code), name, message, hint


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout; ASCII, so that no name can disturb a terminal or a log."""
    import json

    write(sys.stdout, json.dumps(value, default=str))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns on stdout; numbers to the right, with separators of thousands."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(headers))]
    right[0] = right[0] and not any(isinstance(row[0], str) for row in rows)
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    for line in [list(headers), *cells]:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        write(sys.stdout, "  ".join(padded).rstrip())


def plural(count: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say(text: str, *, quiet: bool = False) -> None:
    """A message for a person, on stderr; a line of the log where a program reads that."""
    if quiet:
        return
    program = structured()
    if program is None:
        write(sys.stderr, clean(text))
        return
    is_warning = text.startswith(_WARNING)
    event, level = ("warning", "warning") if is_warning else ("message", "info")
    program.say(level, event, clean(text.removeprefix(_WARNING)))


def write(stream: TextIO, text: str) -> None:
    """One line, at once; letters the stream cannot encode are written as escapes."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def clean(text: str) -> str:
    """`text` without control characters and without marks that change the direction of writing."""
    return _CONTROLS.sub("", text)


def _diagnosis(error: BaseException) -> tuple[ExitCode, str, str, str]:
    """Exit code, error code, message and hint."""
    match error:
        case TamisError():
            return error.exit_code, error.code, error.message, error.hint
        case TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "tamis"
            message = _NOT_A_CHOICE.sub(r"expected one of \2, got \1", error.format_message())
            return ExitCode.USAGE, "usage", message, f"See: {command} --help"
        case KeyboardInterrupt():
            hint = "The published tables are untouched; the same command goes on where it stopped."
            return ExitCode.INTERRUPTED, "interrupted", "interrupted", hint
        case Terminated():
            hint = "The published tables are untouched; the same command goes on where it stopped."
            return ExitCode.TERMINATED, "terminated", "terminated by a signal (SIGTERM)", hint
        case MemoryError():
            return ResourceError.exit_code, "out-of-memory", "memory ran out", "Lower execution.rows_per_task."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            place = f" writing {error.filename!r}" if error.filename else ""
            return (
                ResourceError.exit_code,
                "disk-full",
                f"no space left on the disk{place}",
                "Free some, or change --out.",
            )
        case PermissionError():
            message = f"permission denied: {error.filename!r}" if error.filename else "permission denied"
            return ConfigError.exit_code, "permission-denied", message, "Check who owns the file or folder."
    from engine.history.cleaning import clean_message

    # What a library says of a failure may hold the values that it tripped over.
    message = f"this is a bug in tamis: {type(error).__name__}: {clean_message(str(error))}"
    hint = " ".join(["Please report it with the lines above.", *getattr(error, "__notes__", ())])
    return ExitCode.BUG, "bug", message, hint


def _exit_code_of(error: SystemExit) -> int:
    if error.code is None:
        return ExitCode.DONE
    if not isinstance(error.code, int):
        return ExitCode.BUG
    # Ray's driver answers SIGTERM by exiting with the number of the signal.
    return ExitCode.TERMINATED if error.code == signal.SIGTERM else error.code


@contextmanager
def _terminate_as_exception() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, _raise_terminated)
    # Left alone where it is ignored, as under nohup.
    if before[signal.SIGINT] is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise_interrupted)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    _end_at_the_next()
    raise Terminated


def _raise_interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    _end_at_the_next()
    raise KeyboardInterrupt


def _end_at_the_next() -> None:
    """From now on a signal ends the process on the spot: what the first one has begun to clean up is swept later.

    It is left to the system, for native code may keep the interpreter from its handlers for seconds.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _coloured(stream: TextIO, colour: str, text: str) -> str:
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"{colour}{text}{_RESET}"


def _is_number(value: object) -> bool:
    """Whether a cell is a number, or the text of one (`24.5%`, `1,234.50`; `–` where there is none)."""
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"
    return clean(str(value)).replace("\n", " ")


def shown_path(path: str) -> str:
    """A path as a person would type it: relative when it lies below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
