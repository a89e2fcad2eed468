"""Whether the Ray cluster of the configuration can be joined, and whether it asks for a token."""

from __future__ import annotations

import time
from collections.abc import Iterator

from engine.doctor.finding import Finding, Subject, failed, ok, warning
from engine.errors import TamisError
from engine.execution.open import open_executor


def check_token(subject: Subject) -> Iterator[Finding]:
    """Whether this process would give a token to the cluster; nothing without a cluster.

    Ray takes the token from RAY_AUTH_TOKEN, from the file in RAY_AUTH_TOKEN_PATH, or from `~/.ray/auth_token`.
    """
    if subject.address is None:
        return
    environment = subject.surroundings.environment
    mode = environment.get("RAY_AUTH_MODE", "").lower()
    fix = "Start the cluster with RAY_AUTH_MODE=token and one token on all nodes, and give it here: docs/security.md"
    if mode == "disabled":
        said = "RAY_AUTH_MODE=disabled: whoever reaches the ports of the cluster can run code on it"
        yield warning("token", said, fix, mode=mode)
    elif not _has_token(subject):
        said = "no token: whoever reaches the ports of the cluster can run code on it, unless it asks for one"
        yield warning("token", said, fix, mode=mode or "unset")
    else:
        yield ok("token", "a token is given to the cluster", mode=mode or "unset")


def check_cluster(subject: Subject) -> Iterator[Finding]:
    """Join the cluster as a run does, and leave it again; nothing without one. It takes some seconds."""
    address = subject.address
    if address is None:
        return
    begun = time.perf_counter()
    try:
        with open_executor(subject.execution.model_copy(update={"address": address})):
            seconds = round(time.perf_counter() - begun, 1)
    except TamisError as error:
        yield failed("cluster", error.message, error.hint, error.exit_code, address=address)
    else:
        yield ok("cluster", f"{address} answers, joined in {seconds} s", address=address, seconds=seconds)


def _has_token(subject: Subject) -> bool:
    environment, home = subject.surroundings.environment, subject.surroundings.home
    if environment.get("RAY_AUTH_TOKEN") or environment.get("RAY_AUTH_TOKEN_PATH"):
        return True
    return (home / ".ray" / "auth_token").is_file()
