"""The token of a local Ray: kept in the memory of its processes, and nowhere else.

Ray asks for a token from version 2.59 on, and makes one when there is none. It writes it to `~/.ray/auth_token` with
the rights of any new file, so that under the usual umask everybody on the machine can read it (Ray 2.60).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

_TOKEN: Final = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of the variable
_MODE: Final = "RAY_AUTH_MODE"


@contextmanager
def own_token() -> Iterator[None]:
    """A token for a Ray that is started inside, unless the user has one, or has turned tokens off."""
    loader = AuthenticationTokenLoader.instance()
    if os.environ.get(_MODE, "token").lower() != "token" or loader.has_token(ignore_auth_mode=True):
        yield
        return
    before = os.environ.get(_TOKEN)
    os.environ[_TOKEN] = secrets.token_hex(32)
    loader.reset_cache()
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TOKEN]
        else:
            os.environ[_TOKEN] = before
        loader.reset_cache()
