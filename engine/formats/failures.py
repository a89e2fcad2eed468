"""What a table format or its store refuses, said with a code and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from engine.errors import ConfigError, ConflictError, ResourceError, TamisError, TransientError

_DENIED = re.compile(
    r"access.?denied|forbidden|unauthori[sz]ed|\b40[13]\b|invalid.?access.?key|signature.?does.?not.?match|permission|"
    r"credential|authentication.?failed|pg_hba\.conf",
    re.IGNORECASE,
)
_MISSING = re.compile(r"no.?such.?bucket|bucket.{0,80}(not (exist|found)|missing)|container.?not.?found", re.IGNORECASE)
_FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded", re.IGNORECASE)
_LINE = 300


def require(package: str, extra: str) -> None:
    """Stop when the package of an extra is not installed.

    Raises:
        ConfigError: It is not.
    """
    if find_spec(package) is None:
        raise ConfigError(
            f"publish.format = {extra!r} needs the package {package}, which is not installed",
            code="format-not-installed",
            hint=f"pip install 'tamis[{extra}]'",
        )


def give_up(table: str, attempts: int) -> ConflictError:
    """What is said when other writers were faster each time."""
    return ConflictError(
        f"table {table}: other writers committed to it during each of {attempts} attempts",
        code="format-conflict",
        hint="Run `tamis publish` when they have ended; the local tables are complete.",
    )


@contextmanager
def store_errors(url: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what the libraries of a format raise into an error with a code.

    Args:
        url: Where the tables are.
        kinds: The exceptions of the library; those of the operating system are always among them.

    Raises:
        ConfigError: The store refuses the credentials, or has no such bucket.
        ResourceError: The disk is full.
        TransientError: Anything else: what is committed stays as it is, and the same command may succeed later.
    """
    try:
        yield
    except TamisError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, *kinds)):
            raise
        text = str(error)
        line = next((line for line in text.splitlines() if line.strip()), type(error).__name__)[:_LINE]
        message = f"cannot read or write the tables in {url}: {line}"
        if _FULL.search(text):
            hint = "Free some space there; the local tables are complete, and `tamis publish` commits them."
            raise ResourceError(message, code="disk-full", hint=hint) from error
        if _MISSING.search(text):
            raise ConfigError(message, code="format-no-bucket", hint="Make the bucket, or mend publish.url.") from error
        if _DENIED.search(text):
            hint = "Check who may write there, and the credentials in the environment."
            raise ConfigError(message, code="format-denied", hint=hint) from error
        hint = "The local tables are complete; `tamis publish` commits them when the store can be reached."
        raise TransientError(message, code="format-unreachable", hint=hint) from error
