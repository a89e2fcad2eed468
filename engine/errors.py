"""The kinds of failure a run can have. Each kind is one exit code; each error has a stable code and a hint."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Process exit codes; part of the public interface (frozen by a test)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA_REFUSED = 3
    HELD = 4
    CONFLICT = 5
    RESOURCES = 6
    INTEGRITY = 7
    TRANSIENT = 75
    INTERRUPTED = 130
    TERMINATED = 143


class TamisError(Exception):
    """A failure with a message for its user: what was expected, what came, where, and what to do.

    Args:
        message: One or more lines; all problems at once.
        code: Stable identifier such as ``"events-missing-column"``; documented in ``docs/errors.md``.
        hint: What the user can do about it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code, hint)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross process borders on Ray.
        return (_rebuild, (type(self), self.message, self.code, self.hint))


def _rebuild(kind: type[TamisError], message: str, code: str, hint: str) -> TamisError:
    return kind(message, code=code, hint=hint)


class ConfigError(TamisError):
    """The configuration or the command line is wrong, or names something that does not exist."""

    exit_code = ExitCode.USAGE


class DataError(TamisError):
    """The data was read and refused: schema, types, shares of rejects, too little to learn from."""

    exit_code = ExitCode.DATA_REFUSED


class HeldError(TamisError):
    """A publish guard held the run back; yesterday's tables stay."""

    exit_code = ExitCode.HELD


class ConflictError(TamisError):
    """Another run works on the same output."""

    exit_code = ExitCode.CONFLICT


class ResourceError(TamisError):
    """Memory, disk or time ran out."""

    exit_code = ExitCode.RESOURCES


class IntegrityError(TamisError):
    """A checksum, manifest, bundle or row count does not add up."""

    exit_code = ExitCode.INTEGRITY


class TransientError(TamisError):
    """A store or a cluster could not be reached; the same command may succeed later."""

    exit_code = ExitCode.TRANSIENT
