"""The catalogue of Iceberg tables: a database, SQLite beside the tables or one that several machines reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from engine.errors import ConfigError
from engine.formats.failures import store_errors

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

_IO: Final = {"py-io-impl": "engine.formats.file_io.StoreFileIO"}
_NO_DATABASE: Final = re.compile("unable to open database file|file is not a database")


def open_catalog(url: str, address: str) -> SqlCatalog:
    """A catalogue, which is made when it is not there.

    Args:
        url: Folder or prefix of the tables.
        address: The database, as SQLAlchemy writes it.

    Raises:
        ConfigError: It is no address of a database, what speaks to it is not installed, or the login is refused.
        ResourceError: The disk is full.
        TransientError: The database does not answer.
    """
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    # What is before the last @ has a password.
    where = address.rpartition("@")[2]
    with store_errors(where, SQLAlchemyError), _unusable(where):
        try:
            opened = SqlCatalog("tamis", uri=address, warehouse=url, **_IO)
        except OperationalError:
            # Another process has just made its tables.
            opened = SqlCatalog("tamis", uri=address, warehouse=url, **_IO)
    _keep_commits(opened)
    return opened


@contextmanager
def _unusable(where: str) -> Iterator[None]:
    """Tells an address that will never do from a database that does not answer."""
    from sqlalchemy.exc import ArgumentError, DatabaseError

    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"publish.catalog needs the package {error.name}, which is not installed",
            code="format-not-installed",
            hint="Install what speaks to the database; to PostgreSQL: pip install 'psycopg[binary]'",
        ) from error
    except (ArgumentError, DatabaseError) as error:
        if isinstance(error, DatabaseError) and not _NO_DATABASE.search(str(error)):
            raise
        raise ConfigError(
            f"publish.catalog is not a database that can be opened: {where}",
            code="format-catalog",
            hint="Write postgresql+psycopg://user@host/database, or sqlite:////folder/catalog.db in a folder that is "
            "there; special letters as %XX.",
        ) from error


def _keep_commits(catalog: SqlCatalog) -> None:
    """Let no commit to SQLite be undone by a power failure after it: by default it may be, as a journal comes back."""
    from sqlalchemy import event

    if catalog.engine.dialect.name != "sqlite":
        return

    def connected(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = EXTRA")

    event.listen(catalog.engine, "connect", connected)
    # Connections of before would not have it.
    catalog.engine.dispose()
