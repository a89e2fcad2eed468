"""Requests to object stores: what is tried again, how often, and what a failure means to a user.

Each request is tried again by this module alone, with growing pauses: the stores' own clients are told to try once, so
that attempts and time are limited in one place.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from engine.errors import ConfigError, TamisError, TransientError

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How long and how often is tried.

    Attributes:
        attempts: Requests until the error is told.
        first_pause: Seconds before the second attempt; each pause after it is twice as long.
        longest_pause: Seconds.
        connect: Seconds until a connection stands.
        request: Seconds without a byte of the answer.
        total: Seconds after which no further attempt is made.
    """

    attempts: int = 5
    first_pause: float = 0.25
    longest_pause: float = 8
    connect: float = 5
    request: float = 60
    total: float = 300


LIMITS: Final = Limits()

_DENIED: Final = re.compile(
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|CLIENT_TOKEN|EXPIRED_TOKEN|AUTHENTICATION|UNRECOGNIZED_CLIENT|PERMISSION_DENIED"
    r"|UNAUTHENTICATED|AuthenticationFailed|Authorization|ExpiredToken|InvalidToken"
    r"|(?:status|HTTP)(?: status)?(?: code)?:? \(?40[13]\b"
)
_MISSING: Final = re.compile(
    r"NO_SUCH_BUCKET|RESOURCE_NOT_FOUND|NOT_FOUND|ContainerNotFound|(?:status|HTTP)(?: status)?(?: code)?:? \(?404\b"
)
_REFUSED: Final = re.compile(
    r"INVALID_|MALFORMED|METHOD_NOT_ALLOWED|INVALID_ARGUMENT|FAILED_PRECONDITION"
    r"|(?:status|HTTP)(?: status)?(?: code)?:? \(?(?:3\d\d|400|405|409|41[126])\b"
)
_REQUEST_ID: Final = re.compile(r" ?\((?:Extended )?Request ID: [^)]*\)|\. Detail: .*")
_LONGEST_REASON: Final = 240


class IncompleteAnswerError(OSError):
    """An answer that is shorter than what was asked for."""


def retrying(what: str, url: str, request: Callable[[], T]) -> T:
    """The answer to a request; attempts that the store or the network failed are repeated.

    Args:
        what: What is done, for the message: `list`, `read`, `write`.
        url: The address.
        request: The request; it must be repeatable, and do nothing but ask the store.

    Raises:
        ConfigError: No such bucket, credentials that may not, or another request that the store will never answer.
        TransientError: No attempt came through.
        FileNotFoundError: No such file.
    """
    limits = LIMITS
    started, pause = time.monotonic(), limits.first_pause
    number = 1
    while True:
        try:
            return request()
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            refused = _refusal(what, url, error)
            if refused is not None:
                raise refused from error
            spent = time.monotonic() - started
            if number >= limits.attempts or spent + pause > limits.total:
                raise _unavailable(what, url, error, number) from error
        # Workers that failed together shall not come back together.
        time.sleep(pause * (0.5 + secrets.randbelow(1000) / 2000))
        pause = min(2 * pause, limits.longest_pause)
        number += 1


def missing_bucket(url: str) -> ConfigError:
    """The error for an address whose bucket or container is not there."""
    scheme, _, rest = url.partition("://")
    kind = "container" if scheme.lower() == "az" else "bucket"
    return ConfigError(
        f"no such {kind}: {rest.split('/')[0]!r} ({url})",
        code="remote-not-found",
        hint="Check the name, and which endpoint and account the environment names: docs/object-stores.md.",
    )


def _refusal(what: str, url: str, error: Exception) -> TamisError | None:
    """What the error means when another attempt would not help; None when it might."""
    text = str(error)
    if isinstance(error, IncompleteAnswerError):
        return None
    if _DENIED.search(text):
        return ConfigError(
            f"cannot {what} {url}: access denied: {_reason(error)}",
            code="remote-denied",
            hint="Check the credentials in the environment, and what they may do: docs/object-stores.md.",
        )
    if _MISSING.search(text):
        return missing_bucket(url)
    # What is wrong with the arguments is told as a ValueError, before any request.
    if _REFUSED.search(text) or isinstance(error, ValueError):
        return ConfigError(
            f"cannot {what} {url}: the store refused: {_reason(error)}",
            code="remote-refused",
            hint="Check the address, and the region and endpoint in the environment: docs/object-stores.md.",
        )
    return None


def _unavailable(what: str, url: str, error: Exception, attempts: int) -> TransientError:
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return TransientError(
        f"cannot {what} {url} after {times}: {_reason(error)}",
        code="remote-unavailable",
        hint="Run the same command again when the store can be reached; the endpoint is that of the environment.",
    )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _REQUEST_ID.sub("", lines[0])[:_LONGEST_REASON]
