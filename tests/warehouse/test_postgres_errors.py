from __future__ import annotations

import pytest

from engine.errors import ConfigError, ConflictError, DataError, ResourceError, TamisError, TransientError
from engine.warehouse.postgres_errors import connection_error, statement_error

SERVER = 'IO: [libpq] Failed to connect: connection to server at "db.example" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        (SERVER + "Connection refused\n\tIs the server running?", TransientError, "load-unreachable"),
        (SERVER + "timeout expired", TransientError, "load-unreachable"),
        (SERVER + "FATAL:  the database system is starting up", TransientError, "load-unreachable"),
        (SERVER + "FATAL:  sorry, too many clients already", TransientError, "load-unreachable"),
        (SERVER + 'FATAL:  password authentication failed for user "u"', ConfigError, "load-login"),
        (SERVER + "fe_sendauth: no password supplied", ConfigError, "load-login"),
        (SERVER + 'FATAL:  no pg_hba.conf entry for host "1.2.3.4"', ConfigError, "load-login"),
        (
            'could not translate host name "db.example" to address: Name or service not known',
            TransientError,
            "load-unreachable",
        ),
        ('missing "=" after "secret" in connection info string', ConfigError, "load-dsn"),
    ],
)
def test_connections(message: str, kind: type[TamisError], code: str) -> None:
    error = connection_error(message)
    assert type(error) is kind
    assert error.code == code
    assert ("db.example" in error.message) == (code != "load-dsn")
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("sqlstate", "kind", "code"),
    [
        ("55P03", ConflictError, "load-busy"),
        ("40P01", TransientError, "load-unreachable"),
        ("57P01", TransientError, "load-unreachable"),
        (None, TransientError, "load-unreachable"),
        ("22021", DataError, "load-values"),
        ("23502", DataError, "load-values"),
        ("53100", ResourceError, "load-server-full"),
        ("42501", ConfigError, "load-refused"),
    ],
)
def test_statements(sqlstate: str | None, kind: type[TamisError], code: str) -> None:
    error = statement_error(
        "PGRES_FATAL_ERROR ERROR:  it went wrong\nDETAIL:  Failing row contains (swordfish).", sqlstate, "scores"
    )
    assert type(error) is kind
    assert error.code == code
    assert "swordfish" not in f"{error.message} {error.hint}"
    assert ("it went wrong" in error.message) == (code != "load-busy")
