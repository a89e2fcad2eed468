"""What an error of PostgreSQL means to a user; neither passwords nor values of rows are told."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import ConfigError, ConflictError, DataError, ResourceError, TamisError, TransientError

_SERVER: Final = re.compile(r'connection to server (?:at|on socket) "([^"]*)"(?: \([^)]*\))?(?:, port (\d+))? failed')
_NO_HOST: Final = re.compile(r'host name "([^"]*)" to address')
_REFUSED: Final = re.compile(
    r"authentication|password|pg_hba\.conf|role \"|database \"|permission denied|certificate|SSL", re.IGNORECASE
)
_BUSY: Final = re.compile(r"starting up|shutting down|recovery|too many|connection slots", re.IGNORECASE)
_ERROR: Final = re.compile(r"(?:ERROR|FATAL|PANIC):\s+(.*)")
_NOTHING: Final = "Nothing was loaded."


def connection_error(message: str) -> TamisError:
    """The error for a connection that could not be made.

    Args:
        message: What libpq says; it may quote pieces of the address, and so of a password.
    """
    server = _SERVER.search(message)
    if server is None:
        unknown = _NO_HOST.search(message)
        if unknown is not None:
            return TransientError(
                f"no such host: {_host(unknown[1])}",
                code="load-unreachable",
                hint="Check the name of the host and the network, then run the command again.",
            )
        return ConfigError(
            "the address of the database cannot be read",
            code="load-dsn",
            hint="Write postgresql://user@host:5432/database, with %XX for special letters, or set PGHOST, PGUSER, "
            "PGDATABASE and PGPASSWORD.",
        )
    where = _host(server[1]) + (f":{server[2]}" if server[2] else "")
    reason = _primary(message)
    if _REFUSED.search(message) and not _BUSY.search(message):
        return ConfigError(
            f"the PostgreSQL server at {where} refuses the login: {reason}",
            code="load-login",
            hint="Check user, database and password; give the password in PGPASSWORD or ~/.pgpass.",
        )
    return TransientError(
        f"no PostgreSQL server answers at {where}" + (f": {reason}" if reason else ""),
        code="load-unreachable",
        hint="Check host, port and network, then run the command again.",
    )


def statement_error(message: str, sqlstate: str | None, table: str) -> TamisError:
    """The error for a statement that failed.

    Args:
        message: What the driver says.
        sqlstate: The code of the SQL standard; None when the connection was lost.
        table: The table that was being loaded.
    """
    reason, state = _primary(message), sqlstate or ""
    if state == "55P03":
        return ConflictError(
            "another load or a lock holds the table", code="load-busy", hint=f"{_NOTHING} Load again when it has ended."
        )
    if state[:2] in {"", "08", "40", "57"}:
        return TransientError(
            f"the connection to PostgreSQL was lost{f': {reason}' if reason else ''}",
            code="load-unreachable",
            hint=f"{_NOTHING} Run the command again.",
        )
    if state[:2] in {"22", "23"}:
        return DataError(
            f"PostgreSQL refuses a value of {table}: {reason}",
            code="load-values",
            hint=f"{_NOTHING} PostgreSQL has no NUL in texts; constraints of your own may refuse rows, too.",
        )
    if state[:2] == "53":
        return ResourceError(
            f"the PostgreSQL server ran out of something: {reason}", code="load-server-full", hint=_NOTHING
        )
    hint = f"{_NOTHING} The user needs the right to create and change tables in the schema." if state == "42501" else ""
    return ConfigError(f"PostgreSQL refused to load {table}: {reason}", code="load-refused", hint=hint or _NOTHING)


def _primary(message: str) -> str:
    """The first line of what the server says; details may hold values."""
    found = _ERROR.search(message)
    if found is not None:
        return found[1].strip()
    # What libpq says of the network comes after the place.
    after = _SERVER.search(message)
    return "" if after is None else message[after.end() :].lstrip(": ").partition("\n")[0].strip()


def _host(host: str) -> str:
    # A password with an @ in it is read as part of the host.
    return host.rpartition("@")[2]
